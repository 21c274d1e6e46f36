from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from fmkit.report.recommend import print_recommendation
from fmkit.report.recommend_table import CSV_COLUMNS, csv_table, evidence_class, markdown_text
from fmkit.results.recommend import (
    Cost,
    Evidence,
    Excluded,
    LicenceFacts,
    Pick,
    Quality,
    RecommendResult,
    Relaxation,
    ScoreParts,
    Sensitivity,
    Views,
)
from fmkit.results.vram import Estimate
from fmkit.selection.facts import CatalogAge
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.units import GIB


def evidence(reported_by: str = "independent") -> Evidence:
    return Evidence(
        benchmark="IFEval", variant="strict", score=80.4, unit="%", source="https://example.org", date="2025-01-01",
        reported_by=reported_by,
    )  # fmt: skip


def estimate() -> Estimate:
    return Estimate(
        engine="transformers", engine_version="5", precision="int8", layout="int8", cache_dtype="bfloat16",
        context_tokens=8192, encoder_tokens=0, sequences=1, tensor_parallel=1, pipeline_parallel=1, valid=True,
        weights_bytes=8 * GIB, cache_bytes=GIB, steady_bytes=9 * GIB, peak_bytes=10 * GIB, low_bytes=9 * GIB,
        high_bytes=11 * GIB, reserved_bytes=0, per_device_bytes=10 * GIB, lines=(), fits=True, budget_bytes=24 * GIB,
    )  # fmt: skip


def pick(**changes: Any) -> Pick:
    rate = Range(low=31, median=61, high=92)
    facts: dict[str, Any] = {
        "rank": 1, "tied_with": (), "model": "alpha-8b-instruct", "hub_id": "example/alpha", "family": "alpha",
        "kind": "decoder", "tuning": "instruct", "modalities": ("text",), "precision": "int8", "engine": "transformers",
        "score": 0.81, "parts": ScoreParts(quality=0.8, latency=0.7, memory=0.58, licence=1.0, cost=None),
        "quality": Quality(value=0.8, low=0.7, high=0.9, evidence=(evidence("vendor"),), missing=("MT-Bench",)),
        "memory": estimate(),
        "speed": SpeedEstimate(ttft_s=rate, prefill_tokens_per_s=rate, decode_tokens_per_s=rate, throughput_tokens_per_s=rate,
                               basis="class", bound="bandwidth", reason="measured on cards like it"),
        "task_units": {"embedding_dim": 384},
        "licence": LicenceFacts(id="apache-2.0", licence_class="permissive", commercial="yes", conditions=("keep the notice",),
                                source="LICENSE", verified=True),
        "cost": None, "warnings": ("thinks before it answers",), "next": ("fmkit vram alpha-8b-instruct",),
        "reasons": ("int8, because of fp16: needs 30.00 GiB",),
    }  # fmt: skip
    return Pick(**(facts | changes))


def result(*picks: Pick, **changes: Any) -> RecommendResult:
    facts: dict[str, Any] = {
        "fmkit": "0.1.0", "age": CatalogAge(newest_score="2026-08-21"), "catalog": "2026-11-24", "task": "chat", "understood": {}, "constraints": {}, "ranked": True,
        "verdict": "For chat on a card: alpha-8b-instruct.", "picks": picks,
        "views": Views(cheapest=None, fastest=None, best=None, smallest=None, pareto=()),
        "excluded": tuple(Excluded(model=f"large-{n}", reason="needs more", constraint="memory", missed_by="9.60 GiB") for n in range(6)),
        "relax": (Relaxation(constraint="licence", to="also community-restricted", would_add=("llama-8b",)),),
        "sensitivity": (Sensitivity(change="half the memory", new_winner="none"),),
    }  # fmt: skip
    return RecommendResult(**(facts | changes))


API = pick(rank=2, model="cloud", precision=None, engine=None, memory=None, speed=None, tied_with=("alpha-8b-instruct",),
           cost=Cost(tokens_per_usd=4e5, usd_per_1m_tokens=2.5, usd_per_month=75.0, break_even_utilisation=0.4,
                     price_date="2025-06-01", assumption="list price"),
           quality=Quality(value=0.95, low=0.9, high=1.0, evidence=(evidence(),), missing=()))  # fmt: skip
UNSCORED = pick(rank=None, model="silent", score=None, quality=Quality(value=None, low=None, high=None, evidence=()))


