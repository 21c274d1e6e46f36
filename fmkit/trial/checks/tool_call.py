"""Tool calls: a call arrives in the form that the model's template teaches, with arguments that fit the tool."""

from __future__ import annotations

import msgspec

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "tool-call"
TOOL_MARKS = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "get_weather")
"""What a call looks like where nobody parsed it."""


class ToolArguments(msgspec.Struct, forbid_unknown_fields=True):
    """What the tool that is offered takes."""

    city: str


def judge(seen: Evidence) -> Check:
    """Whether a call was parsed and fits; the model need not call."""
    if seen.tool_arguments is None:
        if seen.tool_text is None:
            return not_applicable(NAME, "the trial offered no tool")
        if any(mark in seen.tool_text for mark in TOOL_MARKS):
            return judged(NAME, False, None, None, f"the call came in another form than the one {seen.tool_form}")
        return not_applicable(NAME, "the model answered in words")
    try:
        msgspec.json.decode(seen.tool_arguments, type=ToolArguments)
    except (msgspec.MsgspecError, RecursionError) as error:
        return judged(NAME, False, None, None, f"the arguments do not fit the tool: {str(error)[:100]}")
    return judged(
        NAME, True, None, None, f"the call was parsed in the form {seen.tool_form}, and its arguments fit the tool"
    )


CHECK = CheckKind(
    name=NAME,
    question="Is a tool call written as the model's template writes calls?",
    reason="it parses in that form, and its arguments fit the tool's JSON schema; not to call is no fault",
    source=OWN,
    judge=judge,
)
