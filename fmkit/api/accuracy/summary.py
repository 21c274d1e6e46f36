"""Comparisons -> the tables of `fmkit accuracy`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from fmkit.api.accuracy.comparison import QUANTITIES
from fmkit.results.accuracy import AccuracyGroup, FitRule

if TYPE_CHECKING:
    from fmkit.api.accuracy.comparison import Comparison
    from fmkit.results.accuracy import LeftOut

NEAR = 0.3
"""The share of the measurement within which a prediction counts as near."""

Key = tuple[str, str | None, str | None, str | None]
"""Quantity, engine, release and device; None where they are not told apart."""


def groups_by(
    comparisons: Sequence[Comparison],
    left_out: Sequence[LeftOut],
    *,
    engine: bool = False,
    version: bool = False,
    device: bool = False,
) -> tuple[AccuracyGroup, ...]:
    """One group per quantity, and per engine, release and device where asked, in the order of the quantities."""
    scored: dict[Key, list[Comparison]] = defaultdict(list)
    for found in comparisons:
        release = found.engine_version if version else None
        scored[_key(found, release, engine=engine, device=device)].append(found)
    missing = Counter(_key(item, None, engine=engine, device=device) for item in left_out if item.quantity)
    return tuple(_group(key, scored[key], missing[key]) for key in sorted({*scored, *missing}, key=_order))


def _key(item: Comparison | LeftOut, release: str | None, *, engine: bool, device: bool) -> Key:
    return item.quantity, item.engine if engine else None, release, item.device if device else None


def _order(key: Key) -> tuple[object, ...]:
    quantity, *rest = key
    place = QUANTITIES.index(quantity) if quantity in QUANTITIES else len(QUANTITIES)
    return (place, *(name or "" for name in rest))


def _group(key: Key, found: Sequence[Comparison], left_out: int) -> AccuracyGroup:
    quantity, engine, version, device = key
    errors = sorted(abs(each.error) for each in found)
    graded = bool(errors) and quantity != "oom"
    return AccuracyGroup(
        quantity=quantity,
        engine=engine,
        engine_version=version,
        device=device,
        rows=len(found),
        left_out=left_out,
        median_error=median(errors) if graded else None,
        p90_error=percentile(errors, 0.9) if graded else None,
        bias=median(each.error for each in found) if graded else None,
        within_30_percent=share(found, lambda each: abs(each.error) <= NEAR),
        interval_coverage=share(found, lambda each: each.covered),
    )


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The value that `fraction` of the sorted values do not exceed.

    >>> percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.9)
    9
    """
    return ordered[max(0, -(-int(fraction * 1000) * len(ordered) // 1000) - 1)]


def share(found: Sequence[Comparison], holds: Callable[[Comparison], bool]) -> float | None:
    """The share of the comparisons that it holds for; None where there are none."""
    return sum(map(holds, found)) / len(found) if found else None


def fit_rules(comparisons: Sequence[Comparison]) -> tuple[FitRule, ...]:
    """The verdict of fmkit beside two that need no sizing, over all engines and for each."""
    found = [each for each in comparisons if each.quantity == "oom"]
    if not found:
        return ()
    rules: tuple[tuple[str, Callable[[Comparison], float]], ...] = (
        ("fmkit", lambda each: each.predicted),
        ("always ok", lambda _: 0.0),
        ("weights only", lambda each: float(bool(each.weights_alone_too_large))),
    )
    engines = sorted({each.engine for each in found})
    return tuple(
        _rule(name, engine, [each for each in found if engine in (None, each.engine)], verdict)
        for engine in (None, *engines)
        for name, verdict in rules
    )


def _rule(
    name: str, engine: str | None, found: Sequence[Comparison], verdict: Callable[[Comparison], float]
) -> FitRule:
    failed = [each for each in found if each.measured]
    fine = [each for each in found if not each.measured]
    return FitRule(
        rule=name,
        engine=engine,
        oom_rows=len(failed),
        ok_rows=len(fine),
        recall_oom=share(failed, lambda each: verdict(each) == 1),
        recall_ok=share(fine, lambda each: verdict(each) == 0),
    )