def drawn(found: RecommendResult, width: int = 100, **options: Any) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, emoji=False)
    print_recommendation(found, console, **options)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_list_has_the_verdict_first_and_a_line_per_pick() -> None:
    text = drawn(result(pick(tied_with=("cloud",)), API, UNSCORED))
    lines = text.splitlines()
    assert lines[0] == "For chat on a card: alpha-8b-instruct."
    row = next(line for line in lines if "alpha-8b-instruct" in line and "int8" in line)
    assert all(part in row for part in ("1", "10.00 GiB", "31-92", "0.80!", "(0.70-0.90)", "apache-2.0", "0.81"))
    assert next(line for line in lines if " cloud " in line).split()[:3] == ["1=", "cloud", "API"]
    assert "no score" in next(line for line in lines if "silent" in line)


def test_what_is_below_the_list() -> None:
    text = drawn(result(pick()))
    assert "6 models are out:" in text
    assert "memory 6: large-0 by 9.60 GiB, large-1 by 9.60 GiB" in text
    assert "and 2 more" in " ".join(text.split())
    assert "half the memory: no model is left" in text
    assert "licence also community-restricted: adds llama-8b" in text
    assert "next: fmkit vram alpha-8b-instruct" in text
    assert "note: thinks before it answers" in text


def test_explain_shows_the_evidence() -> None:
    text = drawn(result(pick(), API), explain=True)
    assert "IFEval (strict): 80.4 %, vendor, 2025-01-01" in text
    assert "no score on MT-Bench" in text
    assert "embedding dim 384" in text
    assert "cost per month: 75.00 USD" in text
    assert "cost unknown" in text
    assert "IFEval" not in drawn(result(pick(), API))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = drawn(result(pick(), API, UNSCORED), width=width, explain=True)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "int8" in text


def test_sixty_columns_keep_what_decides() -> None:
    text = drawn(result(pick(), API), width=60)
    assert all(part in text for part in ("10.00", "31-92", "0.80!"))
    assert "alpha-8b-instruct" in text.replace("\n", "")


def test_a_command_is_never_broken() -> None:
    command = "fmkit vram alpha-8b-instruct --gpu rtx-4090 --precision int8 --context 8k"
    assert f"next: {command}" in drawn(result(pick(next=(command,))), width=40).splitlines()


def test_models_for_something_else_come_last_among_the_excluded() -> None:
    others = tuple(
        Excluded(model=f"other-{n}", reason="not for chat", constraint="task", missed_by=None) for n in range(9)
    )
    found = result(pick())
    text = drawn(replace(found, excluded=others + found.excluded))
    assert text.index("memory 6:") < text.index("task 9:")


def test_a_way_round_stands_below_what_is_too_large() -> None:
    command = "fmkit vram large-0 --engine llama.cpp --engine-option n_cpu_moe=auto"
    found = result(pick())
    others = tuple(replace(one, next=command) for one in found.excluded[:2]) + found.excluded[2:]
    lines = drawn(replace(found, excluded=others), width=40).splitlines()
    assert f"  next: {command}" in lines
    assert "large-0 fits with experts in main memory, as does 1 more" in " ".join(" ".join(lines).split())


def test_no_pick_is_still_an_answer() -> None:
    text = drawn(result(verdict="No model for chat passes the constraints; memory excludes the most (6)."))
    assert text.startswith("No model for chat")
    assert "next:" not in text


def test_names_of_strangers_do_not_drive_the_terminal() -> None:
    found = result(pick(model="x\x1b[31m", warnings=("\x1b]0;y",), origin="hub", next=("fmkit vram \x1b[2J",)))
    for text in (drawn(found), drawn(found, explain=True), csv_table(found), markdown_text(found)):
        assert "\x1b" not in text
    assert "x\\x1b[31m" in drawn(found)


def test_markup_in_names_is_plain_text() -> None:
    assert "[red]x" in drawn(result(pick(model="[red]x", warnings=("[bold]y",))))


