"""Checks: does the model behave like one that was loaded rightly, and how well? Each judges the evidence of a trial, without torch.

A check that does not apply is said not to (`passed` None, with the reason): random weights mean nothing, an encoder generates
nothing. To add one: a file here with its `CheckKind`, and its place in `KINDS`; what it has to see, in `fmkit/trial/observe/`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fmkit.errors import UsageError
from fmkit.results.trial import Check
from fmkit.trial.checks import (
    agreement,
    chat_template,
    deterministic,
    embedding_symmetry,
    finite_logits,
    held_out_text,
    needle,
    paraphrase,
    perplexity,
    repetition,
    stop_token,
    tool_call,
    valid_json,
    word_errors,
)
from fmkit.trial.checks.base import CheckKind, not_applicable
from fmkit.trial.evidence import Evidence

KINDS = (
    finite_logits.CHECK,
    deterministic.CHECK,
    repetition.CHECK,
    stop_token.CHECK,
    held_out_text.CHECK,
    embedding_symmetry.CHECK,
    paraphrase.CHECK,
    chat_template.CHECK,
    valid_json.CHECK,
    tool_call.CHECK,
    word_errors.CHECK,
    needle.CHECK,
    perplexity.CHECK,
    agreement.KL,
    agreement.TOP1,
)

CHECKS: dict[str, CheckKind] = {kind.name: kind for kind in KINDS}
"""Every check by the name that `--checks` takes."""

QUICK = tuple(kind.name for kind in KINDS if kind.quick)
"""What runs unless something else is asked for."""

SETS = {"quick": QUICK, "all": tuple(CHECKS), "none": ()}


def check_names(asked: Sequence[str] | None) -> tuple[str, ...]:
    """The checks to run, by names and names of sets; the quick ones by default. UsageError for an unknown name."""
    if asked is None:
        return QUICK
    if "none" in asked and len(asked) > 1:
        raise UsageError("none, and others beside it: leave one of them out", where="--checks")
    names: list[str] = []
    for name in asked:
        if name not in CHECKS and name not in SETS:
            raise UsageError.unknown(
                "check", name, [*CHECKS, *SETS], where="--checks", next_command="fmkit try --checks help"
            )
        names += SETS.get(name, (name,))
    return tuple(dict.fromkeys(names))


def run_checks(names: Sequence[str], seen: Evidence) -> tuple[Check, ...]:
    """Judge the evidence by the checks named."""
    return tuple(_run(CHECKS[name], seen) for name in names)


def _run(kind: CheckKind, seen: Evidence) -> Check:
    unseen = seen.unseen.get(kind.name)
    check = kind.judge(seen) if unseen is None else not_applicable(kind.name, unseen)
    return msgspec.structs.replace(check, reason=kind.reason, source=kind.source)
