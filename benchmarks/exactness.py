"""How exact and how fast fmkit sizes, all of it in one place.

    python -m benchmarks.exactness [--part NAME]... [--write]

Parts: parameters, caches, quantised, peaks, measurements, side-by-side, speed, properties. Each prints its tables and its figures beside
their aims. `--write` keeps the result in benchmarks/results/exactness.json and .md; with `--part`, what was kept of the other parts
stays. All parts take about 40 minutes on 2 idle cores, 25 of them for the peaks, and 8 GiB of memory. Only the side by side downloads
anything: the two tools it compares with, from the configured package index, once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that `python benchmarks/exactness.py` finds its parts

from benchmarks.proofs.proof import Proof, aims_table, markdown_table, text_table

RESULTS = Path(__file__).parent / "results"
QUANTISED = (
    "tests/model/test_precision.py",
    "tests/model/test_precision_quantisers.py",
    "tests/model/test_gguf_mix.py",
)
PROPERTIES = (
    "tests/sizing/test_properties.py",
    "tests/sizing/test_totals.py",
    "tests/model/architectures/test_hostile.py",
)
PARTS = ("parameters", "caches", "quantised", "peaks", "measurements", "side-by-side", "speed", "properties")


def prove(part: str) -> Proof:
    """Run one part; what it needs is imported then, because torch takes seconds."""
    if part == "quantised":
        about = (
            "Modules really quantised by each quantiser that runs on a CPU, their tables and module states included, and GGUF and "
            "safetensors files really written and read back, against the bytes of their layouts. A quantiser that is not installed is skipped."
        )
        return _tested("quantised", about, "quantised modules and files, equal to the byte", QUANTISED)
    if part == "properties":
        about = "What holds for any model, workload and input, searched for counterexamples."
        return _tested("properties", about, "properties without a counterexample", PROPERTIES)
    module = import_module(f"benchmarks.proofs.{ {'measurements': 'measured'}.get(part, part.replace('-', '_')) }")
    run: Callable[[], Proof] = module.prove
    return run()


def _tested(name: str, about: str, quantity: str, files: tuple[str, ...]) -> Proof:
    from benchmarks.proofs import tested  # noqa: PLC0415

    return tested.prove(name, about, quantity, files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", action="append", choices=PARTS, metavar="NAME", help="only this part; may be repeated"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the result in benchmarks/results/exactness.json and .md"
    )
    chosen = parser.parse_args()
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    proofs = kept() if chosen.part else {}
    for part in chosen.part or PARTS:
        started = time.perf_counter()
        found = msgspec.structs.replace(prove(part), took_s=round(time.perf_counter() - started, 1))
        show(found)
        proofs[part] = found
        if chosen.write:
            write(proofs)  # after each part: a long run that is cut off keeps what it has
    print(text_table(aims_table([proofs[part] for part in PARTS if part in proofs])))
    return int(any(aim.met is False for proof in proofs.values() for aim in proof.aims))


def show(proof: Proof) -> None:
    print(f"== {proof.name} ({proof.took_s:.0f} s)\n{proof.about}\n")
    for table in proof.tables:
        print(text_table(table) + "\n")
    print(text_table(aims_table([proof])) + "\n", flush=True)


def kept() -> dict[str, Proof]:
    """What an earlier run kept."""
    path = RESULTS / "exactness.json"
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Proof]) if path.exists() else {}


def write(proofs: dict[str, Proof]) -> None:
    ordered = {part: proofs[part] for part in PARTS if part in proofs}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "exactness.json").write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    (RESULTS / "exactness.md").write_text(markdown(list(ordered.values())), encoding="utf-8")


def markdown(proofs: list[Proof]) -> str:
    """The result as a page."""
    lines = [
        "# How exact, and how fast",
        "",
        "Made by `python -m benchmarks.exactness --write`.",
        "",
        markdown_table(aims_table(proofs)),
    ]
    for proof in proofs:
        made = ", ".join(f"{name} {number}" for name, number in proof.versions.items())
        lines += [
            "",
            f"## {proof.name.capitalize()}",
            "",
            proof.about,
            "",
            f"{proof.date}, {made}, {proof.took_s:.0f} s.",
        ]
        for table in proof.tables:
            lines += ["", markdown_table(table)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