def test_csv_has_a_header_and_empty_cells_for_unknowns() -> None:
    rows = list(csv.DictReader(StringIO(csv_table(result(pick(), API)))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert rows[0]["peak_bytes"] == str(10 * GIB)
    assert rows[0]["decode_tokens_per_s_low"] == "31"
    assert (rows[1]["peak_bytes"], rows[1]["precision"], rows[1]["tied_with"]) == ("", "", "alpha-8b-instruct")


def test_markdown_is_a_table_of_equal_rows() -> None:
    lines = markdown_text(result(pick(model="a|b"), API)).splitlines()
    table = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {10}
    assert any("| a\\|b |" in line for line in lines)
    assert lines[0] == "For chat on a card: alpha-8b-instruct."


def test_evidence_is_as_good_as_its_reporters() -> None:
    assert evidence_class((evidence(), evidence())) == "independent"
    assert evidence_class((evidence(), evidence("vendor"))) == "mixed"
    assert evidence_class((evidence("vendor"), evidence("other-vendor"))) == "vendor"


def test_an_unverified_licence_is_marked() -> None:
    recalled = replace(pick().licence, verified=False)
    assert "apache-2.0 ?" in drawn(result(pick(licence=recalled)), width=120)


def test_those_that_share_a_rank_all_bear_the_first() -> None:
    names = ("a", "b", "c", "d")
    tied = {"a": ("b", "c"), "b": ("a", "c"), "c": ("a", "b"), "d": ()}
    picks = [pick(rank=place, model=name, tied_with=tied[name]) for place, name in enumerate(names, 1)]
    table = markdown_text(result(*picks)).splitlines()
    assert [line.split(" | ")[0] for line in table if line.startswith("| ") and "---" not in line][1:] == [
        "| 1=", "| 1=", "| 1=", "| 4",
    ]  # fmt: skip


def test_the_table_says_what_a_price_rests_on_and_that_a_speed_is_unknown() -> None:
    text = drawn(result(pick(speed=None), API), width=120)
    assert "USD/1M of cloud: list price" in text
    assert "unknown" in next(line for line in text.splitlines() if "alpha-8b-instruct" in line and "int8" in line)
    assert "USD/1M of cloud: list price" in markdown_text(result(pick(), API))


def test_a_change_that_leaves_too_few_to_rank_is_said() -> None:
    found = result(pick(), sensitivity=(Sensitivity(change="half the memory", new_winner="not ranked"),))
    assert "half the memory: too few models" in drawn(found)


def reading(**figures: Range) -> SpeedEstimate:
    """A speed that has the figures named, and of others none that a list shows first."""
    rate = Range(low=31, median=61, high=92)
    facts: dict[str, Any] = {"decode_tokens_per_s": None, "throughput_tokens_per_s": None}
    return SpeedEstimate(
        ttft_s=rate,
        prefill_tokens_per_s=rate,
        basis="class",
        bound="compute",
        reason="of its class",
        **(facts | figures),
    )


FEW = Range(low=7.4, median=14.3, high=22.6)


@pytest.mark.parametrize(
    ("figures", "name", "cell", "legend"),
    [
        ({"texts_per_s": FEW}, "texts/s", "7.4-23", "texts/s: texts of 200 tokens each"),
        ({"images_per_s": FEW, "texts_per_s": FEW}, "images/s", "7.4-23", "images/s: taken in by the image tower"),
        ({"real_time_factor": Range(low=0.1, median=0.2, high=0.3), "decode_tokens_per_s": FEW}, "RTF", "0.1-0.3",
         "RTF: real-time factor, seconds of work per second of sound"),
        ({"decode_tokens_per_s": FEW}, "tok/s", "7.4-23", ""),
    ],
)  # fmt: skip
def test_a_list_is_in_the_unit_of_its_task(figures: dict[str, Range], name: str, cell: str, legend: str) -> None:
    lines = drawn(result(pick(speed=reading(**figures)), understood={"prompt_tokens": 200})).splitlines()
    assert name in lines[2].split()
    assert cell in lines[3].split()
    assert not legend or legend in lines


def test_units_differ_in_a_list_that_mixes_what_writes_and_what_reads() -> None:
    lines = drawn(result(pick(speed=reading(texts_per_s=FEW)), pick(model="writer"))).splitlines()
    assert "tok/s" in lines[2].split()


def test_a_load_has_its_cost_per_month_at_any_width() -> None:
    assert "list price; 75 USD per month" in drawn(result(pick(), API), width=60).replace("\n", " ")
    assert API.cost is not None
    without = replace(API.cost, usd_per_month=None)
    assert "per month" not in drawn(result(pick(), pick(model="cloud", cost=without)), width=120)


def test_figures_in_the_tasks_unit_are_explained_with_their_range() -> None:
    units = {"embedding_dim": 384, "pairs_per_s": 14.3}
    text = drawn(result(pick(speed=reading(texts_per_s=FEW), task_units=units)), width=200, explain=True)
    assert "embedding dim 384, pairs per s 14.3 (7.4 to 22.6)" in text


def test_the_wait_says_what_is_waited_for() -> None:
    """The task's prompt is not the context that `vram` fills, so a wait without its prompt would contradict it."""
    asked = {"prompt_tokens": 1000}
    shown = drawn(result(pick(), understood=asked), width=200, explain=True)
    assert "speed: first token after a prompt of 1,000 tokens: " in shown
    reads = drawn(result(pick(speed=reading(texts_per_s=FEW)), understood=asked), width=200, explain=True)
    assert "speed: one pass " in reads
