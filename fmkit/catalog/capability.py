"""The fitted capability model: capability/items.csv, priors.csv, offsets.csv, widths.csv and fit.yaml, written by benchmarks/fit_capability.py."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.catalog.csv_file import read_csv
from fmkit.catalog.faults import Fault
from fmkit.catalog.yaml_file import read_yaml
from fmkit.selection.capability import NO_FIT, Basis, CapabilityFit, Item, Prior, VendorOffset, Widths, widths_key
from fmkit.selection.score_items import Area

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fmkit.catalog.schema import ScoreRow


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line with a figure for each factor; areas with fewer factors leave the last empty."""

    factor_1: float
    factor_2: float | None = None
    factor_3: float | None = None

    @property
    def factors(self) -> tuple[float, ...]:
        """The figures that are given."""
        return tuple(x for x in (self.factor_1, self.factor_2, self.factor_3) if x is not None)


class ItemRow(_Row, frozen=True, kw_only=True):
    """One line of capability/items.csv."""

    area: Area
    benchmark: str
    variant: str = ""
    mean: float
    sd: float
    scores: int


class PriorRow(_Row, frozen=True, kw_only=True):
    """One line of capability/priors.csv: the coefficients of a covariate, or a row of a covariance."""

    area: Area
    what: Literal["covariate", "family", "own"]
    name: str
    centre: float | None = None
    sd: float | None = None


class OffsetRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of capability/offsets.csv; the line without a benchmark is for all others."""

    benchmark: str = ""
    offset: float
    sd: float
    pairs: int


class WidthRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of capability/widths.csv: what intervals of an area on a basis are multiplied by, from `held_out` predicted scores.

    `of` says which: every one, those of the item `name`, or those of models of the publisher `name`. They multiply each other.
    """

    area: Area
    basis: Basis
    of: Literal["every", "item", "publisher"]
    name: str = ""
    width: float
    held_out: int


class CapabilityFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capability/fit.yaml: when the constants were fitted, and to how many scores of how many models.

    `scores_digest` is of the scores that it was fitted to, `constants_digest` of the files that were written with it; a fit of
    before there were any has none.
    """

    date: str
    scores: int
    models: int
    script: str
    source: str
    scores_digest: str = ""
    constants_digest: str = ""


def read_capability(folder: Path, faults: list[Fault]) -> CapabilityFit:
    """The fit in `folder`/capability; NO_FIT where there is none."""
    place = folder / "capability"
    if not (place / "fit.yaml").is_file():
        return NO_FIT
    head = read_yaml(place / "fit.yaml", "capability/fit.yaml", CapabilityFile, faults)
    items = read_csv(place / "items.csv", "capability/items.csv", ItemRow, faults)
    priors = read_csv(place / "priors.csv", "capability/priors.csv", PriorRow, faults)
    offsets = read_csv(place / "offsets.csv", "capability/offsets.csv", OffsetRow, faults)
    widths = read_csv(place / "widths.csv", "capability/widths.csv", WidthRow, faults)
    if head is None:
        return NO_FIT
    return CapabilityFit(
        date=head.date,
        scores=head.scores,
        models=head.models,
        scores_digest=head.scores_digest,
        constants_digest=head.constants_digest,
        items=tuple(
            Item(
                area=row.area, benchmark=row.benchmark, variant=row.variant, mean=row.mean, sd=row.sd,
                scores=row.scores, loadings=row.factors,
            )
            for _, row in items
        ),
        priors={area: _prior([row for _, row in priors if row.area == area]) for area in {row.area for _, row in priors}},
        offsets={row.benchmark: VendorOffset(offset=row.offset, sd=row.sd, pairs=row.pairs) for _, row in offsets},
        widths=_widths([row for _, row in widths]),
    )  # fmt: skip


def _prior(rows: list[PriorRow]) -> Prior:
    said = [row for row in rows if row.what == "covariate"]
    return Prior(
        centres={row.name: row.centre or 0.0 for row in said},
        sds={row.name: row.sd or 0.0 for row in said},
        coefficients={row.name: row.factors for row in said},
        family_covariance=tuple(row.factors for row in rows if row.what == "family"),
        own_covariance=tuple(row.factors for row in rows if row.what == "own"),
    )


def _widths(rows: list[WidthRow]) -> dict[str, Widths]:
    found: dict[str, list[WidthRow]] = defaultdict(list)
    for row in rows:
        found[widths_key(row.area, row.basis)].append(row)
    return {
        key: Widths(
            every=next((row.width for row in of if row.of == "every"), 1.0),
            items={row.name: row.width for row in of if row.of == "item"},
            publishers={row.name: row.width for row in of if row.of == "publisher"},
        )
        for key, of in found.items()
    }


CONSTANTS = ("items.csv", "priors.csv", "offsets.csv", "widths.csv")
_DIGITS = 16


def scores_digest(scores: Mapping[str, Iterable[tuple[int, ScoreRow]]]) -> str:
    """A digest of what the capability model is fitted to: another one means that the fit is out of step.

    Sources, dates and notes of scores, and the order of lines, do not count.
    """
    rows = sorted(
        f"{benchmark}\0{row.model}\0{row.variant}\0{row.score:g}\0{row.unit}\0{row.reported_by}\n"
        for benchmark, lines in scores.items()
        for _, row in lines
    )
    return hashlib.sha256("".join(rows).encode()).hexdigest()[:_DIGITS]


def constants_digest(folder: Path) -> str:
    """A digest of the constants in `folder`/capability, as the script wrote them."""
    digest = hashlib.sha256()
    for name in CONSTANTS:
        path = folder / "capability" / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:_DIGITS]
