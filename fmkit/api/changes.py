"""`fmkit catalog changes`: what of the catalog is dated since a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.asked import text
from fmkit.api.catalog import is_since
from fmkit.catalog.load import load_catalog
from fmkit.results.changes import ChangesResult, Priced, Released, Scored, Undated
from fmkit.selection.asking import date_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmkit.selection.facts import Candidate, Score


def changes(*, since: str) -> ChangesResult:
    """Models released, prices looked up, scores and licences published since a year, month or day; the newest first.

    Dates are those of the facts, as far as they are known: a month counts as since any day of it.
    """
    date_text(text(since, "--since"), "--since")
    catalog = load_catalog()
    candidates, licences = catalog.candidates(), catalog.licences.values()
    return ChangesResult(
        fmkit=__version__,
        catalog=catalog.date,
        age=catalog.age,
        since=since,
        released=tuple(sorted(_released(candidates, since), key=lambda row: row.released, reverse=True)),
        priced=tuple(sorted(_priced(candidates, since), key=lambda row: row.price_date, reverse=True)),
        scored=tuple(_scored(candidates, since)),
        licences=tuple(one.id for one in licences if is_since(one.source_date, since)),
        cloud_prices=sum(is_since(price.source_date, since) for price in catalog.cloud_prices),
        undated=Undated(
            models=sum(one.released is None for one in candidates),
            licences=sum(one.source_date is None for one in licences),
        ),
    )


def _released(candidates: Iterable[Candidate], since: str) -> Iterator[Released]:
    for one in candidates:
        if one.released is not None and is_since(one.released, since):
            yield Released(id=one.id, released=one.released, family=one.family, kind=one.spec_kind)


def _priced(candidates: Iterable[Candidate], since: str) -> Iterator[Priced]:
    for one in candidates:
        terms = one.api
        if terms is None or terms.price_date is None or not is_since(terms.price_date, since):
            continue
        yield Priced(
            id=one.id,
            price_date=terms.price_date,
            input_usd_per_1m=terms.input_usd_per_1m,
            output_usd_per_1m=terms.output_usd_per_1m,
        )


def _scored(candidates: Iterable[Candidate], since: str) -> Iterator[Scored]:
    found: dict[str, list[tuple[str, Score]]] = {}
    for one in candidates:
        for score in one.scores:
            if is_since(score.source_date, since):
                found.setdefault(score.benchmark, []).append((one.id, score))
    for benchmark, rows in sorted(found.items()):
        yield Scored(
            benchmark=benchmark,
            scores=len(rows),
            latest=max(score.source_date for _, score in rows),
            models=tuple(dict.fromkeys(model for model, _ in rows)),
        )
