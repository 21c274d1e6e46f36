"""JSON: asked for one object and nothing else, the model gives one."""

from __future__ import annotations

import msgspec

from fmkit.results.trial import Check
from fmkit.trial.checks.base import CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "valid-json"


def judge(seen: Evidence) -> Check:
    """Whether the answer as a whole is a JSON object."""
    if seen.json_text is None:
        return not_applicable(NAME, "the trial did not ask for JSON")
    text = seen.json_text.strip()
    try:
        passed = isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, RecursionError):
        passed = False
    found = "one JSON object, and nothing else" if passed else f"no JSON object, or not alone: {text[:60]!r}"
    return judged(NAME, passed, None, None, found)


CHECK = CheckKind(
    name=NAME,
    question="Does the model give a JSON object, and nothing else, when asked?",
    reason="the whole answer parses as RFC 8259 JSON: what a program would do with it",
    source="RFC 8259",
    judge=judge,
)
