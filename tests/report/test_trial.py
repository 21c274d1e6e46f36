from __future__ import annotations

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from fmkit.report.sweep import print_sweep
from fmkit.report.trial import print_trial, speed_lines, unaccounted
from fmkit.results.trial import Check, EngineVersion, Sample, SweepResult, TrialResult, TrialSpeed
from fmkit.results.trial_setting import TrialMachine, TrialWorkload
from fmkit.units import MIB

RESULT = TrialResult(
    fmkit="0.1.0",
    catalog="2026-11-25",
    id="one",
    date="2026-11-25T10:00:00+00:00",
    model="llama-3.1-8b",
    hub_id=None,
    engine=EngineVersion(name="transformers", version="5.23.0"),
    machine=TrialMachine(name="AMD EPYC, 2 cores", device="CPU, 2 threads"),
    workload=TrialWorkload(
        task="text generation",
        context_tokens=512,
        encoder_tokens=0,
        sequences=1,
        dtype="bfloat16",
        layers=2,
    ),
    precision="fp16",
    predicted={"weights": 100 * MIB, "cache": MIB, "activations": 10 * MIB, "allocated_peak_bytes": 111 * MIB},
    measured={
        "weights": 100 * MIB,
        "cache": MIB,
        "activations": 12 * MIB,
        "allocated_peak_bytes": 113 * MIB,
        "process_peak_bytes": 500 * MIB,
    },
    error={"weights": 0.0, "cache": 0.0, "activations": -1 / 6, "allocated_peak_bytes": -2 / 113},
    unaccounted_bytes=2 * MIB,
    speed=TrialSpeed(
        load_s=1.5,
        ttft_s=Sample(mean=0.2, sd=0.01, n=3),
        decode_tokens_per_s=Sample(mean=20.0, sd=0.5, n=3),
        predicted={"decode_tokens_per_s": {"low": 10.0, "median": 20.0, "high": 30.0}, "ttft_s": None},
    ),
    output="[red]not markup[/red] \x1b[31m",
    checks=(
        Check(name="finite-logits", passed=True, value=1.0, threshold=1.0, detail="share"),
        Check(name="deterministic", passed=False, value=0.5, threshold=0.0, detail="difference"),
        Check(name="chat-template", passed=None, value=None, threshold=None, detail="does not apply: why"),
    ),
    random_weights=True,
    warnings=("slow",),
    next=("fmkit vram llama-3.1-8b --fit",),
)


def drawn(result: TrialResult, width: int) -> str:
    buffer = StringIO()
    print_trial(result, Console(file=buffer, width=width, highlight=False, emoji=False))
    return buffer.getvalue()


@pytest.mark.parametrize("width", [40, 60, 120])
def test_everything_is_there_and_fits(width: int) -> None:
    text = drawn(RESULT, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    flat = " ".join(text.split())
    for part in ("predicted", "measured", "113.0 MiB", "-1.8 %", "exact", "unknown", "2 layers only", "random weights"):
        assert part in flat, part
    assert "decoding 20 +- 0.5 (n = 3) tokens/s per sequence; predicted 10 to 30" in flat
    assert "FAIL deterministic" in flat
    assert "n/a chat-template" in flat


def test_output_is_neither_markup_nor_control_codes() -> None:
    text = drawn(RESULT, 100)
    assert "[red]not markup[/red]" in text
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


def test_headline_says_what_failed() -> None:
    first = drawn(RESULT, 120).splitlines()[0]
    assert first.startswith("llama-3.1-8b ran at fp16 and took 113.0 MiB (estimate -1.8 %)")
    assert "failed: deterministic" in first


def test_unaccounted_in_words() -> None:
    assert unaccounted(2 * MIB) == "unaccounted: 2.0 MiB more than the estimate"
    assert "every byte" in unaccounted(0)
    assert "less" in unaccounted(-5)


def test_an_encoder_has_one_pass_and_no_decoding() -> None:
    speed = TrialSpeed(load_s=1.0, ttft_s=Sample(mean=0.2, sd=0.0, n=1), decode_tokens_per_s=None, predicted={})
    text = drawn(msgspec.structs.replace(RESULT, speed=speed), 100)
    assert "one pass after 200 ms" in text
    assert "decoding" not in text
    assert "no speed was predicted" in text


def test_one_measurement_has_no_deviation() -> None:
    once = TrialSpeed(
        load_s=None,
        ttft_s=Sample(mean=0.2, sd=0.0, n=1),
        decode_tokens_per_s=Sample(mean=20.0, sd=0.0, n=1),
        predicted={},
    )
    lines = speed_lines(msgspec.structs.replace(RESULT, speed=once))
    assert lines[:2] == ["first token after 200 ms (n = 1)", "decoding 20 (n = 1) tokens/s per sequence"]


def test_why_no_speed_was_predicted_is_said_once() -> None:
    unknown = msgspec.structs.replace(RESULT, speed=msgspec.structs.replace(RESULT.speed, predicted={}))
    told = msgspec.structs.replace(unknown, warnings=("no speed for ranks on processors: nobody measured it",))
    assert drawn(unknown, 120).count("no speed") == drawn(told, 120).count("no speed") == 1


def test_a_failed_output_is_told() -> None:
    shown = drawn(msgspec.structs.replace(RESULT, output="", output_error="RuntimeError: no"), 120)
    assert "failed: output" in shown
    assert "after memory and times were measured: RuntimeError: no" in shown


def test_checks_that_can_not_judge_share_a_line() -> None:
    one = Check(name="a", passed=None, value=None, threshold=None, detail="random weights mean nothing")
    checks = tuple(msgspec.structs.replace(one, name=name) for name in ("a", "b", "c"))
    shown = drawn(msgspec.structs.replace(RESULT, checks=checks), 120)
    assert shown.count("random weights mean nothing") == 1
    assert "n/a  a, b, c: random weights mean nothing" in shown


@pytest.mark.parametrize(("share", "said"), [(0.83, True), (0.02, False), (None, False)])
def test_other_programs_on_the_processors_are_told(share: float | None, said: bool) -> None:
    trial = msgspec.structs.replace(RESULT, machine=msgspec.structs.replace(RESULT.machine, busy_share=share))
    assert ("other programs used 83 % of the processors" in drawn(trial, 120)) is said
    less = msgspec.structs.replace(
        trial, machine=msgspec.structs.replace(RESULT.machine, busy_share=(share or 0.0) / 2)
    )
    sweep = SweepResult(fmkit="0.1.0", date=RESULT.date, model=RESULT.model, trials=(less, trial))
    buffer = StringIO()
    print_sweep(sweep, Console(file=buffer, width=120))
    assert buffer.getvalue().count("other programs used") == buffer.getvalue().count("used 83 %") == said
