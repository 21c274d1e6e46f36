"""Does a trial make the next estimate better? Five trials, then other models at other lengths, estimated before and after.

    python -m benchmarks.calibration [--measure-first] [--write]

Every model has random weights at its true size, in 32 bit (what every CPU runs), and runs in a process of its own. The five trials are kept in
a record of their own; the models they are held against were in none of them, nor were their lengths. They are run once: both estimates, without
the trials and with them, are held against the same run. `--measure-first` runs `fmkit hardware measure` before, as a careful user would; what
a busy machine measures is used too, and the result says so.
`--write` keeps the result in benchmarks/results/calibration.json. About 6 minutes on 2 idle cores; torch runs as many threads as it is allowed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from math import exp, log
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.proofs.proof import Table, quantile, text_table
from fmkit.api.measure import measure_hardware
from fmkit.api.trial_options import TrialOptions
from fmkit.api.trial_plan import plan_trial
from fmkit.api.trial_result import predicted_parts
from fmkit.api.try_model import try_one
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fmkit.results.trial import TrialResult
    from fmkit.results.vram import Estimate
    from fmkit.speed.estimate import Range

RESULT = Path(__file__).parent / "results" / "calibration.json"
PRECISION = "fp32"


class Case(msgspec.Struct, frozen=True):
    """A model of the catalog and a workload."""

    model: str
    context_tokens: int
    sequences: int


KEPT = (
    Case("smollm2-135m", 256, 1), Case("distilgpt2", 512, 2), Case("bert-base-uncased", 256, 4), Case("t5-small", 128, 4),
    Case("qwen2.5-0.5b", 128, 1),
)  # fmt: skip
"""The five trials: quick ones, of the kinds that people try first."""

HELD_OUT = (
    Case("smollm2-360m-instruct", 192, 1), Case("gpt2", 320, 2), Case("mamba-130m-hf", 96, 2), Case("deberta-v3-xsmall", 320, 2),
    Case("roberta-base", 192, 4), Case("t5-base", 96, 2), Case("bart-base", 352, 2), Case("whisper-base", 200, 2),
    Case("clip-vit-base-patch32", 77, 8), Case("all-mpnet-base-v2", 384, 2),
)  # fmt: skip
"""Models and lengths of which no trial was made."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one case: measured, and predicted without the trials and with them, each with its range (bytes, seconds, tokens/s)."""

    model: str
    workload: str
    quantity: str
    measured: float
    before: tuple[float, float, float]
    after: tuple[float, float, float]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Errors as |predicted / measured - 1|, for rates and times as a factor; shares of ranges that held, and how wide they are (high over low)."""

    quantity: str
    figures: int
    median_before: float
    median_after: float
    p90_before: float
    p90_after: float
    covered_before: float
    covered_after: float
    width_before: float
    width_after: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found."""

    date: str
    machine: str
    device: str
    engine: str
    rates_measured_first: bool
    rates_doubt: str | None = None
    """Why the measured rates are doubtful."""
    busy_share: float
    """The median share of the processors that others used before a trial."""
    trials: tuple[str, ...]
    summaries: tuple[Summary, ...]
    figures: tuple[Figure, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure-first", action="store_true", help="measure this machine's rates first")
    parser.add_argument("--write", action="store_true", help="keep the result in benchmarks/results/calibration.json")
    chosen = parser.parse_args()
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    with tempfile.TemporaryDirectory(prefix="fmkit-calibration-") as folder:
        os.environ["FMKIT_DATA_DIR"] = folder
        found = run(measure_first=chosen.measure_first)
    show(found)
    if chosen.write:
        RESULT.parent.mkdir(exist_ok=True)
        known = msgspec.json.decode(RESULT.read_bytes(), type=list[Result]) if RESULT.exists() else []
        others = [one for one in known if one.rates_measured_first != found.rates_measured_first]
        ordered = sorted([*others, found], key=lambda one: one.rates_measured_first)
        RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    return 0


def run(*, measure_first: bool) -> Result:
    """Hold out, keep, compare: in this order, so that nothing kept is known to the first estimates."""
    doubt = measured_rates() if measure_first else None
    before = [estimate(case, trials=False) for case in HELD_OUT]
    measured = [(case, tried(case, keep=False)) for case in HELD_OUT]
    kept = [tried(case, keep=True) for case in KEPT]
    after = [estimate(case, trials=True) for case in HELD_OUT]
    figures = tuple(
        figure
        for (case, trial), first, second in zip(measured, before, after, strict=True)
        for figure in figures_of(case, trial, first, second)
    )
    busy = [trial.machine.busy_share or 0.0 for trial in (*kept, *(trial for _, trial in measured))]
    return Result(
        date=datetime.now(UTC).date().isoformat(),
        machine=kept[0].machine.name,
        device=kept[0].machine.device,
        engine=f"{kept[0].engine.name} {kept[0].engine.version}, torch {kept[0].engine.libraries.get('torch')}",
        rates_measured_first=measure_first,
        rates_doubt=doubt,
        busy_share=median(busy),
        trials=tuple(f"{case.model}, {case.sequences} x {case.context_tokens}" for case in KEPT),
        summaries=tuple(summaries(figures)),
        figures=figures,
    )


def measured_rates() -> str | None:
    """Measure this machine and keep what is found, for this benchmark's record holds nothing better; returns why it is doubtful."""
    return measure_hardware(device="cpu", keep=True, say=print).rates.doubt


def tried(case: Case, *, keep: bool) -> TrialResult:
    print(f"{case.model}, {case.sequences} x {case.context_tokens}{' (kept)' if keep else ''}", file=sys.stderr)
    return try_one(case.model, PRECISION, case.context_tokens, case.sequences, options(keep=keep, trials=False))


def options(*, keep: bool, trials: bool) -> TrialOptions:
    return TrialOptions(
        device="cpu", random_weights=True, checks=["none"], keep=keep, trials=trials, offline=True, timeout_s=600.0
    )


def estimate(case: Case, *, trials: bool) -> Estimate:
    """What `fmkit try` would predict now."""
    (found,) = plan_trial(
        case.model, PRECISION, (case.context_tokens,), (case.sequences,), options(keep=False, trials=trials)
    ).estimates
    return found


def figures_of(case: Case, trial: TrialResult, before: Estimate, after: Estimate) -> Iterator[Figure]:
    """What was measured, beside both estimates."""
    workload = f"{case.sequences} x {case.context_tokens}"
    if "process_peak_bytes" in trial.measured:
        peaks = [
            (
                float(one.low_bytes),
                float(predicted_parts(one)["process_peak_bytes"]),
                float(one.high_bytes),
            )
            for one in (before, after)
        ]
        yield Figure(
            model=case.model, workload=workload, quantity="process peak", measured=trial.measured["process_peak_bytes"],
            before=peaks[0], after=peaks[1],
        )  # fmt: skip
    for quantity, name in (("first token", "ttft_s"), ("decoding", "decode_tokens_per_s")):
        sample = getattr(trial.speed, name)
        ranges = [getattr(one.speed, name) if one.speed is not None else None for one in (before, after)]
        if sample is not None and ranges[0] is not None and ranges[1] is not None:
            yield Figure(
                model=case.model, workload=workload, quantity=quantity, measured=sample.mean,
                before=triple(ranges[0]), after=triple(ranges[1]),
            )  # fmt: skip


def triple(found: Range) -> tuple[float, float, float]:
    return found.low, found.median, found.high


def summaries(figures: Sequence[Figure]) -> Iterator[Summary]:
    for quantity in dict.fromkeys(figure.quantity for figure in figures):
        chosen = [figure for figure in figures if figure.quantity == quantity]
        before = [off(figure.before[1], figure.measured, quantity) for figure in chosen]
        after = [off(figure.after[1], figure.measured, quantity) for figure in chosen]
        yield Summary(
            quantity=quantity,
            figures=len(chosen),
            median_before=round(median(before), 4),
            median_after=round(median(after), 4),
            p90_before=round(quantile(before, 0.9), 4),
            p90_after=round(quantile(after, 0.9), 4),
            covered_before=share(figure.before[0] <= figure.measured <= figure.before[2] for figure in chosen),
            covered_after=share(figure.after[0] <= figure.measured <= figure.after[2] for figure in chosen),
            width_before=round(median(figure.before[2] / figure.before[0] for figure in chosen), 2),
            width_after=round(median(figure.after[2] / figure.after[0] for figure in chosen), 2),
        )


def off(predicted: float, measured: float, quantity: str) -> float:
    """How far off: for memory as a fraction of the measured, for speed as the factor between the two, less one, whichever is larger."""
    if quantity == "process peak":
        return abs(predicted / measured - 1)
    return exp(abs(log(predicted / measured))) - 1


def share(held: Iterator[bool]) -> float:
    answers = list(held)
    return round(sum(answers) / len(answers), 2)


def show(result: Result) -> None:
    doubt = f" (doubtful: {result.rates_doubt})" if result.rates_doubt is not None else ""
    rates = f"its rates measured first{doubt}" if result.rates_measured_first else "its rates not measured"
    print(f"{result.machine} ({result.device}), {result.engine}, {rates}; others used {result.busy_share:.0%} of it")
    print(f"kept: {'; '.join(result.trials)}\n")
    rows = tuple(
        (
            one.quantity, str(one.figures), f"{one.median_before:.1%}", f"{one.median_after:.1%}", f"{one.p90_before:.1%}", f"{one.p90_after:.1%}",
            f"{one.covered_before:.0%}", f"{one.covered_after:.0%}", f"{one.width_before:g}", f"{one.width_after:g}",
        )
        for one in result.summaries
    )  # fmt: skip
    columns = (
        "quantity",
        "figures",
        "median before",
        "after",
        "p90 before",
        "after",
        "in range before",
        "after",
        "high/low before",
        "after",
    )
    print(text_table(Table("Error of estimates for models and lengths never tried", columns, rows)) + "\n")
    lines = tuple(
        (
            one.model,
            one.workload,
            one.quantity,
            *(words(figure, one.quantity) for figure in (one.measured, one.before[1], one.after[1])),
        )
        for one in result.figures
    )
    print(text_table(Table("Each", ("model", "workload", "quantity", "measured", "before", "after"), lines)))


def words(figure: float, quantity: str) -> str:
    return format_bytes(round(figure)) if quantity == "process peak" else f"{figure:.3g}"


if __name__ == "__main__":
    sys.exit(main())
