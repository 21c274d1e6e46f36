"""`fmkit` alone as text: each model's speed in the unit of what it does, and commands that survive copying."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from fmkit.report.overview import print_overview
from fmkit.results.overview import BestModel, OverviewResult
from fmkit.selection.facts import CatalogAge
from fmkit.speed.estimate import Range

RATE = Range(low=3.9, median=9.8, high=25)


def best(task: str, **changes: Any) -> BestModel:
    facts: dict[str, Any] = {
        "task": task, "model": f"{task}-model-of-a-long-name", "precision": "fp16", "peak_bytes": 2**30,
        "decode_tokens_per_s": None, "licence": "mit", "next": f"fmkit try {task}-model-of-a-long-name --precision fp16",
        "reason": "",
    }  # fmt: skip
    return BestModel(**(facts | changes))


def text(*models: BestModel, width: int = 80) -> str:
    result = OverviewResult(
        fmkit="0.1.0", catalog="2026-11-28", age=CatalogAge(), machine="a machine", usable_bytes=2**34, models=models
    )
    buffer = StringIO()
    print_overview(result, Console(file=buffer, width=width, color_system=None, highlight=False))
    return buffer.getvalue()


def test_each_speed_has_its_unit() -> None:
    shown = text(
        best("chat", decode_tokens_per_s=RATE),
        best("embedding", texts_per_s=RATE),
        best("transcription", decode_tokens_per_s=RATE, real_time_factor=Range(low=0.57, median=1, high=1.9)),
    )
    rows = {line.split()[0]: line.rstrip() for line in shown.splitlines()[2:6]}
    assert rows["chat"].endswith("3.9-25 tokens/s")
    assert rows["embedding"].endswith("3.9-25 texts/s")
    assert rows["transcription"].endswith("RTF 0.57-1.9")
    assert "RTF: real-time factor, seconds of work per second of sound" in shown


def test_a_command_is_one_line_however_narrow() -> None:
    one = best("chat", decode_tokens_per_s=RATE)
    assert f"chat: {one.next}" in text(one, width=30).splitlines()


def test_where_none_fits_the_reason_stands() -> None:
    shown = text(best("chat", model=None, precision=None, peak_bytes=None, reason="nothing is small enough"))
    assert "chat: nothing is small enough" in shown
    assert "RTF" not in shown
