"""Times of a model behind a server: workloads of streams at once, several rounds of each."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from fmkit.errors import FmkitError, TrialFailedError, UsageError
from fmkit.results.trial import EndpointServer
from fmkit.trial.checks import run_checks
from fmkit.trial.endpoint.client import EndpointClient
from fmkit.trial.endpoint.evidence import ANSWER_TOKENS, evidence
from fmkit.trial.endpoint.generation import Dialect, Generation, generate, understood
from fmkit.trial.endpoint.models import Served
from fmkit.trial.endpoint.prompt import PromptLength, length_for, prompt_of
from fmkit.trial.endpoint.request import EndpointCell, EndpointMeasured, EndpointOutcome, EndpointRequest
from fmkit.trial.endpoint.server import cache_usage, facts
from fmkit.trial.items import Item, Reply
from fmkit.trial.many import Many, answer_all
from fmkit.trial.request import Timing, TrialFailure
from fmkit.units import format_tokens

T = TypeVar("T")

SHORT_WORDS = 8
LOOK_S = 0.25
TAKES_IGNORE_EOS = ("vllm", "sglang", "llama.cpp")
"""Servers that can be told to go on past the end of the text: a short answer would give a rate of few tokens."""


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
    most = request.output_tokens or ANSWER_TOKENS
    many = _many(client, model.id, plain, request, most, tell) if request.items else None
    answer = generate(client, model.id, request.prompt, most, plain)
    tell("checking ...")
    seen = evidence(client, told, request, plain, answer, tell)
    return EndpointOutcome(
        server=msgspec.structs.replace(told, api="chat" if dialect.chat else "completions"),
        cells=tuple(cells),
        output=answer.text or "".join(answer.pieces) if many is None else many.shown,
        checks=run_checks(request.checks, seen),
        warnings=(*warnings, *(() if many is None else many.notes)),
        asked=Item(text=request.prompt).shown() if many is None else f"{len(request.items):,} inputs",
        inputs=None if many is None else many.summary,
    )


def _many(
    client: EndpointClient,
    model: str,
    dialect: Dialect,
    request: EndpointRequest,
    most_tokens: int,
    tell: Callable[[str], None],
) -> Many:
    """Every input of a file, one after the other."""

    def reply(item: Item) -> Reply:
        turns = [{"role": turn.role, "content": turn.content} for turn in item.turns]
        options = {"messages": turns} if turns and dialect.chat else {}
        text = item.text or "\n".join([*(turn.content for turn in item.turns), *item.texts])
        found = generate(client, model, text, most_tokens, dialect, **options)
        said = found.text or "".join(found.pieces)
        return Reply(text=said, input_tokens=found.prompt_tokens, output_tokens=found.tokens)

    output = None if request.output_path is None else Path(request.output_path)
    return answer_all(request.items, reply, model, client.address.origin, output, tell)


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
        return _summary(rounds, max(peaks, default=None), self.client.address.origin)

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


def _summary(rounds: list[list[Generation]], cache_usage_peak: float | None, where: str) -> EndpointMeasured:
    """Each round is one measurement: the mean over its streams, and the tokens of all over its time."""
    everything = [one for streams in rounds for one in streams]
    if any(one.first_s is None for one in everything):
        raise TrialFailedError(
            "the server ended an answer without a token",
            where=where,
            next_command="look at the server's log; a longer --context leaves room for an answer",
        )
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


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)


def _silent(message: str) -> None:
    del message
