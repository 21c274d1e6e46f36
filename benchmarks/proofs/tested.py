"""Proofs that are tests already: they are run here, and counted by what they show."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.proofs.proof import Aim, Proof, Table

ROOT = Path(__file__).parents[2]


def prove(name: str, about: str, quantity: str, files: tuple[str, ...]) -> Proof:
    """Run the tests of these files; the aim is that none fails."""
    cases = outcomes(files)
    counts = Counter(case["outcome"] for case in cases)
    found = f"{counts['passed']} of {len(cases) - counts['skipped']}"
    skipped = f"; {counts['skipped']} skipped, with the reasons" if counts["skipped"] else ""
    passed = bool(counts["passed"]) and not counts["failed"]
    by_test: dict[tuple[str, str], Counter[str]] = {}
    for case in cases:
        by_test.setdefault((case["file"], case["test"]), Counter())[case["outcome"]] += 1
    table = Table(
        "Tests run",
        ("test", "file", "passed", "failed", "skipped"),
        tuple((test.removeprefix("test_").replace("_", " "), file, *(str(each[key]) for key in ("passed", "failed", "skipped")))
              for (file, test), each in by_test.items()),
    )  # fmt: skip
    reasons = Counter(case["reason"] for case in cases if case["reason"])
    skips = Table("Skipped or failed", ("why", "tests"), tuple((why, str(count)) for why, count in reasons.items()))
    return Proof(
        name=name,
        about=about,
        aims=(Aim(quantity, "all", found + skipped, passed),),
        tables=(table, skips) if reasons else (table,),
        cases=tuple(cases),
    )


def outcomes(files: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row per test: passed, failed or skipped, and why."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *files]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if not report.exists():
            raise RuntimeError(f"the tests did not run: {done.stdout[-2000:]}")
        return [_outcome(case) for case in ET.parse(report).iter("testcase")]


def _outcome(case: ET.Element) -> dict[str, Any]:
    kinds = {"skipped": "skipped", "failure": "failed", "error": "failed"}
    outcome, reason = "passed", ""
    for child in case:
        if child.tag in kinds:
            outcome, reason = kinds[child.tag], " ".join((child.get("message") or "").split())[:200]
    test, _, variant = (case.get("name") or "").partition("[")
    file = (case.get("classname") or "").replace(".", "/")
    return {"file": file, "test": test, "variant": variant.rstrip("]"), "outcome": outcome, "reason": reason}
