"""Twenty facts of different kinds, drawn from the catalog's files, are each traced to their source by `catalog show --sources`."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
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
    """A fact as it stands in a file: whose it is, what kind, the value, and the source written beside it."""

    model: str
    kind: str
    value: str
    source: str


def _of_families(sources: Sources, kind: str) -> Iterator[Fact]:
    """Facts of a family's file: an entry goes before its family, in what it says and in where that was read."""
    for family in sources.families.values():
        for model, entry in family.models.items():
            value = getattr(entry, kind)
            stated = getattr(family, kind, None) if value is None else value
            source = {**family.sources, **entry.sources}.get(kind)
            if stated and source is not None:
                yield Fact(model, kind, ", ".join(stated) if isinstance(stated, tuple) else str(stated), source)


def _prices(sources: Sources) -> Iterator[Fact]:
    for api in sources.apis.values():
        for model, entry in api.models.items():
            if "prices" in entry.sources and entry.output_usd_per_1m is not None:
                yield Fact(model, "prices", f"output usd per 1m {entry.output_usd_per_1m}", entry.sources["prices"])


def _scores(sources: Sources) -> Iterator[Fact]:
    for benchmark, rows in sources.scores.items():
        for _, row in rows:
            variant = f" ({row.variant})" if row.variant else ""
            yield Fact(row.model, "score", f"{benchmark}{variant}: {row.score:g} {row.unit}", row.source)


def _configs(sources: Sources) -> Iterator[Fact]:
    """What is read from a config.json (parameters, layers) has the source of that file."""
    for family in sources.families.values():
        for model, entry in family.models.items():
            if entry.config is not None:
                yield Fact(model, "config", entry.config, sources.configs[entry.config].source)


def _terms(sources: Sources) -> Iterator[Fact]:
    """What the licence allows, with the source of the licence's own record."""
    for family in sources.families.values():
        for model, entry in family.models.items():
            licence = entry.licence or family.licence
            yield Fact(model, "terms", licence, sources.licences.licences[licence].source)


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
def test_a_sampled_fact_is_shown_beside_its_source(
    place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fact = sampled()[place]
    monkeypatch.setenv("COLUMNS", "2000")
    assert main(["catalog", "show", fact.model, "--sources"]) == ExitCode.OK
    lines = [_plain(line) for line in capsys.readouterr().out.splitlines()]
    places = [*lines, *map(" ".join, pairwise(lines))]  # a score has its source on the line below
    value, source = _plain(fact.value), _plain(fact.source)
    assert [place for place in places if source in place and value in place.replace(source, "")], fact


def _plain(text: str) -> str:
    """Single spaces, and numbers without commas between their digits."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", " ".join(text.split()))
