"""Chat template: an instruction-tuned model brings the template that its turns are written in."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "chat-template"


def judge(seen: Evidence) -> Check:
    """Whether the template is there; a base model needs none."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    if seen.has_chat_template is None:
        return not_applicable(NAME, "the model takes no chat")
    if not seen.has_chat_template and not seen.instruction_tuned:
        return not_applicable(NAME, "not known to be tuned for chat, and has no template")
    found = "the tokenizer has a chat template" if seen.has_chat_template else "the tokenizer has no chat template"
    return judged(NAME, seen.has_chat_template, None, None, found)


CHECK = CheckKind(
    name=NAME,
    question="Has a tuned model its chat template beside it?",
    reason="there: without it turns are written in a form that the model was not taught",
    source=OWN,
    judge=judge,
)
