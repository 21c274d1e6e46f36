"""What kept trials say of memory and speed, as far as it can be believed: a record may be old, of another machine, or anybody's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.results.trial_setting import BUSY_SHARE
from fmkit.sizing.calibration import MemoryTrial
from fmkit.speed.calibration import RateTrial
from fmkit.speed.estimate import SpeedEstimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fmkit.results.trial import Sample, TrialResult
    from fmkit.results.trial_setting import TrialWorkload

CUT_WEIGHT = 0.5
"""What the memory of a model cut to its first layers counts for: its runtime is that of the whole, its scratch less so (assumed)."""
FAR_APART = 0.25
"""Deviation of a rate's repeats over their mean, above which it says nothing (assumed)."""
MOST_OFF, MOST_BYTES = 1e4, 2**50
"""A rate this many times the predicted, or this many bytes, come from a fault and not from a machine."""

NEEDED_MEASURED = {"process_peak_bytes", "allocated_peak_bytes", "weights"}
NEEDED_PREDICTED = {"process_peak_bytes", "allocated_peak_bytes", "runtime"}


def of_this_setting(trials: Sequence[TrialResult], key: str) -> tuple[list[TrialResult], Counter[str]]:
    """The trials on this machine with what was used last, the newest first, and how many are not."""
    here = [one for one in trials if one.machine.key == key]
    current = [one for one in here if _setting(one) == _setting(here[0])]
    mine = [one for one in current if not _is_divided(one.workload)]
    left_out = Counter(
        {
            "of other machines": len(trials) - len(here),
            "with other versions or threads": len(here) - len(current),
            "divided or off-loaded": len(current) - len(mine),
        }
    )
    return mine, left_out


def _setting(trial: TrialResult) -> tuple[str | None, ...]:
    """What changes memory or speed without changing the machine: versions, and the device as the engine names it, with its threads."""
    return trial.engine.version, trial.engine.libraries.get("torch"), trial.machine.device


def _is_divided(work: TrialWorkload) -> bool:
    """Whether other processes, or weights outside of the device, had a part in it."""
    return work.tensor_parallel != 1 or work.offload or work.gpu_layers is not None or work.n_cpu_moe > 0


def memory_trials(trials: Sequence[TrialResult]) -> tuple[tuple[MemoryTrial, ...], Counter[str]]:
    """What each trial's process held beside its tensors, and how many don't say it."""
    found: list[MemoryTrial] = []
    left_out: Counter[str] = Counter()
    for trial in trials:
        predicted, measured = trial.predicted, trial.measured
        if not (measured.keys() >= NEEDED_MEASURED and predicted.keys() >= NEEDED_PREDICTED):
            left_out["without a peak of the process"] += 1
            continue
        copies = predicted["process_peak_bytes"] - predicted["allocated_peak_bytes"] - predicted["runtime"]
        allocated = measured["allocated_peak_bytes"] + copies
        runtime = measured["process_peak_bytes"] - allocated
        beside = measured["allocated_peak_bytes"] - measured["weights"]
        if not 0 < runtime < MOST_BYTES or not 0 <= beside < MOST_BYTES or allocated <= 0:
            left_out["with a process smaller than its tensors"] += 1
            continue
        weight = CUT_WEIGHT if trial.workload.layers else 1.0
        found.append(
            MemoryTrial(
                id=trial.id,
                model=_subject(trial),
                allocated_bytes=allocated,
                beside_bytes=beside,
                runtime_bytes=runtime,
                weight=weight,
            )
        )
    return tuple(found), left_out


def rate_trials(
    trials: Sequence[TrialResult], catalog_date: str, since: str
) -> tuple[dict[tuple[str, str, str], tuple[RateTrial, ...]], Counter[str]]:
    """Rates by layout, type of the cache, and the basis that they were predicted on. `since` is when this machine's rates were measured."""
    found: dict[tuple[str, str, str], list[RateTrial]] = {}
    left_out: Counter[str] = Counter()
    for trial in trials:
        work, said = trial.workload, predicted_speed(trial)
        if said is None or not work.layout:
            left_out["without a predicted speed"] += 1
            continue
        basis = said.basis if said.calibration is None else said.calibration.without
        current = (trial.fmkit, trial.catalog) == (__version__, catalog_date)
        if work.layers:
            left_out["of models cut short"] += 1
        elif not current or (basis == "measured-here" and trial.date < since):
            left_out["predicted from older figures"] += 1
        elif trial.machine.was_busy:
            left_out[f"timed while others used more than {BUSY_SHARE:.0%} of the processors"] += 1
        else:
            rates = list(_rates(trial, said))
            left_out["with repeats far apart"] += not rates
            found.setdefault((work.layout, work.cache_dtype, basis), []).extend(rates)
    return {key: tuple(rates) for key, rates in found.items()}, left_out


def predicted_speed(trial: TrialResult) -> SpeedEstimate | None:
    """The speed that was predicted for a trial; None where none was, or it can't be read."""
    try:
        return msgspec.convert(trial.speed.predicted, SpeedEstimate) if trial.speed.predicted else None
    except msgspec.ValidationError:
        return None


def _rates(trial: TrialResult, said: SpeedEstimate) -> Iterator[RateTrial]:
    """What a trial measured of decoding and reading, and what had been predicted without correction."""
    factors = said.calibration
    decode = 1.0 if factors is None else factors.decode_factor or 1.0
    prefill = 1.0 if factors is None else factors.prefill_factor or 1.0
    for decoding, rate, sample, factor in (
        (True, said.decode_tokens_per_s, trial.speed.decode_tokens_per_s, decode),
        (False, said.ttft_s, trial.speed.ttft_s, prefill),
    ):
        if rate is None or sample is None or not _is_steady(sample) or rate.median <= 0 or factor <= 0:
            continue
        predicted = (rate.median if decoding else 1 / rate.median) / factor
        measured = sample.mean if decoding else 1 / sample.mean
        if not 1 / MOST_OFF < measured / predicted < MOST_OFF:
            continue
        yield RateTrial(
            id=trial.id,
            model=_subject(trial),
            decoding=decoding,
            measured_per_s=measured,
            predicted_per_s=predicted,
        )


def _subject(trial: TrialResult) -> str:
    """What was tried, however it was named: a model called by its catalog id and by its Hub id is one."""
    return trial.hub_id or trial.model


def _is_steady(sample: Sample) -> bool:
    return sample.mean > 0 and 0 <= sample.sd <= FAR_APART * sample.mean


def listed(left_out: Counter[str]) -> str:
    """The reasons in words.

    >>> listed(Counter({"of other machines": 2, "of models cut short": 0}))
    'left out: 2 of other machines'
    """
    parts = [f"{count} {reason}" for reason, count in left_out.items() if count]
    return f"left out: {', '.join(parts)}" if parts else ""
