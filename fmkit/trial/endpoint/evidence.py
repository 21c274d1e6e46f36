"""What the checks need to see of a model behind a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fmkit.results.trial import EndpointServer
from fmkit.trial.checks import agreement, deterministic, needle, tool_call, valid_json
from fmkit.trial.endpoint.client import EndpointClient, RefusedError
from fmkit.trial.endpoint.echo import MOST_SCORED_TOKENS, EchoScorer
from fmkit.trial.endpoint.generation import Dialect, Generation, generate
from fmkit.trial.endpoint.llama_server import LlamaServerScorer
from fmkit.trial.endpoint.request import EndpointRequest
from fmkit.trial.evidence import Evidence
from fmkit.trial.observe.needle import look_for_needles
from fmkit.trial.observe.served_text import look_at_texts
from fmkit.trial.observe.speaker import Answer, CannotAskError
from fmkit.trial.observe.structured import ask_for_call, ask_for_json

ANSWER_TOKENS = 128
UNSEEN = {
    "finite-logits": "a server shows no logits",
    **dict.fromkeys(
        agreement.NAMES,
        "a server has one model loaded; fmkit try FILE.gguf --against FULL.gguf loads one after the other",
    ),
}
"""Checks that can't be made from outside, and why."""


class EndpointSpeaker:
    """Asks a server; calls of tools are what it parses."""

    tool_form = "the server parses"

    def __init__(self, client: EndpointClient, model: str, dialect: Dialect) -> None:
        self.chat = dialect.chat
        self._client = client
        self._model = model
        self._dialect = dialect

    def ask(
        self, prompt: str, most_tokens: int, *, tools: Sequence[Mapping[str, Any]] = (), json: bool = False
    ) -> Answer:
        """As `Speaker.ask`; a server is told that JSON is wanted."""
        options: dict[str, Any] = {"tools": list(tools)} if tools else {}
        options |= {"response_format": {"type": "json_object"}} if json else {}
        found = self._generated(prompt, most_tokens, **options)
        return Answer(text=found.text, cut_off=found.finish == "length", tool_arguments=found.tool_arguments)

    def count(self, prompt: str) -> int | None:
        """As `Speaker.count`, by a request for one token; None where the server does not count, or does not take it."""
        try:
            return self._generated(prompt, 1).prompt_tokens
        except CannotAskError:
            return None

    def _generated(self, prompt: str, most_tokens: int, **options: Any) -> Generation:  # noqa: ANN401
        try:
            return generate(self._client, self._model, prompt, most_tokens, self._dialect, **options)
        except RefusedError as error:
            raise CannotAskError(error.message) from error


def evidence(
    client: EndpointClient,
    told: EndpointServer,
    request: EndpointRequest,
    dialect: Dialect,
    answer: Generation,
    say: Callable[[str], None],
) -> Evidence:
    """What the checks need to see; a check asks the server for no more than it was named for."""
    numbers: dict[str, int] = {}
    seen = Evidence(
        task="text generation",
        random_weights=False,
        tokens=[numbers.setdefault(piece, len(numbers)) for piece in answer.pieces],
        stopped=None if answer.finish is None else answer.finish != "length",
        has_chat_template=dialect.chat,
        instruction_tuned=dialect.chat if request.instruction_tuned is None else request.instruction_tuned,
        unseen=dict(UNSEEN),
    )
    if deterministic.NAME in request.checks:
        again = generate(client, told.model_id, request.prompt, ANSWER_TOKENS, dialect)
        seen.differing_share = differing_share(answer.pieces, again.pieces)
    speaker = EndpointSpeaker(client, told.model_id, dialect)
    if valid_json.NAME in request.checks:
        ask_for_json(speaker, seen)
    if tool_call.NAME in request.checks:
        ask_for_call(speaker, seen)
    if needle.NAME in request.checks and request.held_out_path is not None:
        contexts = [cell.context_tokens for cell in request.cells]
        look_for_needles(speaker, seen, contexts, Path(request.held_out_path), say)
    on_llama_cpp = told.kind == "llama.cpp"
    look_at_texts(
        LlamaServerScorer(client) if on_llama_cpp else EchoScorer(client, told.model_id),
        seen,
        request.checks,
        reference=None if request.reference_path is None else Path(request.reference_path),
        held_out=None if request.held_out_path is None else Path(request.held_out_path),
        vocabulary=told.vocabulary or request.vocabulary,
        context_tokens=told.max_context_tokens or MOST_SCORED_TOKENS,
        say=say,
    )
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
