"""The plan of a trial in words, before anything is loaded: what it needs, what there is, and what is to be downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.trial.supervision import DEADLINE_S
from fmkit.units import format_bytes, format_seconds, format_tokens

if TYPE_CHECKING:
    from fmkit.api.trial_options import TrialOptions
    from fmkit.api.trial_plan import Plan
    from fmkit.results.vram import Estimate

PREDICTIONS = 10
"""So many times the predicted time to the first token: memory is counted in a slower pass, and times are taken repeatedly."""

ASSUMED_BYTES_PER_S = 12_500_000
"""100 Mbit/s: stated with every time that rests on it, and replaced by the measured rate once there is one."""


def plan_lines(plan: Plan, options: TrialOptions) -> list[str]:
    """One line for each workload (the first three, and how many more), and one for the weights where they are not downloaded."""
    shown = list(zip(plan.workloads, plan.estimates, strict=True))[:3]
    reasons = [f" ({plan.machine.reserve_reason})" if plan.machine.reserve_reason else "", "", ""]  # told once
    who = "" if plan.ranks is None else f"on each of {plan.ranks.count} ranks "
    lines = [
        f"plan: {plan.resolved.ref} at {plan.precision}, {work.sequences} x {format_tokens(work.context_tokens)} tokens: "
        f"weights {format_bytes(one.weights_bytes)}, cache {format_bytes(one.cache_bytes)}, {who}{peak_words(one, plan)} "
        f"of {format_bytes(plan.machine.usable_bytes)}{reason}"
        for (work, one), reason in zip(shown, reasons, strict=False)
    ]
    more = len(plan.workloads) - len(shown)
    if more:
        lines.append(f"plan: {more} more workloads with the same weights")
    if options.random_weights:
        lines.append("plan: random weights, nothing is downloaded")
    return lines


def peak_words(estimate: Estimate, plan: Plan) -> str:
    """The most that the process is expected to hold, with the range that measured errors give it; of one rank where there are several."""
    ranks = 1 if plan.ranks is None else plan.ranks.count
    low, high = estimate.low_bytes // ranks, estimate.high_bytes // ranks
    return f"about {format_bytes(estimate.per_device_bytes)} ({format_bytes(low)} to {format_bytes(high)})"


def patience_s(plan: Plan, options: TrialOptions) -> float | None:
    """Seconds that one phase may take: what the user says, else ten times the slowest prompt predicted where that is over an hour.

    None leaves it to the trial (an hour for what grows with the model).
    """
    if options.timeout_s is not None:
        return options.timeout_s
    speeds = [one.speed for one in plan.estimates if one.speed is not None]
    slowest = [speed.ttft_s.high for speed in speeds if speed.ttft_s is not None]
    longest_s = PREDICTIONS * max(slowest, default=0.0)
    return longest_s if longest_s > DEADLINE_S else None


def download_time(missing_bytes: int) -> str:
    """How long a download takes, roughly.

    >>> download_time(4_500_000_000)
    'about 6 min 0 s at 100 Mbit/s (assumed; measured after 5 s)'
    """
    return f"about {format_seconds(missing_bytes / ASSUMED_BYTES_PER_S)} at {ASSUMED_BYTES_PER_S * 8 // 10**6} Mbit/s (assumed; measured after 5 s)"
