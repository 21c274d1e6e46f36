"""What a file in llama.cpp predicts of a text: its perplexity, and its distributions beside those of an unquantised file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fmkit.trial.checks import agreement
from fmkit.trial.endpoint.llama_server import LlamaServerScorer
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import read_text
from fmkit.trial.notes import say
from fmkit.trial.observe.distributions import (
    MOST_POSITIONS,
    Recorded,
    compare_distributions,
    read_recorded,
    write_distributions,
)
from fmkit.trial.observe.served_text import CannotScoreError, look_at_texts
from fmkit.trial.request import TrialRequest


def record_distributions(scorer: LlamaServerScorer, request: TrialRequest, path: Path) -> None:
    """Write the distribution after each of the text's first tokens."""
    text = _path(request.reference_path) or _path(request.held_out_path)
    assert text is not None
    ids = scorer.tokens(read_text(text))[: min(MOST_POSITIONS, request.context_tokens - 1)]
    vocabulary = _vocabulary(request)
    told = Recorded(ids=ids, vocabulary=vocabulary, text=text.name, against=request.model)
    write_distributions(path, told, scorer.distributions(ids, vocabulary))


def look_at_predictions(
    scorer: LlamaServerScorer, request: TrialRequest, seen: Evidence, checks: Sequence[str]
) -> None:
    """Note in `seen` what the checks on texts need."""
    look_at_texts(
        scorer,
        seen,
        checks,
        reference=_path(request.reference_path),
        held_out=_path(request.held_out_path),
        vocabulary=_vocabulary(request),
        context_tokens=request.context_tokens,
        say=say,
    )
    recorded = _path(request.predictions_from)
    if set(agreement.NAMES) & set(checks) and recorded is not None:
        say("comparing predictions")
        try:
            rows = scorer.distributions(read_recorded(recorded).ids, _vocabulary(request))
            seen.agreement = compare_distributions(recorded, rows)
        except CannotScoreError as error:
            seen.unseen |= dict.fromkeys(agreement.NAMES, str(error))


def _vocabulary(request: TrialRequest) -> int:
    return int(request.config["vocab_size"])


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
