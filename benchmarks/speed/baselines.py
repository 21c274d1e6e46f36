"""What simpler rules would have said of the same rows: a plain line per engine, and the published formulas of three tools.

The formulas are facts that the tools document or show in their source (snapshots of 2026-06 to 2026-08); none of their code is here.
They estimate tokens per second of one sequence and know nothing of prompts, batches or several cards, so that only decoding at batch 1
on one device is compared. llmfit: 0.55 of bandwidth / (active parameters x nominal bytes). whichllm: by width (16 bit 0.40, 8 bit 0.45,
4 bit 0.55) and vendor (AMD 0.78, Apple 0.82, Intel 0.65), a mixture reading at least 5 % of its weights at 256 GB/s, up to 25 %.
canirun: 0.70 of bandwidth / size, 0.65 on Apple.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.speed.cases import Case
from benchmarks.speed.fitting import Floats

NOMINAL_BYTES = {
    "32": 4.0,
    "16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8": 1.0625,
    "int4": 0.5,
    "bnb8": 1.0,
    "bnb4": 0.5,
    "q4": 0.6,
    "mxfp4": 0.55,
    "nvfp4": 0.5,
}
"""Bytes per parameter as such tools count them, whatever stays in 16 bit."""


WHICHLLM_WIDTHS = {"32": 0.30, "16": 0.40, "q8": 0.45, "int8": 0.45, "fp8": 0.45}
WHICHLLM_VENDORS = {"nvidia": 1.0, "amd": 0.78, "apple": 0.82, "intel": 0.65}


def comparable(case: Case) -> bool:
    """Decoding of one sequence on one device."""
    return case.rate == "decode" and case.sequences == 1 and case.setting.ranks == case.setting.stages == 1


def size_bytes(case: Case) -> float:
    """Active parameters times nominal bytes."""
    return case.spec.active_params * NOMINAL_BYTES[case.setting.kernel]


def llmfit(case: Case) -> float:
    """Tokens per second by llmfit's formula for a known card."""
    return float(case.device.bandwidth_bytes_per_s or 0) / size_bytes(case) * 0.55


def whichllm(case: Case) -> float:
    """Tokens per second by whichllm's formula for a card."""
    bandwidth = float(case.device.bandwidth_bytes_per_s or 0)
    width = WHICHLLM_WIDTHS.get(case.setting.kernel, 0.55)
    floor = min(0.25, 0.05 * max(1.0, bandwidth / 256e9)) if case.setting.mixture else 0.0
    share = max(case.spec.active_params / case.spec.params, floor)
    read = case.spec.params * share * NOMINAL_BYTES[case.setting.kernel]
    return bandwidth / read * width * WHICHLLM_VENDORS.get(case.device.vendor, 0.7)


def canirun(case: Case) -> float:
    """Tokens per second by canirun's formula."""
    share = 0.65 if case.device.vendor == "apple" else 0.70
    return float(case.device.bandwidth_bytes_per_s or 0) / size_bytes(case) * share


FORMULAS: dict[str, Callable[[Case], float]] = {"llmfit": llmfit, "whichllm": whichllm, "canirun": canirun}


def plain_line(cases: Sequence[Case], used: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    """Seconds a step by c0 + bytes / (e * bandwidth), one c0 and e per engine, fitted on the used cases for the least relative error."""
    engines = sorted({case.setting.engine for case in cases})
    seconds = np.array([case.seconds for case in cases])
    ideal = np.array(
        [
            (case.step.weight_bytes + case.step.cache_bytes) / float(case.device.bandwidth_bytes_per_s or 1)
            if case.step is not None
            else 0.0
            for case in cases
        ]
    )
    predicted = np.zeros(len(cases))
    for engine in engines:
        own = np.array([case.setting.engine == engine for case in cases])
        learnt = own & used if (own & used).sum() >= 3 else used
        rows = np.stack([np.ones(learnt.sum()), ideal[learnt]], axis=1) / seconds[learnt][:, None]
        fixed, slope = np.linalg.lstsq(rows, np.ones(learnt.sum()), rcond=None)[0]
        predicted[own] = np.maximum(fixed + slope * ideal[own], 1e-6)
    return predicted
