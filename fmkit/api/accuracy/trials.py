"""The trials kept on this computer, as comparisons: what was predicted when they ran, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.accuracy.comparison import Comparison, Quantity
from fmkit.api.trial_evidence import predicted_speed
from fmkit.results.accuracy import LeftOut
from fmkit.results.trial_setting import BUSY_SHARE
from fmkit.trial.store import TrialStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.load import Catalog
    from fmkit.results.trial import TrialResult

PARTS: dict[str, Quantity] = {
    "weights": "weights",
    "cache": "cache",
    "activations": "activations",
    "allocated_peak_bytes": "total",
    "process_peak_bytes": "process",
}
"""The parts of a trial that a prediction has too, and what they are called here."""


BUSY = f"speed of trials while other programs used more than {BUSY_SHARE:.0%} of the processors"
"""Why rates are left out; memory is the process's own, and counts."""


def trial_comparisons(catalog: Catalog) -> Iterator[Comparison | LeftOut]:
    """A comparison for each part and rate that a kept trial measured, or why its rate does not count."""
    for trial in TrialStore().all():
        yield from _memory(trial, catalog)
        busy = trial.machine.was_busy
        yield from (_left_out(each) if busy else each for each in _speed(trial))


def _memory(trial: TrialResult, catalog: Catalog) -> Iterator[Comparison]:
    engine = catalog.engines.get(trial.engine.name)
    for part, quantity in PARTS.items():
        predicted, measured = trial.predicted.get(part), trial.measured.get(part)
        if not predicted or not measured:
            continue
        vendor = "cpu" if trial.workload.device == "cpu" else "nvidia"
        bounded = "peak" if quantity in ("total", "process") else part
        stated = engine.bounds_of(bounded, vendor) if engine is not None else None
        low, high = stated or (1.0, 1.0)
        yield _comparison(trial, quantity, predicted, predicted * low, predicted * high, measured)


def _speed(trial: TrialResult) -> Iterator[Comparison]:
    said = predicted_speed(trial)
    if said is None:
        return
    step, measured = said.decode_tokens_per_s, trial.speed.decode_tokens_per_s
    if step is not None and measured is not None and measured.mean > 0:
        yield _comparison(trial, "decode", step.median, step.low, step.high, measured.mean)
    wait, waited = said.ttft_s, trial.speed.ttft_s
    if wait is not None and waited is not None and waited.mean > 0 and trial.server is None:
        tokens = (trial.workload.timed_prompt_tokens or 1) * trial.workload.sequences
        rates = (tokens / seconds for seconds in (wait.median, wait.high, wait.low, waited.mean))
        yield _comparison(trial, "prefill", *rates)


def _left_out(found: Comparison) -> LeftOut:
    return LeftOut(
        measurement_id=found.measurement_id,
        quantity=found.quantity,
        engine=found.engine,
        device=found.device,
        reason=BUSY,
    )


def _comparison(
    trial: TrialResult, quantity: Quantity, predicted: float, low: float, high: float, measured: float
) -> Comparison:
    return Comparison(
        measurement_id=trial.id,
        quantity=quantity,
        engine=trial.engine.name,
        engine_version=trial.engine.version,
        device=trial.machine.name,
        predicted=predicted,
        low=low,
        high=high,
        measured=measured,
        note=f"trial of {trial.model} at {trial.precision}, predicted by fmkit {trial.fmkit}",
    )
