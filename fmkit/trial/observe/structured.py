"""Asking for JSON, and for the call of a tool. No torch."""

from __future__ import annotations

from typing import Any

from fmkit.trial.evidence import Evidence
from fmkit.trial.observe.speaker import Answer, CannotAskError, Speaker

MOST_TOKENS = 128
JSON_PROMPT = "Answer with one JSON object and nothing else: the keys city and country, for the capital of France."
TOOL_PROMPT = "What is the weather in Paris now? Use the tool."
TOOL_NAME = "get_weather"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "The weather of a city now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The name of the city."}},
            "required": ["city"],
        },
    },
}


def ask_for_json(speaker: Speaker, seen: Evidence) -> None:
    """Note what the model gives when asked for one JSON object."""
    answer = _asked(speaker, seen, "valid-json", JSON_PROMPT, json=True)
    if answer is not None:
        seen.json_text = answer.text


def ask_for_call(speaker: Speaker, seen: Evidence) -> None:
    """Note what the model does with a tool that it is offered."""
    answer = _asked(speaker, seen, "tool-call", TOOL_PROMPT, tools=(TOOL,))
    if answer is not None:
        seen.tool_arguments = answer.tool_arguments
        seen.tool_text = answer.text
        seen.tool_form = speaker.tool_form


def _asked(speaker: Speaker, seen: Evidence, check: str, prompt: str, **options: Any) -> Answer | None:  # noqa: ANN401
    """The answer; None, with the reason noted, where there is none to judge."""
    if not speaker.chat or not seen.instruction_tuned:
        seen.unseen[check] = "it is for models tuned for chat"
        return None
    try:
        answer = speaker.ask(prompt, MOST_TOKENS, **options)
    except CannotAskError as error:
        seen.unseen[check] = str(error)
        return None
    if answer.cut_off:
        seen.unseen[check] = f"the answer was cut off after {MOST_TOKENS} tokens"
        return None
    return answer
