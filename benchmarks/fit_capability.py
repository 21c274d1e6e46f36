"""Fit the capability model to the catalog's scores and write catalog/capability/: python -m benchmarks.fit_capability [DATE].

A fit for each area, and held-out fits for the widths of intervals: about 20 s on one core. The same scores give the same files.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmarks.abilities.cells import table, vendor_offsets
from benchmarks.abilities.hiding import FACTORS, fit_of
from benchmarks.abilities.validation import SCHEMES, Held, held_out
from benchmarks.abilities.widths import learnt
from fmkit.catalog.capability import constants_digest, scores_digest
from fmkit.catalog.load import load_catalog
from fmkit.catalog.sources import read_sources
from fmkit.selection.capability import BASES, item_name, widths_key
from fmkit.selection.score_items import Area

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fmkit.selection.capability import CapabilityFit, VendorOffset

CATALOG = Path(__file__).resolve().parent.parent / "catalog"
FOLDER = CATALOG / "capability"
MOST_FACTORS = max(FACTORS.values())
_COLUMNS = [f"factor_{n}" for n in range(1, MOST_FACTORS + 1)]


def main(arguments: list[str]) -> None:
    date = arguments[0] if arguments else datetime.now(UTC).date().isoformat()
    candidates = load_catalog().candidates()
    offsets = vendor_offsets(candidates)
    fits: list[CapabilityFit] = []
    held: list[Held] = []
    for area in get_args(Area):
        cells = table(area, candidates, offsets)
        fits.append(fit_of(cells, cells.cells, offsets))
        for scheme in SCHEMES:
            held += held_out(cells, scheme)
    FOLDER.mkdir(exist_ok=True)
    write_items(fits)
    write_priors(fits)
    write_offsets(offsets)
    write_widths(held)
    write_head(date, fits)


def write_items(fits: Iterable[CapabilityFit]) -> None:
    rows = [
        (i.area, i.benchmark, i.variant, i.mean, i.sd, i.scores, *_padded(i.loadings))
        for fit in fits
        for i in fit.items
    ]
    _write("items.csv", ("area", "benchmark", "variant", "mean", "sd", "scores", *_COLUMNS), rows)


def write_priors(fits: Iterable[CapabilityFit]) -> None:
    """Coefficients, and the rows of both covariances."""
    rows: list[tuple[object, ...]] = []
    for fit in fits:
        for area, prior in fit.priors.items():
            rows += [
                (area, "covariate", name, prior.centres[name], prior.sds[name], *_padded(c))
                for name, c in prior.coefficients.items()
            ]
            rows += [
                (area, "family", n, "", "", *_padded(row)) for n, row in enumerate(prior.family_covariance, start=1)
            ]
            rows += [(area, "own", n, "", "", *_padded(row)) for n, row in enumerate(prior.own_covariance, start=1)]
    _write("priors.csv", ("area", "what", "name", "centre", "sd", *_COLUMNS), rows)


def write_offsets(offsets: dict[str, VendorOffset]) -> None:
    rows = [(name, found.offset, found.sd, found.pairs) for name, found in offsets.items()]
    _write("offsets.csv", ("benchmark", "offset", "sd", "pairs"), rows)


def write_widths(held: Sequence[Held]) -> None:
    _write("widths.csv", ("area", "basis", "of", "name", "width", "held_out"), _width_rows(held))


def _width_rows(held: Sequence[Held]) -> Iterator[tuple[object, ...]]:
    found = learnt(held)
    for area in get_args(Area):
        for basis in BASES:
            rows = [row for row in held if row.area == area and row.basis == basis]
            widths = found[widths_key(area, basis)]
            items, publishers = (
                Counter(item_name(*row.item) for row in rows),
                Counter(row.publisher for row in rows),
            )
            yield area, basis, "every", "", widths.every, len(rows)
            yield from ((area, basis, "item", name, width, items[name]) for name, width in widths.items.items())
            yield from (
                (area, basis, "publisher", name, width, publishers[name]) for name, width in widths.publishers.items()
            )


def write_head(date: str, fits: Sequence[CapabilityFit]) -> None:
    lines = [
        "# Written by python -m benchmarks.fit_capability; do not edit.",
        f'date: "{date}"',
        f"scores: {sum(fit.scores for fit in fits)}",
        f"models: {sum(fit.models for fit in fits)}",
        "script: benchmarks/fit_capability.py",
        "source: catalog/scores/, each score with its own source",
        f'scores_digest: "{scores_digest(read_sources(CATALOG).scores)}"',
        f'constants_digest: "{constants_digest(CATALOG)}"',
    ]
    (FOLDER / "fit.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _padded(row: Sequence[float]) -> tuple[float | str, ...]:
    return (*row, *[""] * (MOST_FACTORS - len(row)))


def _write(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
