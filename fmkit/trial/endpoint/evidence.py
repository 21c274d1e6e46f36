"""What the smoke checks need to see of a model behind a server."""

from __future__ import annotations

from typing import Any

from fmkit.trial.endpoint.client import EndpointClient, RefusedError
from fmkit.trial.endpoint.generation import Dialect, Generation, generate
from fmkit.trial.endpoint.request import EndpointRequest
from fmkit.trial.evidence import Evidence

ANSWER_TOKENS = 128
STRUCTURED_TOKENS = 128

JSON_PROMPT = "Answer with one JSON object and nothing else: the keys city and country, for the capital of France."
TOOL_PROMPT = "What is the weather in Paris now? Use the tool."
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def evidence(
    client: EndpointClient, model: str, request: EndpointRequest, dialect: Dialect, answer: Generation
) -> Evidence:
    """What the checks need to see; a check asks the server for no more than it was named for."""
    tuned = dialect.chat if request.instruction_tuned is None else request.instruction_tuned
    numbers: dict[str, int] = {}
    seen = Evidence(
        task="text generation",
        random_weights=False,
        tokens=[numbers.setdefault(piece, len(numbers)) for piece in answer.pieces],
        stopped=None if answer.finish is None else answer.finish != "length",
        has_chat_template=dialect.chat,
        instruction_tuned=tuned,
        unseen={
            "finite-logits": "a server shows no logits",
            "held-out-text": "a server gives no probabilities of a text",
        },
    )
    if "deterministic" in request.checks:
        again = generate(client, model, request.prompt, ANSWER_TOKENS, dialect)
        seen.differing_share = differing_share(answer.pieces, again.pieces)
    for check, prompt, options in (
        ("valid-json", JSON_PROMPT, {"response_format": {"type": "json_object"}}),
        ("tool-call", TOOL_PROMPT, {"tools": [TOOL]}),
    ):
        if check not in request.checks:
            continue
        if not dialect.chat or not tuned:
            seen.unseen[check] = "it is for models tuned for chat"
            continue
        try:
            found = generate(client, model, prompt, STRUCTURED_TOKENS, dialect, **options)
        except RefusedError as error:
            seen.unseen[check] = error.message
            continue
        if found.finish == "length":
            seen.unseen[check] = f"the answer was cut off after {STRUCTURED_TOKENS} tokens"
        elif check == "valid-json":
            seen.json_text = found.text
        else:
            seen.tool_arguments = found.tool_arguments
            seen.tool_text = found.text
    return seen


def differing_share(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """The share of two outputs that comes after their common beginning.

    >>> differing_share(("a", "b"), ("ab",)), differing_share(("a", "b", "c", "d"), ("a", "b", "x"))
    (0.0, 0.5)
    """
    left, right = "".join(one), "".join(other)
    longest = max(len(left), len(right))
    same = next(
        (place for place, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
        min(len(left), len(right)),
    )
    return 0.0 if longest == 0 else 1 - same / longest
