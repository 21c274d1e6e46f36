"""`fmkit catalog check`: every rule of fmkit/catalog/checks over the files, read afresh; the tests and the build of a wheel use it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.checks import (
    contexts,
    devices,
    estimates,
    fits,
    licences,
    measurements,
    models,
    prices,
    published,
    ranges,
    references,
    scores,
    sourced,
    tasks,
    twins,
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
    fits,
    measurements,
)


def check(folder: Path) -> list[Fault]:
    """The faults of the catalog in `folder`, sorted; empty when it is fit to ship. Those that follow from another are counted at it."""
    sources = read_sources(folder)
    return with_lines(without_follow_ups(all_faults(sources), sources, link(sources)), sources)


def all_faults(sources: Sources) -> list[Fault]:
    """Every fault of sources that were read, follow-ups included, without the lines of YAML files."""
    links = link(sources)
    specs, unread = _specs(sources, links)
    facts = Facts(sources, links, specs)
    faults = [*sources.faults, *links.faults, *unread]
    for rule in _rules(shipped=sources.own_folder is None):
        faults += rule(facts)
    return faults


def _rules(*, shipped: bool) -> Iterator[Rule]:
    """All rules; a user's own licences, scores and prices need not be what others published."""
    for theme in _THEMES:
        yield from theme.RULES
    if shipped:
        yield from (*published.RULES, *estimates.RULES, *prices.AGAINST_OTHERS)


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
