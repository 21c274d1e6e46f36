"""`fmkit try --checks help`: every check, what it asks, and where its threshold comes from."""

from __future__ import annotations

from fmkit.results.trial import CheckInfo, CheckList
from fmkit.trial.checks import KINDS


def list_checks() -> CheckList:
    """The checks in the order in which they run."""
    return CheckList(
        checks=tuple(
            CheckInfo(
                name=kind.name,
                question=kind.question,
                reason=kind.reason,
                source=kind.source,
                quick=kind.quick,
                needs=kind.needs,
            )
            for kind in KINDS
        )
    )
