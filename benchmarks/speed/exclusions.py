"""What is not fitted to and not scored, by rules that were fixed before the first fit. Each says what is wrong with the measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.speed.cases import Case
from fmkit.api.accuracy.latency import unstated_limit
from fmkit.speed.kernels import matrix_rate

LEAST_ROOFLINE = 0.95
"""A step can't be shorter than this share of reading the weights at nominal bandwidth; experts of a mixture may repeat."""
SLOW_16_BIT = 0.6
"""16-bit prompts below this share of the same card's 4-bit ones: the library fell back to a slow kernel."""


def split(cases: Sequence[Case]) -> tuple[list[Case], Counter[tuple[str, str]]]:
    """The cases to use, and how many are left out by kind and reason."""
    four_bit = {_prompt_of(case): case.answer / case.seconds for case in cases if case.setting.kernel == "q4"}
    kept: list[Case] = []
    left_out: Counter[tuple[str, str]] = Counter()
    for case in cases:
        why = _reason(case, four_bit.get(_prompt_of(case)))
        if why is None:
            kept.append(case)
        else:
            left_out[case.rate, why] += 1
    return kept, left_out


def _prompt_of(case: Case) -> tuple[object, ...]:
    return (
        case.spec.architecture,
        case.spec.params,
        case.setting.engine,
        case.device.id,
        case.setting.stages,
        case.prompt_tokens,
        case.rate,
    )


def _reason(case: Case, four_bit_per_s: float | None) -> str | None:
    why = unstated_limit(case.row, case.setting.engine, mixture=case.setting.mixture)
    return why or next((why for why, applies in RULES.items() if applies(case, four_bit_per_s)), None)


def _no_matrix_rate(case: Case, _: float | None) -> bool:
    return case.rate == "prefill" and not matrix_rate(case.device, case.setting.kernel, case.setting.engine)


def _too_fast(case: Case, _: float | None) -> bool:
    if case.rate != "decode" or case.setting.mixture or case.step is None:
        return False
    bandwidth = float(case.device.bandwidth_bytes_per_s or 0) * case.setting.ranks
    return case.seconds < LEAST_ROOFLINE * case.step.weight_bytes / bandwidth


def _slow_16_bit(case: Case, four_bit_per_s: float | None) -> bool:
    if case.rate != "prefill" or case.setting.kernel != "16" or four_bit_per_s is None:
        return False
    return case.answer / case.seconds < SLOW_16_BIT * four_bit_per_s


RULES: dict[str, Callable[[Case, float | None], bool]] = {
    "the catalog has no matrix rate of the device": _no_matrix_rate,
    "faster than reading the weights once: not what the row says it is": _too_fast,
    "16-bit prompts far slower than 4-bit ones on the same card (trap 5)": _slow_16_bit,
}
"""Reason, and when it applies, given what the same card reached with 4-bit weights; beside those that `fmkit accuracy` has too."""
