"""A fact of the catalog beside a witness, and how many models have one that knows no file of ours."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from benchmarks.proofs.differences import NOT_EXPLAINED

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = "published table"
FACTS_HELD = ("parameters", "context", "licence")
UNKNOWN_CONTEXT = 4096
"""What the table writes where it knows no limit."""


class Case(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact of one model beside a witness; `reason` says why they differ, and is empty where they agree.

    `taken` is for a fact that the catalog has from this witness.
    """

    model: str
    fact: str
    witness: str
    catalog: int | str | None
    witnessed: int | str | None
    reason: str = ""
    taken: bool = False

    @property
    def state(self) -> str:
        """equal, taken (equal, for it is from there), explained, doubtful (the witness is at fault) or open."""
        if not self.reason:
            return "taken" if self.taken else "equal"
        return "open" if NOT_EXPLAINED in self.reason else "doubtful" if "doubtful" in self.reason else "explained"


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """What the published table, the one witness that knows no file of ours, says of one fact of all models with open weights.

    `taken` agree because the catalog has them from there; `doubtful` are figures in which the table is at fault; `without` names the models
    that it says nothing of, a context of 4096 being what it writes where it knows none.
    """

    fact: str
    agrees: int
    taken: int
    differs_explained: int
    doubtful: int
    without: tuple[str, ...]


def witnessed(found: Sequence[Case], models: Sequence[str]) -> tuple[Witnessed, ...]:
    """For each fact, how many of `models` the published table agrees on, differs on with a reason, and leaves without a witness."""
    said = [
        case for case in found if case.witness == TABLE and (case.fact, case.witnessed) != ("context", UNKNOWN_CONTEXT)
    ]
    return tuple(_witnessed(fact, [case for case in said if case.fact == fact], models) for fact in FACTS_HELD)


def _witnessed(fact: str, of_table: Sequence[Case], models: Sequence[str]) -> Witnessed:
    states = Counter(case.state for case in of_table)
    known = {case.model for case in of_table}
    return Witnessed(
        fact=fact,
        agrees=states["equal"],
        taken=states["taken"],
        differs_explained=states["explained"],
        doubtful=states["doubtful"],
        without=tuple(model for model in models if model not in known),
    )
