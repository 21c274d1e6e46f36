"""The order of a trial: warm up, measure a baseline, load, count memory, take times, look at the output, check."""

from __future__ import annotations

import time
from collections.abc import Callable

from fmkit.trial import process_memory
from fmkit.trial.checks import run_checks
from fmkit.trial.engines import open_engine
from fmkit.trial.request import Phase, TrialOutcome, TrialRequest

Enter = Callable[[Phase], None]
"""Called when a phase begins."""


def run_trial(request: TrialRequest, enter: Enter) -> TrialOutcome:
    """Run one trial in this process.

    Memory and time are taken in separate passes, because counting slows every operation. `process_peak_bytes` is the most
    this process held while loading and during the memory pass, `process_baseline_bytes` what it held before.
    """
    engine = open_engine(request)
    enter("warm-up")
    engine.warm_up()
    process_memory.settle()
    baseline = process_memory.resident_bytes()
    can_reset = process_memory.reset_peak()
    enter("load")
    started = time.perf_counter()
    engine.load()
    load_s = time.perf_counter() - started
    enter("prefill")
    measured = engine.prefill_memory()
    enter("decode")
    measured |= engine.decode_memory()
    if can_reset:
        measured |= _process(baseline, process_memory.peak_bytes())
    else:
        engine.warnings.append(
            "this system does not report a process's peak since a moment: the process peak is unknown"
        )
    enter("timing")
    timing = engine.timing()
    enter("output")
    output = engine.answer()
    enter("checks")
    checks = run_checks(request.checks, engine.evidence(request.checks))
    return TrialOutcome(
        engine=engine.version(),
        task=engine.task,
        device=engine.device,
        measured=by_part(measured),
        load_s=load_s,
        timing=timing,
        output=output,
        checks=checks,
        warnings=tuple(engine.warnings),
    )


def by_part(measured: dict[str, int]) -> dict[str, int]:
    """Weights, cache and activations whose sum is the allocated peak: activations are what the first two do not explain.

    The cache counted is the steady one, after a decode step; what prefill holds beyond it (the prompt behind a sliding
    window) is part of the activations, and stated as `cache_after_prefill_bytes`.
    """
    peak = max(measured.get("prefill_peak_bytes", 0), measured.get("decode_peak_bytes", 0))
    cache = measured.get("cache", measured.get("cache_after_prefill_bytes", 0))
    return {
        "weights": measured["weights"],
        "cache": cache,
        "activations": peak - measured["weights"] - cache,
        "allocated_peak_bytes": peak,
        **{name: value for name, value in measured.items() if name not in ("weights", "cache")},
    }


def _process(baseline: int | None, peak: int | None) -> dict[str, int]:
    figures = {"process_baseline_bytes": baseline, "process_peak_bytes": peak}
    return {name: value for name, value in figures.items() if value is not None}
