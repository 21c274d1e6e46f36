"""Derived data against what it was derived from: the fitted models of speed and capability, and differences of measured losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.capability import constants_digest, scores_digest
from fmkit.catalog.checks.publishers import stated
from fmkit.catalog.faults import Fault
from fmkit.catalog.speed import measurements_digest
from fmkit.selection.capability import NO_FIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts

_ROUNDING = 1e-6
_FIT_AGAIN = "fit anew: python -m benchmarks.fit_capability"


def speed(facts: Facts) -> Iterator[Fault]:
    """The speed model must be fitted to the measurements that are there."""
    fitted_to = facts.sources.speed.measurements
    if fitted_to and fitted_to != measurements_digest(facts.sources.folder):
        message = "the measurements have changed since the fit: python -m benchmarks.fit_speed"
        yield Fault("speed/fit.yaml", "$.measurements", message)


def capability(facts: Facts) -> Iterator[Fault]:
    """The capability model must be fitted to the scores that are there, and be what the script wrote.

    A user's own scores are read by the shipped fit as they are.
    """
    sources, fit = facts.sources, facts.sources.capability
    for name in sorted({item.benchmark for item in fit.items} - set(sources.scores)):
        yield Fault("capability/items.csv", "$", f"no scores of {name!r}; {_FIT_AGAIN}", names=name)
    if fit is NO_FIT or sources.own_folder is not None:
        return
    if any(fault.file.startswith("scores/") for fault in sources.faults):
        return  # rows that could not be read are missing: that is the fault
    if fit.scores_digest != scores_digest(sources.scores):
        yield Fault("capability/fit.yaml", "$.scores_digest", f"the scores have changed since the fit; {_FIT_AGAIN}")
    if not as_written(facts):
        message = f"the constants beside it are not those that the script wrote; {_FIT_AGAIN}"
        yield Fault("capability/fit.yaml", "$.constants_digest", message)


def publishers(facts: Facts) -> Iterator[Fault]:
    """Widths of intervals must be of publishers that the catalog has, under the names that they have now."""
    sources = facts.sources
    if sources.own_folder is not None or any(fault.file.startswith(("families/", "api/")) for fault in sources.faults):
        return  # a file that could not be read has publishers too
    known = {publisher for publisher, _, _ in stated(facts)}
    for name in sorted({name for widths in sources.capability.widths.values() for name in widths.publishers} - known):
        yield Fault("capability/widths.csv", "$", f"no publisher {name!r}; {_FIT_AGAIN}")


def as_written(facts: Facts) -> bool:
    """Whether the constants of the capability model are those that were fitted."""
    return facts.sources.capability.constants_digest == constants_digest(facts.sources.folder)


def losses(facts: Facts) -> Iterator[Fault]:
    """A loss of quality is the quantised score less that at 16 bit."""
    for line, loss in facts.sources.quality_losses:
        if loss.at_16_bit is None or loss.quantised is None:
            continue
        if abs(loss.quantised - loss.at_16_bit - loss.difference) > _ROUNDING:
            message = f"{loss.difference:g} is not {loss.quantised:g} (quantised) less {loss.at_16_bit:g} (16 bit)"
            yield Fault("quality/loss.csv", f"line {line}, difference", message)


RULES = (speed, capability, publishers, losses)
