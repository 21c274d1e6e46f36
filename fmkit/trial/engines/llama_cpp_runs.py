"""What the answers of llama.cpp's server say: seconds and tokens of a run, and the text that came out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence through the server: seconds from the start to its first and to its last token, and tokens of both phases.

    `prompt_s` is the part of the time to the first token in which the server worked on the prompt.
    """

    first_s: float
    last_s: float
    prompt_s: float
    prompt_tokens: int
    tokens: int


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A generated text: `steps` has the id and the log-probability of each token, `stopped` whether the model ended it itself.

    Tokens read and generated are as the server counts them; `steps` leaves out those whose bytes are no whole character.
    """

    text: str
    steps: tuple[tuple[int, float], ...]
    stopped: bool
    input_tokens: int | None = None
    output_tokens: int | None = None


def said_in(answer: Mapping[str, Any]) -> Said:
    """The text in an answer of either kind, what a reasoning model thought before it included.

    >>> said_in({"choices": [{"text": "yes", "finish_reason": "stop"}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}})
    Said(text='yes', steps=(), stopped=True, input_tokens=7, output_tokens=1)
    """
    (choice,) = answer["choices"]
    usage = answer.get("usage") or {}
    message = choice.get("message") or {"content": choice.get("text")}
    words = (message.get("reasoning_content"), message.get("content"))
    return Said(
        text="\n".join(part for part in words if part),
        steps=tuple((step["id"], step["logprob"]) for step in (choice.get("logprobs") or {}).get("content", ())),
        stopped=choice["finish_reason"] == "stop",
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
    )


def run_of(timings: Mapping[str, Any], last_s: float) -> Run:
    """A run from the server's timings and the seconds after which its answer was there.

    The first token was there as long before the end as the server decoded.

    >>> run_of({"prompt_n": 496, "prompt_ms": 800.0, "predicted_n": 16, "predicted_ms": 300.0}, last_s=1.125)
    Run(first_s=0.825, last_s=1.125, prompt_s=0.8, prompt_tokens=496, tokens=16)
    """
    return Run(
        first_s=last_s - timings["predicted_ms"] / 1000,
        last_s=last_s,
        prompt_s=timings["prompt_ms"] / 1000,
        prompt_tokens=timings["prompt_n"],
        tokens=timings["predicted_n"],
    )


def prefill_rate(runs: Sequence[Run]) -> float:
    """Prompt tokens per second of all sequences together, from the first one's beginning to the last one's first token.

    >>> one = Run(first_s=0.5, last_s=0.8, prompt_s=0.5, prompt_tokens=100, tokens=16)
    >>> prefill_rate([one, one])
    400.0
    """
    began_s = min(run.first_s - run.prompt_s for run in runs)
    return sum(run.prompt_tokens for run in runs) / (max(run.first_s for run in runs) - began_s)


def decode_rate(runs: Sequence[Run]) -> float | None:
    """Tokens per second of one sequence, from the one whose prompt was done last: the others' prompts no longer slow it down.

    The first token comes out of the prompt: n tokens are n - 1 steps of decoding. None where there is no step.

    >>> early = Run(first_s=0.1, last_s=0.9, prompt_s=0.1, prompt_tokens=100, tokens=16)
    >>> decode_rate([early, Run(first_s=0.3, last_s=0.8, prompt_s=0.2, prompt_tokens=100, tokens=16)])
    30.0
    """
    last = max(runs, key=lambda run: run.first_s)
    return (last.tokens - 1) / (last.last_s - last.first_s) if last.tokens > 1 else None


def difference(one: Said, other: Said) -> float:
    """How far two runs on the same prompt are apart: the largest difference of a log-probability, at least 1 where tokens differ.

    >>> a, b = Said(text="", steps=((7, -0.5),), stopped=True), Said(text="", steps=((8, -0.5),), stopped=True)
    >>> difference(a, a), difference(a, b)
    (0.0, 1.0)
    """
    largest = max(
        (abs(first[1] - second[1]) for first, second in zip(one.steps, other.steps, strict=False)), default=0.0
    )
    same = [token for token, _ in one.steps] == [token for token, _ in other.steps]
    return largest if same else max(1.0, largest)
