"""Whatever a server sends, the process stays small and ends in time: the program itself, measured by the system."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fmkit.hub.text_files import TEXT_FILES
from tests.stand_in.content import File, Repository, literal, llama_config, llama_tensors, safetensors, with_header
from tests.stand_in.routes import Reply
from tests.stand_in.samples import LLAMA_1B
from tests.stand_in.server import Fault, stand_in

MOST_BYTES = 200 * 10**6
PROGRAM = """
import re, sys
from pathlib import Path
from fmkit.cli.main import main
code = main(["vram", "acme/evil", "--gpu", "rtx-4090", "--context", "64", "--json", *sys.argv[1:]])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(code, 1024 * int(peak), file=sys.stderr)
"""
CONFIG = {"config.json": literal(llama_config(LLAMA_1B))}


def entries(count: int, first: int = 0) -> bytes:
    """Tensors of one byte each, as short as JSON can name them."""
    rows = (f'"{first + n}":{{"dtype":"U8","shape":[1],"data_offsets":[{n},{n + 1}]}}' for n in range(count))
    return ("{" + ",".join(rows) + "}").encode()


def shards(count: int, header: bytes, size: int) -> dict[str, File]:
    return {f"model-{n + 1:05}-of-{count:05}.safetensors": with_header(header, size) for n in range(count)}


def small_arrays() -> bytes:
    """Many arrays of bytes: each byte of the file would be eight of memory."""
    array = struct.pack("<IIQ", 9, 0, 4096) + bytes(4096)
    keys = b"".join(struct.pack("<Q", 8) + b"%08d" % n + array for n in range(11_000))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 11_000) + keys


Case = tuple[dict[str, File], list[Fault], int]
CASES: dict[str, Callable[[], Case]] = {
    "the most tensors of one file": lambda: (CONFIG | {"model.safetensors": with_header(entries(59_000), 59_000)}, [], 0),
    "many shards of many tensors": lambda: (CONFIG | shards(20, entries(59_000), 59_000), [], 10),
    "many shards of long names": lambda: (CONFIG | shards(20, b'{"' + b"x" * 20_000_000 + b'":0}', 0), [], 10),
    "24 MB of brackets": lambda: (CONFIG | {"model.safetensors": with_header(b"{" + b"[" * 24_000_000, 0)}, [], 10),
    "24 MB of zeros in a list": lambda: (CONFIG | {"model.safetensors": with_header(b'{"a":{"shape":[' + b"0," * 12_000_000, 0)}, [], 10),
    "a config of empty objects": lambda: ({"config.json": literal(b'{"a":[' + b"{}," * 3_000_000 + b"{}]}")}, [], 10),
    "a config of as many values as allowed": lambda: ({"config.json": literal(b'{"a":[' + b"{}," * 240_000 + b"{}]}")}, [], 8),
    "a server that ignores ranges": lambda: (CONFIG | {"model.safetensors": File(b"", 512 * 10**6)}, [Fault(r"\.safetensors", "ignore-range")], 0),
    "a gzip bomb": lambda: ({"config.json": literal(b'{"a":"' + b"x" * 80_000_000 + b'"}')}, [Fault("config.json", "gzip")], 10),
    "an answer about files without end": lambda: (CONFIG, [Fault("/api/models", reply=Reply(200, b'{"siblings":[' + b'{"rfilename":"a"},' * 1_000_000))], 10),
    "millions of names beside the headers asked for": lambda: (
        CONFIG | shards(2, entries(10), 10),
        [Fault("safetensors-metadata", reply=Reply(200, b'{"headers":{' + b",".join(b'"%d":0' % n for n in range(2_600_000)) + b"}}"))], 10,
    ),
    "a GGUF header of small arrays": lambda: ({"m-Q4_K_M.gguf": literal(small_arrays())}, [], 8),
    "a GGUF header without end": lambda: ({"m-Q4_K_M.gguf": File(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + struct.pack("<Q", 60_000_000), 10**9)}, [], 10),
    "split GGUF files whose headers have no end": lambda: (
        {f"m-Q4_K_M-{n:05}-of-00008.gguf": File(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + struct.pack("<Q", 60_000_000), 10**9)
         for n in range(1, 9)}, [], 10,
    ),
    "as many GGUF tensors as allowed": lambda: (
        {"m-Q4_K_M.gguf": literal(
            b"GGUF" + struct.pack("<IQQ", 3, 100_000, 0)
            + b"".join(struct.pack("<Q", 6) + b"%06d" % n + struct.pack("<IQIQ", 1, 0, 0, 0) for n in range(100_000))
            + bytes(64)
        )}, [], 8,
    ),
    "text files of as many values as allowed": lambda: (
        CONFIG | {"model.safetensors": safetensors(llama_tensors(LLAMA_1B))} | {
            name: literal(b'{"a":[' + b"{}," * 240_000 + b'{}],"b":"' + b"x" * 3_200_000 + b'"}') for name in TEXT_FILES
        }, [], 0,
    ),
    "all headers in one answer of 31 MB": lambda: (
        CONFIG | shards(2, entries(10), 10),
        [Fault("safetensors-metadata", reply=Reply(200, json.dumps({"headers": {
            f"model-0000{n}-of-00002.safetensors": {"x" * 15_000_000: 0} for n in (1, 2)}}).encode()))], 10,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_process_stays_small(tmp_path: Path, case: Callable[[], Case]) -> None:
    files, faults, code = case()
    with stand_in([Repository("acme/evil", files)]) as hub:
        hub.faults.extend(faults)
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.hub,
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *(["--detail"] if set(TEXT_FILES) & set(files) else [])],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert "Traceback" not in done.stderr
    exit_code, peak_bytes = (int(word) for word in done.stderr.split()[-2:])
    print(f"{peak_bytes / 1e6:.0f} MB")
    assert peak_bytes < MOST_BYTES
    assert exit_code == code, done.stdout[-600:]
    json.loads(done.stdout)
