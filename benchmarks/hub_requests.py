"""What sizing a model of the Hub costs: requests, bytes and time, cold and warm, beside the Hub library's own reader; and headers parsed.

    python benchmarks/hub_requests.py [--write]

The Hub is the stand-in of the tests on this machine (tests/stand_in), with the redirects of the real one: a request that is redirected
counts twice. Bytes are bodies received. `--write` keeps the result in benchmarks/results/hub_requests.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fmkit.hub.gguf_header import parse_gguf
from fmkit.hub.models import find_model
from fmkit.hub.safetensors import LENGTH_BYTES, parse_header
from tests.stand_in.content import File, Repository, llama_tensors, sharded
from tests.stand_in.samples import LLAMA_70B, gguf, samples
from tests.stand_in.server import StandIn, stand_in

RESULT = Path(__file__).parent / "results" / "hub_requests.json"
VOCABULARY = 128_256
QUANTS = (
    "IQ2_M", "IQ2_S", "IQ2_XS", "IQ3_M", "IQ3_XS", "IQ3_XXS", "IQ4_XS", "IQ4_NL", "Q2_K", "Q2_K_L", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q3_K_XL", "Q4_0", "Q4_1", "Q4_K_L", "Q4_K_M", "Q4_K_S", "Q5_K_L", "Q5_K_M", "Q5_K_S", "Q6_K", "Q6_K_L", "Q8_0", "F16", "BF16", "F32", "TQ1_0",
)  # fmt: skip


def repositories() -> list[Repository]:
    """The samples, and 29 quantisations with a vocabulary of real size."""
    file = gguf(12, VOCABULARY)
    return [*samples(), Repository("acme/29-quants", {f"model-{label}.gguf": file for label in QUANTS}, tags=("gguf",))]


def measured(hub: StandIn, work: Callable[[], object]) -> dict[str, Any]:
    """Requests, bytes and milliseconds of one call."""
    hub.seen.clear()
    hub.sent_bytes = 0
    started = time.perf_counter()
    try:
        work()
        outcome = "ok"
    except Exception as error:  # noqa: BLE001  a refusal is a result too
        outcome = type(error).__name__
    milliseconds = round(1000 * (time.perf_counter() - started))
    return {"requests": len(hub.seen), "bytes": hub.sent_bytes, "ms": milliseconds, "outcome": outcome}


def sizings(hub: StandIn, folder: Path) -> list[dict[str, Any]]:
    """A row per repository and reader."""
    rows: list[dict[str, Any]] = []
    peer = hf_mem(hub)
    for name in ("single", "talks", "sharded-70b", "29-quants", "gated"):
        for state in ("cold", "warm"):
            row = measured(hub, partial(find_model, f"acme/{name}", None, None, offline=False, folder=folder))
            rows.append({"repository": name, "reader": f"fmkit, {state}", **row})
        if name == "talks":
            row = measured(
                hub, partial(find_model, f"acme/{name}", None, None, offline=False, folder=folder, text_files=True)
            )
            rows.append({"repository": name, "reader": "fmkit, with its text files", **row})
        hub.combined_headers = False
        if name == "sharded-70b":
            row = measured(hub, partial(find_model, f"acme/{name}", "main", None, offline=False, folder=folder))
            rows.append({"repository": name, "reader": "fmkit, no combined route", **row})
        hub.combined_headers = True
        if peer is not None:
            rows.append({"repository": name, "reader": "hf-mem", **measured(hub, partial(peer, f"acme/{name}"))})
        theirs = import_module("huggingface_hub").HfApi(endpoint=hub.hub)
        row = measured(hub, partial(theirs.get_safetensors_metadata, f"acme/{name}"))
        rows.append({"repository": name, "reader": "huggingface_hub, get_safetensors_metadata", **row})
    return rows


def hf_mem(hub: StandIn) -> Callable[[str], object] | None:
    """hf-mem (`pip install hf-mem`) asking the stand-in instead of the address it has built in; None where it is not installed."""
    if find_spec("hf_mem") is None:
        print("hf-mem is left out: it is not installed (pip install hf-mem)")
        return None
    library: Any = import_module("httpx2")
    run: Any = import_module("hf_mem.run")
    right = library.AsyncClient.get

    async def get(client: Any, url: str, **more: Any) -> Any:
        return await right(client, str(url).replace("https://huggingface.co", hub.hub, 1), **more)

    library.AsyncClient.get = get
    return lambda hub_id: asyncio.run(run.arun(model_id=hub_id, experimental=False))


def best_ms(work: Callable[[], object], runs: int = 5) -> float:
    """Milliseconds of processor time, the fastest of a few runs: the machine may have other work."""
    times = []
    for _ in range(runs):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return round(1000 * min(times), 1)


MEMORY = """
import re, sys
from pathlib import Path
from fmkit.hub.gguf import read_gguf
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
read_gguf(Path(sys.argv[1]))
print(before, peak())
"""


def gguf_memory_bytes(file: File) -> int:
    """What reading the header adds to a process that has imported the reader; 0 where the system does not say."""
    if not Path("/proc/self/status").exists():
        return 0
    with tempfile.NamedTemporaryFile(suffix=".gguf") as stream:
        stream.write(file.head)
        stream.truncate(file.size)
        done = subprocess.run([sys.executable, "-c", MEMORY, stream.name], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    return after - before


def parsing() -> dict[str, Any]:
    """Time to parse the headers of a 70B model in 30 files, and one GGUF header with a vocabulary of 128,256 words and their merges."""
    shards = [file for name, file in sharded(llama_tensors(LLAMA_70B), 30).items() if name.endswith(".safetensors")]
    heads = [(file.head[LENGTH_BYTES:], file.size - len(file.head)) for file in shards]
    big = gguf(12, VOCABULARY, merges=280_147)
    return {
        "30 shards, ms": best_ms(lambda: [parse_header(head, data_bytes=size, where="x") for head, size in heads]),
        "30 shards, header bytes": sum(len(head) for head, _ in heads),
        "gguf, MB of memory in a process of its own": round(gguf_memory_bytes(big) / 1e6, 1),
        "gguf, ms": best_ms(lambda: parse_gguf(big.head, file_bytes=big.size, where="x")),
        "gguf, header bytes": len(big.head),
    }


def main() -> None:
    parsed = parsing()
    with stand_in(repositories()) as hub, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_ENDPOINT": hub.hub, "HF_HOME": folder}
        find_model("acme/tagged", None, None, offline=False, folder=Path(folder) / "first")  # imports and connections
        rows = sizings(hub, Path(folder) / "kept")
    print(f"{'repository':14}{'reader':44}{'requests':>9}{'bytes':>12}{'ms':>7}  outcome")
    for row in rows:
        print(
            f"{row['repository']:14}{row['reader']:44}{row['requests']:>9}{row['bytes']:>12,}{row['ms']:>7}  {row['outcome']}"
        )
    for name, value in parsed.items():
        print(f"{name}: {value:,}")
    if "--write" in sys.argv:
        document = {"date": datetime.now(UTC).date().isoformat(), "parsing": parsed, "rows": rows}
        RESULT.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
