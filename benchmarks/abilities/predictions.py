"""A score that was kept back, and what was predicted without it: held out alone (validation.py), or with its whole benchmark (unseen.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from fmkit.selection.logits import from_logit, logit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.abilities.cells import ItemKey


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One score in points of 100, and what was predicted of it; `centre` and `sd` are on the logit scale.

    `family_mean` and `log_parameters` are what the two peers say of it, in points.

    >>> one = Prediction(item=("mmlu", "5-shot"), actual=50.0, centre=1.0, sd=0.5, family_mean=60.0, log_parameters=55.0)
    >>> round(one.value, 1), one.z
    (73.1, -2.0)
    """

    item: ItemKey
    actual: float
    centre: float
    sd: float
    family_mean: float
    log_parameters: float

    @property
    def value(self) -> float:
        """The prediction in points."""
        return 100 * from_logit(self.centre)

    @property
    def z(self) -> float:
        """The error in predicted standard deviations."""
        return (logit(self.actual / 100) - self.centre) / self.sd


def errors(held: Sequence[Prediction], inside: Sequence[bool]) -> dict[str, Any]:
    """Median and 90th percentile of absolute errors in points, and the share of scores within their 80 % interval."""
    ours = [abs(row.value - row.actual) for row in held]
    family = [abs(row.family_mean - row.actual) for row in held]
    line = [abs(row.log_parameters - row.actual) for row in held]
    return {
        "scores": len(held),
        "median": _short(ours, 0.5), "p90": _short(ours, 0.9),
        "family_median": _short(family, 0.5), "family_p90": _short(family, 0.9),
        "log_parameters_median": _short(line, 0.5), "log_parameters_p90": _short(line, 0.9),
        "coverage": round(float(np.mean(inside)), 3),
    }  # fmt: skip


def _short(values: Sequence[float], share: float) -> float:
    return round(float(np.quantile(values, share)), 2)
