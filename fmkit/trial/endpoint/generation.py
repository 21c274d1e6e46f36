"""One generation by an OpenAI-compatible server: what is asked, what streams back, and when each part came."""

from __future__ import annotations

from typing import Any

import msgspec

from fmkit.errors import TrialFailedError
from fmkit.trial.endpoint.client import EndpointClient, RefusedError
from fmkit.trial.endpoint.counts import Tokens
from fmkit.units import KIB, MIB

REFUSALS = (400, 404, 405, 422, 500, 501)
"""Statuses by which servers say that they do not know a request of this form."""

BYTES_PER_TOKEN = 16 * KIB
SPARE_CHUNKS = 64


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a server understands: chat or bare completion, whether it takes `stream_options`, `ignore_eos`."""

    chat: bool = True
    usage: bool = True
    ignore_eos: bool = False


DIALECTS = (Dialect(), Dialect(usage=False), Dialect(chat=False), Dialect(chat=False, usage=False))
"""In the order they are tried."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What one request gave. Times in seconds since it was sent; token counts are those of `usage`, None where the server gives none.

    `pieces` are the chunks that said something, thoughts included; `text` is the answer without them.
    """

    text: str
    pieces: tuple[str, ...]
    first_s: float | None
    last_s: float | None
    end_s: float
    prompt_tokens: int | None
    output_tokens: int | None
    finish: str | None
    cached_tokens: int | None = None
    tool_arguments: str | None = None

    @property
    def chunks(self) -> int:
        """How many chunks said something."""
        return len(self.pieces)

    @property
    def tokens(self) -> int:
        """Tokens generated: as `usage` says, else the chunks that came."""
        return self.output_tokens or self.chunks

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens after the first chunk per second; None where all came at once.

        A chunk may hold several tokens, and then the first one does too. A token more than there are chunks is the invisible end
        of the text, which comes with the reason of the end.

        >>> g = Generation(text="", pieces=("a",) * 51, first_s=0.2, last_s=1.2, end_s=1.2, prompt_tokens=9, output_tokens=51, finish="length")
        >>> round(g.decode_tokens_per_s, 6)
        50.0
        """
        if self.first_s is None or self.last_s is None or self.chunks < 2:
            return None
        span_s = (self.end_s if self.tokens > self.chunks else self.last_s) - self.first_s
        return self.tokens * (1 - 1 / self.chunks) / span_s if span_s > 0 else None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens: Tokens | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


def generate(
    client: EndpointClient,
    model: str,
    prompt: str,
    max_tokens: int,
    dialect: Dialect,
    **options: Any,  # noqa: ANN401  JSON
) -> Generation:
    """The continuation of `prompt` or the answer to it, greedy, at most `max_tokens` long.

    Raises RefusedError for what the server does not take, TrialFailedError for a stream that is none, breaks off, or does not end.
    """
    kind = "chat/completions" if dialect.chat else "completions"
    path = f"{client.address.base}/{kind}"
    where = client.address.origin + path
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": 0, "stream": True}
    body |= {"messages": [{"role": "user", "content": prompt}]} if dialect.chat else {"prompt": prompt}
    body |= {"stream_options": {"include_usage": True}} if dialect.usage else {}
    body |= {"ignore_eos": True} if dialect.ignore_eos else {}
    seen = _Seen(max_tokens, where)
    done = client.stream(path, body | options, seen.take, most_bytes=MIB + BYTES_PER_TOKEN * max_tokens)
    if not done and seen.finish is None:
        raise TrialFailedError(
            f"the stream ended after {len(seen.pieces)} chunks, before it was finished: the connection was lost",
            where=where,
            next_command=client.look(),
        )
    return seen.generation()


def understood(client: EndpointClient, model: str, prompt: str) -> tuple[Dialect, Generation, str | None]:
    """The first dialect that the server takes, what it said, and why not chat; raises the first refusal where it takes none.

    A server without a chat template, or with an older interface, refuses by one of several statuses.
    """
    first: RefusedError | None = None
    for dialect in DIALECTS:
        try:
            found = generate(client, model, prompt, 1, dialect)
        except RefusedError as error:
            if error.status not in REFUSALS:
                raise
            first = first or error
            continue
        return dialect, found, None if dialect.chat or first is None else first.message
    assert first is not None
    raise first


class _Seen:
    """What has come of a generation so far."""

    def __init__(self, max_tokens: int, where: str) -> None:
        self.pieces: list[str] = []
        self.finish: str | None = None
        self._max_tokens = max_tokens
        self._where = where
        self._texts: list[str] = []
        self._arguments: list[str] = []
        self._called = False
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._end_s = 0.0
        self._usage = _Usage()

    def take(self, at_s: float, data: bytes) -> bool:
        """One event; whether it brought something of the answer."""
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise TrialFailedError(
                f"the stream holds what is no chunk of an answer: {str(error)[:200]}", where=self._where
            ) from error
        failure = bytes(chunk.error)
        if failure not in (b"", b"null"):
            raise TrialFailedError(
                f"the server failed while it answered: {failure.decode(errors='replace')[:300]}", where=self._where
            )
        self._usage = chunk.usage or self._usage
        if not chunk.choices:
            return False
        choice = chunk.choices[0]
        self.finish = choice.finish_reason or self.finish
        self._end_s = at_s
        piece = self._piece(choice)
        if not piece:
            return False
        self.pieces.append(piece)
        self._first_s = at_s if self._first_s is None else self._first_s
        self._last_s = at_s
        if len(self.pieces) > 4 * self._max_tokens + SPARE_CHUNKS:
            raise TrialFailedError(
                f"the server goes on after the {self._max_tokens} tokens it was asked for", where=self._where
            )
        return True

    def _piece(self, choice: _Choice) -> str:
        """What a chunk says, answer, thought or call; its answer and call are kept."""
        delta = choice.delta or _Delta()
        text = choice.text or delta.content or ""
        calls = [call.function for call in delta.tool_calls or () if call.function is not None]
        self._called = self._called or any(call.name for call in calls)
        arguments = "".join(call.arguments or "" for call in calls)
        self._texts.append(text)
        self._arguments.append(arguments)
        names = "".join(call.name or "" for call in calls)
        return text or delta.reasoning_content or delta.reasoning or names + arguments

    def generation(self) -> Generation:
        """All of it."""
        return Generation(
            text="".join(self._texts),
            pieces=tuple(self.pieces),
            first_s=self._first_s,
            last_s=self._last_s,
            end_s=self._end_s,
            prompt_tokens=self._usage.prompt_tokens,
            output_tokens=self._usage.completion_tokens,
            finish=self.finish,
            cached_tokens=(self._usage.prompt_tokens_details or _PromptDetails()).cached_tokens,
            tool_arguments="".join(self._arguments) if self._called else None,
        )
