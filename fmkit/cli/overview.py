"""`fmkit` alone: this machine, and the best chat, code, embedding and transcription model for it."""

from __future__ import annotations

from fmkit.api.overview import overview as best_models
from fmkit.cli.output import emit
from fmkit.report.overview import print_overview


def overview(*, as_json: bool, quiet: bool) -> None:
    """Print the answer for this machine, offline."""
    del quiet  # nothing is said beside the answer
    emit(best_models(), print_overview, as_json=as_json)
