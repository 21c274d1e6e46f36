"""Twenty facts of different kinds, drawn from the catalog's files, are each traced to their source by `catalog show --sources`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest

from fmkit.catalog.paths import source_folder
from fmkit.catalog.sources import Sources, read_sources
from fmkit.cli.main import main
from fmkit.errors import ExitCode

SAMPLED = 20
SEED = 20261128
OPEN_KINDS = ("licence", "released", "training_tokens", "context_tokens", "languages", "tasks", "quantised")


class Fact(NamedTuple):
    """A fact as it stands in a file: whose it is, what kind, and the source written beside it."""

    model: str
    kind: str
    source: str


def _of_families(sources: Sources, kind: str) -> Iterator[Fact]:
    """Facts of a family's file: an entry goes before its family, in what it says and in where that was read."""
    for family in sources.families.values():
        for model, entry in family.models.items():
            value = getattr(entry, kind)
            stated = getattr(family, kind, None) if value is None else value
            source = {**family.sources, **entry.sources}.get(kind)
            if stated and source is not None:
                yield Fact(model, kind, source)


def _prices(sources: Sources) -> Iterator[Fact]:
    for api in sources.apis.values():
        for model, entry in api.models.items():
            if "prices" in entry.sources:
                yield Fact(model, "prices", entry.sources["prices"])


def _scores(sources: Sources) -> Iterator[Fact]:
    for rows in sources.scores.values():
        yield from (Fact(row.model, "score", row.source) for _, row in rows)


def _configs(sources: Sources) -> Iterator[Fact]:
    """What is read from a config.json (parameters, layers) has the source of that file."""
    for family in sources.families.values():
        for model, entry in family.models.items():
            if entry.config is not None:
                yield Fact(model, "config", sources.configs[entry.config].source)


def _terms(sources: Sources) -> Iterator[Fact]:
    """What the licence allows, with the source of the licence's own record."""
    for family in sources.families.values():
        for model, entry in family.models.items():
            yield Fact(model, "terms", sources.licences.licences[entry.licence or family.licence].source)


@cache
def sampled() -> tuple[Fact, ...]:
    """Facts of every kind by turns, each kind in an order drawn with a fixed seed."""
    sources = read_sources(source_folder())
    pools = [list(kind(sources)) for kind in (_scores, _configs, _terms, _prices)]
    pools += [list(_of_families(sources, kind)) for kind in OPEN_KINDS]
    draw = random.Random(SEED)
    for pool in pools:
        draw.shuffle(pool)
    return tuple([pool[turn] for turn in range(2) for pool in pools if len(pool) > turn][:SAMPLED])


def test_the_sample_is_of_many_kinds() -> None:
    assert len(set(sampled())) == SAMPLED
    assert len({fact.kind for fact in sampled()}) >= 10


@pytest.mark.parametrize("place", range(SAMPLED))
def test_a_sampled_fact_is_shown_with_its_source(
    place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fact = sampled()[place]
    monkeypatch.setenv("COLUMNS", "2000")
    assert main(["catalog", "show", fact.model, "--sources"]) == ExitCode.OK
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(fact.source.split()) in shown, fact
