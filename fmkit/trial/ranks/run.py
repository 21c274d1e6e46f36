"""One rank of a divided model, from meeting the others to telling them what was measured."""

from __future__ import annotations

from fmkit.trial.ranks.group import Group
from fmkit.trial.request import TrialOutcome, TrialRequest
from fmkit.trial.stages import Enter, run_trial


def run_rank(request: TrialRequest, enter: Enter) -> TrialOutcome:
    """The trial on this rank's share; the outcome has in it what all ranks measured."""
    enter("join")
    group = Group(request)
    group.join()
    return group.share(run_trial(request, enter))
