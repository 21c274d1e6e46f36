"""What a check is: a question, what judges it, and where its threshold comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fmkit.results.trial import Check
from fmkit.trial.evidence import Evidence

OWN = "fmkit's own rule"
"""The source of a threshold that follows from what is asked, and from no measurement."""

RANDOM = "random weights mean nothing"


@dataclass(frozen=True, kw_only=True)
class CheckKind:
    """One check. `reason` says why the threshold is what it is, `source` where that comes from, `needs` what has to be given.

    `quick` checks run unless others are named; the rest cost minutes or a second load.
    """

    name: str
    question: str
    reason: str
    source: str
    judge: Callable[[Evidence], Check]
    quick: bool = True
    needs: str = ""


def judged(
    name: str,
    passed: bool,
    value: float | None,
    threshold: float | None,
    detail: str,
    data: dict[str, Any] | None = None,
) -> Check:
    """A check that applies."""
    return Check(name=name, passed=passed, value=value, threshold=threshold, detail=detail, data=data or {})


def not_applicable(name: str, reason: str, value: float | None = None) -> Check:
    """A check that does not apply, and why; `value` is what was seen all the same."""
    return Check(name=name, passed=None, value=value, threshold=None, detail=f"does not apply: {reason}")


def may_ramble(seen: Evidence) -> bool:
    """Whether the model continues text without having been taught when to stop."""
    return not seen.instruction_tuned and seen.task == "text generation"
