"""`fmkit catalog check`: every rule of fmkit/catalog/checks over the files, read afresh; the tests and the build of a wheel use it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.checks import (
    contexts,
    devices,
    estimates,
    fits,
    languages,
    licences,
    measurements,
    models,
    prices,
    published,
    publishers,
    ranges,
    references,
    scores,
    sourced,
    tasks,
    tunings,
    twins,
    units,
)
from fmkit.catalog.checks.facts import Facts
from fmkit.catalog.checks.follow_ups import without_follow_ups
from fmkit.catalog.compile import read_spec
from fmkit.catalog.faults import Fault
from fmkit.catalog.lines import with_lines
from fmkit.catalog.links import Links, link
from fmkit.catalog.sources import Sources, read_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from fmkit.model.spec import ModelSpec

    Rule = Callable[[Facts], Iterable[Fault]]

_THEMES = (
    references,
    sourced,
    ranges,
    twins,
    licences,
    models,
    contexts,
    devices,
    prices,
    scores,
    tasks,
    tunings,
    units,
    fits,
    languages,
    measurements,
)


def check(folder: Path) -> list[Fault]:
    """The faults of the catalog in `folder`, sorted; empty when it is fit to ship. Those that follow from another are counted at it."""
    sources = read_sources(folder)
    return with_lines(without_follow_ups(all_faults(sources), sources, link(sources)), sources)


def all_faults(sources: Sources, *, compared: bool = True) -> list[Fault]:
    """Every fault of sources that were read, follow-ups included, without the lines of YAML files.

    `compared` False leaves out the rules that hold entries against what others published.
    """
    links = link(sources)
    specs, unread = _specs(sources, links)
    facts = Facts(sources, links, specs)
    faults = [*sources.faults, *links.faults, *unread]
    for rule in _rules(compared=compared, shipped=sources.own is None):
        faults += rule(facts)
    return faults


def _rules(*, compared: bool, shipped: bool) -> Iterator[Rule]:
    """All rules; a user's own publishers need not be spelt as ours are."""
    for theme in _THEMES:
        yield from theme.RULES
    if compared:
        yield from (*published.RULES, *estimates.RULES, *prices.AGAINST_OTHERS)
    if shipped:
        yield from publishers.RULES


def _specs(sources: Sources, links: Links) -> tuple[dict[str, ModelSpec], list[Fault]]:
    """The architectures of the configurations that models use, by file, and what could not be read."""
    specs: dict[str, ModelSpec] = {}
    faults: list[Fault] = []
    for file in sorted({links.config_file(model_id) or "" for model_id in links.open_models}):
        if file not in sources.configs or not sources.path(f"configs/{file}").is_file():
            continue
        spec, fault = read_spec(sources, file)
        if spec is None:
            faults.append(Fault(f"configs/{file}", "$", f"not understood: {fault}"))
        else:
            specs[file] = spec
    return specs, faults
