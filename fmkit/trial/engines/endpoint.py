"""A model behind an OpenAI-compatible server, measured from outside: nothing is loaded here, and no weights are seen."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from fmkit.errors import FmkitError, TrialFailedError, UsageError
from fmkit.results.trial import Check, EndpointServer
from fmkit.trial.checks import run_checks
from fmkit.trial.engines.endpoint_chat import Dialect, Generation, generate, understood
from fmkit.trial.engines.endpoint_client import EndpointClient, RefusedError
from fmkit.trial.engines.endpoint_prompt import PromptLength, length_for, prompt_of
from fmkit.trial.engines.endpoint_server import Served, cache_usage, facts
from fmkit.trial.evidence import Evidence
from fmkit.trial.request import Timing, TrialFailure
from fmkit.units import format_tokens

T = TypeVar("T")

SHORT_WORDS = 8
LOOK_S = 0.25
ANSWER_TOKENS = 128
STRUCTURED_TOKENS = 128
TAKES_IGNORE_EOS = ("vllm", "sglang", "llama.cpp")
"""Servers that can be told to go on past the end of the text: a short answer would give a rate of few tokens."""

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


class EndpointCell(msgspec.Struct, frozen=True, kw_only=True):
    """One workload: so many streams at once, each of a prompt and the tokens decoded after it."""

    context_tokens: int
    sequences: int
    decode_tokens: int


class EndpointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask of a server. `instruction_tuned` is what the catalog knows of the model; None: whether it takes chat decides."""

    prompt: str
    cells: tuple[EndpointCell, ...]
    repeat: int = 3
    checks: tuple[str, ...] = ()
    instruction_tuned: bool | None = None


class EndpointMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """What one workload took; token counts are means over all streams, `prompt_tokens` None where the server does not count.

    `cached_tokens` of the prompt were not computed but found by the server, as far as it says.
    """

    timing: Timing
    throughput_tokens_per_s: tuple[float, ...]
    prompt_tokens: float | None
    cached_tokens: float
    output_tokens: float
    counted_by: str
    cache_usage_peak: float | None


class EndpointOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that was learnt of a server and a model; one answer for each workload asked for."""

    server: EndpointServer
    cells: tuple[EndpointMeasured | TrialFailure, ...]
    output: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]


def measure(
    client: EndpointClient, kind: str, model: Served, request: EndpointRequest, say: Callable[[str], None] | None = None
) -> EndpointOutcome:
    """Run every workload; of several, one that fails does not stop the next. Raises FmkitError where the first fails."""
    tell = say or _silent
    tell("asking the server ...")
    dialect, first, not_chat = understood(client, model.id, prompt_of(SHORT_WORDS, 0))
    told = facts(client, kind, model)  # after the first answer: some servers load the model for it
    dialect = msgspec.structs.replace(dialect, ignore_eos=kind in TAKES_IGNORE_EOS)
    bench = _Bench(
        client, model.id, dialect, PromptLength(words=SHORT_WORDS, tokens=first.prompt_tokens), kind == "vllm"
    )
    warnings = [] if not_chat is None else [f"no chat, so the bare prompt is continued ({not_chat})"]
    if first.prompt_tokens is None:
        warnings.append(
            "the server does not count tokens (no `usage`): the prompt has as many words as tokens asked for, and each chunk that came counts as a token"
        )
    cells: list[EndpointMeasured | TrialFailure] = []
    for cell in request.cells:
        try:
            _within_limits(cell, told)
            cells.append(bench.run(cell, request.repeat, tell))
        except FmkitError as error:
            if not cells:
                raise
            cells.append(TrialFailure(kind="failed", phase="timing", message=error.message))
    tell("asking for an answer ...")
    plain = msgspec.structs.replace(dialect, ignore_eos=False)
    answer = generate(client, model.id, request.prompt, ANSWER_TOKENS, plain)
    tell("checking ...")
    seen = _evidence(client, model.id, request, plain, answer)
    return EndpointOutcome(
        server=msgspec.structs.replace(told, api="chat" if dialect.chat else "completions"),
        cells=tuple(cells),
        output=answer.text or "".join(answer.pieces),
        checks=run_checks(request.checks, seen),
        warnings=tuple(warnings),
    )


class _Bench:
    """Takes times of one model at one server."""

    def __init__(
        self, client: EndpointClient, model: str, dialect: Dialect, short: PromptLength, watch_cache: bool
    ) -> None:
        self.client = client
        self.model = model
        self.dialect = dialect
        self.short = short
        self.watch_cache = watch_cache
        self._seed = secrets.randbits(48)  # a server may still have the prompts of another trial in its cache

    def run(self, cell: EndpointCell, repeat: int, tell: Callable[[str], None]) -> EndpointMeasured:
        """Several rounds of all streams at once; the first is not timed, and the cache is looked at in it alone."""
        wanted = max(1, cell.context_tokens - cell.decode_tokens)
        tell(f"finding a prompt of {format_tokens(wanted)} tokens ...")
        length = length_for(wanted, self.short, self._count)
        tell(f"warming up: {cell.sequences} x {format_tokens(cell.context_tokens)} tokens ...")
        peaks: list[float] = []
        self._round(length.words, cell, peaks)
        rounds: list[list[Generation]] = []
        for number in range(repeat):
            tell(f"taking times, {number + 1} of {repeat} ...")
            rounds.append(self._round(length.words, cell, None))
        return _summary(rounds, max(peaks, default=None))

    def _count(self, words: int) -> int | None:
        return generate(self.client, self.model, self._prompt(words), 1, self.dialect).prompt_tokens

    def _prompt(self, words: int) -> str:
        self._seed += 1
        return prompt_of(words, self._seed)

    def _round(self, words: int, cell: EndpointCell, peaks: list[float] | None) -> list[Generation]:
        prompts = [self._prompt(words) for _ in range(cell.sequences)]

        def look() -> None:
            usage = cache_usage(self.client) if self.watch_cache and peaks is not None else None
            if usage is not None and peaks is not None:
                peaks.append(usage)

        return together(
            lambda number: generate(self.client, self.model, prompts[number], cell.decode_tokens, self.dialect),
            cell.sequences,
            look,
        )


def together(work: Callable[[int], T], count: int, look: Callable[[], None]) -> list[T]:
    """`work` of 0 to count - 1, all at once, in that order; `look` is called now and then meanwhile. The first error is raised."""
    results: dict[int, T] = {}
    errors: list[Exception] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            results[number] = work(number)
        except Exception as error:  # noqa: BLE001  handed to the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive() and not errors:
            thread.join(LOOK_S)
            look()
    if errors:
        raise errors[0]
    return [results[number] for number in range(count)]


def _summary(rounds: list[list[Generation]], cache_usage_peak: float | None) -> EndpointMeasured:
    """Each round is one measurement: the mean over its streams, and the tokens of all over its time."""
    everything = [one for streams in rounds for one in streams]
    if any(one.first_s is None for one in everything):
        raise TrialFailedError("the server ended an answer without a token", where="timing")
    prompts = [one.prompt_tokens for one in everything if one.prompt_tokens is not None]
    rates = [[rate for one in streams if (rate := one.decode_tokens_per_s) is not None] for streams in rounds]
    counted = all(one.output_tokens for one in everything)
    return EndpointMeasured(
        timing=Timing(
            ttft_s=tuple(_mean([one.first_s or 0.0 for one in streams]) for streams in rounds),
            decode_tokens_per_s=tuple(_mean(found) for found in rates if found),
        ),
        throughput_tokens_per_s=tuple(
            sum(one.tokens for one in streams) / max(one.end_s for one in streams) for streams in rounds
        ),
        prompt_tokens=_mean(prompts) if prompts else None,
        cached_tokens=_mean([one.cached_tokens or 0 for one in everything]),
        output_tokens=_mean([one.tokens for one in everything]),
        counted_by="usage" if counted else "chunks",
        cache_usage_peak=cache_usage_peak,
    )


def _within_limits(cell: EndpointCell, told: EndpointServer) -> None:
    limit = told.max_context_tokens
    if limit is not None and cell.context_tokens > limit:
        raise UsageError(
            f"a context of {format_tokens(cell.context_tokens)} tokens is impossible: the server's limit is {format_tokens(limit)}",
            where="--context",
        )


def _evidence(
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


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)


def _silent(message: str) -> None:
    del message
