"""The catalog's scores as a table: models with covariates and groups of kin, items, cells on the logit scale."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from fmkit.selection.capability import VendorOffset
from fmkit.selection.covariates import Answering, Key, answering, covariates
from fmkit.selection.logits import full_marks, logit, observations
from fmkit.selection.score_items import Area, area_of, item_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmkit.selection.facts import Candidate

LEAST_SCORES = 8
"""An item with fewer models has no constants of its own worth shipping: its scores count as direct evidence only."""
LEAST_PAIRS = 10
"""A benchmark with fewer pairs of a vendor's and an independent score shares the offset of all."""
ItemKey = tuple[str, str]


class Cell(NamedTuple):
    """One model in one mode on one item; `value` is a logit as an independent evaluator would report it, `extra_sd` what a vendor's report adds."""

    model: str
    thinks: bool | None
    item: ItemKey
    value: float
    extra_sd: float

    @property
    def member(self) -> Key:
        """The model and its mode."""
        return self.model, self.thinks


class Table(NamedTuple):
    """The cells of one area. `kin` names the group of each model that is held out together: families joined by base models.

    `members` are the area's models in each mode; `others` those of other areas, whose reports tell of vendors too.
    """

    area: Area
    candidates: dict[str, Candidate]
    covariates: dict[Key, dict[str, float]]
    kin: dict[str, str]
    items: tuple[ItemKey, ...]
    cells: tuple[Cell, ...]
    members: tuple[Answering, ...]
    others: tuple[Candidate, ...]


def vendor_offsets(models: Iterable[Candidate | Answering]) -> dict[str, VendorOffset]:
    """What vendors report more than independent evaluators of the same model on the same item: by benchmark, "" for all.

    Fewer than two pairs say nothing.
    """
    gaps: dict[str, list[float]] = defaultdict(list)
    for model in models:
        rows: dict[tuple[ItemKey, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for score in model.scores:
            item = item_of(score)
            if item is not None:
                who = "independent" if score.reported_by == "independent" else "vendor"
                rows[item, score.variant][who].append(logit(score.score / full_marks(score.unit)))
        for (item, _), both in rows.items():
            if len(both) == 2:
                gaps[item[0]].append(fmean(both["vendor"]) - fmean(both["independent"]))
    every = [gap for found in gaps.values() for gap in found]
    if len(every) < 2:
        return {}
    found = {name: _offset(rows) for name, rows in gaps.items() if len(rows) >= LEAST_PAIRS}
    # over all, a benchmark counts once for each pair up to LEAST_PAIRS: one with many must not speak for the others
    shares = [fmean(rows) for rows in gaps.values() for _ in rows[:LEAST_PAIRS]]
    overall = VendorOffset(offset=round(fmean(shares), 4), sd=round(stdev(every), 4), pairs=len(every))
    return {"": overall, **dict(sorted(found.items()))}


def _offset(gaps: list[float]) -> VendorOffset:
    return VendorOffset(offset=round(fmean(gaps), 4), sd=round(stdev(gaps), 4), pairs=len(gaps))


def table(area: Area, candidates: Iterable[Candidate], offsets: Mapping[str, VendorOffset]) -> Table:
    """The cells of one area; items with fewer than LEAST_SCORES models are left out."""
    everybody = sorted(candidates, key=lambda c: c.id)
    chosen = {c.id: c for c in everybody if area_of(c) == area}
    members = tuple(member for candidate in chosen.values() for member in answering(candidate))
    cells = cells_of(members, offsets)
    counts = Counter(cell.item for cell in cells)
    items = tuple(sorted(item for item, count in counts.items() if count >= LEAST_SCORES))
    return Table(
        area=area,
        candidates=chosen,
        covariates={m.key: covariates(m.candidate, m.thinks) for m in members},
        kin=kin(chosen),
        items=items,
        cells=tuple(cell for cell in cells if cell.item in set(items)),
        members=members,
        others=tuple(c for c in everybody if c.id not in chosen),
    )


def cells_of(members: Iterable[Answering], offsets: Mapping[str, VendorOffset]) -> list[Cell]:
    """The scores of models as cells, vendors' reports lessened by `offsets`."""
    return [
        Cell(member.candidate.id, member.thinks, item, row.value, row.sd)
        for member in members
        for item, row in observations(member.scores, offsets).items()
    ]


def kin(candidates: dict[str, Candidate]) -> dict[str, str]:
    """The group of each model: its family, and the families that its base models or descendants are in."""
    leader: dict[str, str] = {candidate.family: candidate.family for candidate in candidates.values()}

    def root(family: str) -> str:
        while leader[family] != family:
            family = leader[family]
        return family

    by_hub = {c.hub_id: c for c in candidates.values() if c.hub_id}
    for candidate in candidates.values():
        base = candidates.get(candidate.base_model or "") or by_hub.get(candidate.base_model or "")
        if base is not None:
            one, other = sorted((root(candidate.family), root(base.family)))
            leader[other] = one
    return {model: root(candidate.family) for model, candidate in candidates.items()}
