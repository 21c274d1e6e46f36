"""Lines whose words are not written yet: totals need none of them, and an estimate writes those of the moment that wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fmkit.sizing.estimate import MemoryLine

if TYPE_CHECKING:
    from fmkit.sizing.estimate import Basis, Phase


class Words(NamedTuple):
    """What is said of bytes: basis, reason, the formula with its numbers, source."""

    basis: Basis
    reason: str
    formula: str
    source: str


class DraftLine(NamedTuple):
    """A line of an estimate before its words are written."""

    part: str
    bytes: int
    phase: Phase
    words: Callable[[], Words]

    @property
    def kind(self) -> str:
        """As a line's."""
        return self.part.partition(":")[0]

    def written(self) -> MemoryLine:
        """The line itself."""
        basis, reason, formula, source = self.words()
        return MemoryLine(
            part=self.part,
            bytes=self.bytes,
            phase=self.phase,
            basis=basis,
            reason=reason,
            source=source,
            formula=formula,
        )


Line = DraftLine | MemoryLine
"""What the rules of an engine give: a line, or one whose words can wait."""
