"""Damaged headers by the hundred thousand: each has to give an answer or a clear error, in little time and memory.

    python benchmarks/fuzz_headers.py [COUNT] [SEED]

Inputs are the corpus in tests/fixtures/headers and good headers, cut, joined, and changed at random: bytes, lengths that claim too much,
numbers and words of JSON replaced. The same seed gives the same inputs. Written: benchmarks/results/fuzz_headers.json (200,000 inputs).
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fmkit.errors import UnsafeInputError
from fmkit.hub.gguf_header import HeaderTooLongError, parse_gguf
from fmkit.hub.safetensors import LENGTH_BYTES, header_bytes, parse_header

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "fixtures" / "headers"
RESULT = ROOT / "benchmarks" / "results" / "fuzz_headers.json"
COUNT = 200_000
SEED = 20261127
MOST_BYTES = 65536
EXTREMES = (0, 1, 7, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64 - 1)
JSON_WORDS = (
    b"null", b"-1", b"1e999", b"9" * 400, b"[]", b"{}", b'""', b"true", b"[" * 50, b'"\\ud800"', b"4611686018427387904", b'"BF16"',
    b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}', b'"data_offsets"', b'"a":', b"0.5", b"\xff\xfe",
)  # fmt: skip


def corpus(kind: str) -> list[bytes]:
    """The kept inputs of one format, in the order of their names."""
    return [file.read_bytes() for file in sorted(CORPUS.glob(f"*.{kind}"))]


def inputs(kind: str, count: int, seed: int) -> Iterator[bytes]:
    """The corpus, then as many changed inputs as are missing to `count`."""
    seeds = corpus(kind)
    yield from seeds[:count]
    good = [file.read_bytes() for file in sorted(CORPUS.glob(f"good-*.{kind}"))]
    source = random.Random(seed)
    for _ in range(count - len(seeds)):
        data = source.choice(source.choice((good, seeds)))
        for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
            data = changed(data, source, seeds)
        yield data[:MOST_BYTES]


def changed(data: bytes, source: random.Random, seeds: list[bytes]) -> bytes:
    """One change at a random place."""
    at = source.randrange(len(data) + 1)
    before = data[:at]
    other = source.choice(seeds)
    ways = (
        (1, bytes([source.randrange(256)])),
        (0, source.randbytes(source.randrange(1, 9))),
        (source.randrange(1, 33), b""),
        (len(data), b""),
        (8, struct.pack("<Q", source.choice(EXTREMES))),
        (4, struct.pack("<I", source.choice(EXTREMES) % 2**32)),
        (len(data), other[source.randrange(len(other) + 1) :]),
        (source.randrange(1, 12), source.choice(JSON_WORDS)),
    )
    replaced, new = source.choice(ways)
    return before + new + data[at + replaced :]


def read_safetensors(data: bytes) -> str:
    """What the parser makes of a whole file: `answer` or `refused`; anything else it raises is a fault."""
    try:
        length = header_bytes(data[:LENGTH_BYTES], file_bytes=len(data), where="fuzz")
        parse_header(
            data[LENGTH_BYTES : LENGTH_BYTES + length], data_bytes=len(data) - LENGTH_BYTES - length, where="fuzz"
        )
    except UnsafeInputError:
        return "refused"
    return "answer"


def read_json(data: bytes) -> str:
    """The same for a header alone, so that damage reaches the JSON and not only the length before it."""
    try:
        parse_header(data[LENGTH_BYTES:], data_bytes=None, where="fuzz")
    except UnsafeInputError:
        return "refused"
    return "answer"


def read_gguf(data: bytes) -> str:
    """The same for a GGUF file; one that ends inside its header counts as refused."""
    try:
        parse_gguf(data, file_bytes=max(len(data), 10**6), where="fuzz")
    except (UnsafeInputError, HeaderTooLongError):
        return "refused"
    return "answer"


PARSERS = {
    "safetensors": (read_safetensors, "safetensors"),
    "safetensors JSON": (read_json, "safetensors"),
    "gguf": (read_gguf, "gguf"),
}


def run(count: int, seed: int) -> list[dict[str, Any]]:
    """A row per parser: inputs, answers, refusals, the slowest input. An error of any other class ends the run."""
    rows = []
    for name, (parse, kind) in PARSERS.items():
        outcomes = {"answer": 0, "refused": 0}
        slowest = 0.0
        started = time.perf_counter()
        for data in inputs(kind, count // len(PARSERS) + 1, seed):
            before = time.perf_counter()
            outcomes[parse(data)] += 1
            slowest = max(slowest, time.perf_counter() - before)
        rows.append({
            "parser": name, "inputs": sum(outcomes.values()), **outcomes, "slowest_ms": round(1000 * slowest, 2),
            "seconds": round(time.perf_counter() - started, 1),
        })  # fmt: skip
    return rows


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    rows = run(count, seed)
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{'parser':18}{'inputs':>10}{'answers':>10}{'refused':>10}{'slowest ms':>12}{'seconds':>9}")
    for row in rows:
        print(
            f"{row['parser']:18}{row['inputs']:>10,}{row['answer']:>10,}{row['refused']:>10,}{row['slowest_ms']:>12}{row['seconds']:>9}"
        )
    print(f"no other outcome; the process took {peak_bytes / 2**20:.0f} MiB at most")
    if count >= COUNT:
        document = {"date": datetime.now(UTC).date().isoformat(), "seed": seed, "peak_bytes": peak_bytes, "rows": rows}
        RESULT.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
