"""How long a person waits for `fmkit vram llama-3.1-8b --json`: start of the process to its end, median of 15 runs.

The aim is 150 ms on a 2-core machine, of which the compiled catalog takes less than 20: its load is timed inside 20 fresh processes, imports
not counted. In a checkout it contains the look at every source file, which an installed program leaves out. `--write` keeps the result in benchmarks/results/startup.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

COMMANDS = {
    "vram --json": ["vram", "llama-3.1-8b", "--json"],
    "vram": ["vram", "llama-3.1-8b"],
    "vram --gpu --json": ["vram", "llama-3.1-8b", "--gpu", "rtx-4090", "--json"],
    "recommend --json": ["recommend", "chat", "--gpu", "rtx-4090", "--json"],
    "overview": [],
    "--help": ["--help"],
}
RUNS = 15
AIM_MS = 150
LOAD = """
import time
from fmkit.catalog.load import load_catalog
started = time.perf_counter()
load_catalog()
print((time.perf_counter() - started) * 1000)
"""
LOADS = 20
LOAD_AIM_MS = 20
RESULTS = Path(__file__).parent / "results" / "startup.json"


def milliseconds(arguments: list[str]) -> float:
    """One run, from the start of the process to its end."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "fmkit", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=with_bytecode(),
    )
    return (time.perf_counter() - started) * 1000


def with_bytecode() -> dict[str, str]:
    """The environment of an installed program, which has its bytecode: compiling 100 modules at each start took 0.2 s of 0.33."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def catalog_load() -> dict[str, float]:
    """Milliseconds that `load_catalog` takes in fresh processes: the fastest, which is least disturbed by others, and the median."""
    command = [sys.executable, "-c", LOAD]
    times = [
        float(subprocess.run(command, check=True, capture_output=True, text=True, env=with_bytecode()).stdout)
        for _ in range(LOADS)
    ]
    return {"min_ms": round(min(times), 1), "median_ms": round(statistics.median(times), 1), "runs": LOADS}


def main() -> None:
    rows = {}
    print(f"{'command':<20} {'median ms':>9} {'fastest':>8} {'slowest':>8}")
    for name, arguments in COMMANDS.items():
        milliseconds(arguments)  # the first run compiles catalog and bytecode
        times = sorted(milliseconds(arguments) for _ in range(RUNS))
        rows[name] = {"median_ms": round(statistics.median(times), 1), "runs": RUNS}
        print(f"{name:<20} {statistics.median(times):>9.0f} {times[0]:>8.0f} {times[-1]:>8.0f}")
    print(f"aim: {AIM_MS} ms for the first row")
    load = catalog_load()
    print(
        f"compiled catalog: {load['min_ms']:.1f} ms at best, {load['median_ms']:.1f} median of {LOADS} loads; aim {LOAD_AIM_MS}"
    )
    if "--write" in sys.argv:
        RESULTS.parent.mkdir(exist_ok=True)
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
            "commands": rows,
            "catalog_load": load,
        }
        RESULTS.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
