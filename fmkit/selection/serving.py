"""How many requests a server runs together: as many as memory holds and the latency asked for allows.

Engines that serve take in a request while others are written (continuous batching): reading the weights once serves all of them. A
machine's capacity is that of the batch, not of one request after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.request import context_need
from fmkit.selection.sized import fits, own_reading_s
from fmkit.sizing.search import largest
from fmkit.speed.estimate import SpeedEstimate
from fmkit.units import format_rate, format_seconds

if TYPE_CHECKING:
    from fmkit.selection.pool import Pool
    from fmkit.selection.request import Load, Request
    from fmkit.selection.sized import Sized

BATCHING_ENGINES = ("vllm", "llama.cpp")
"""Engines with a server that batches; transformers answers the sequences that it is given together."""

MOST_SEQUENCES = 1024
"""More than this no engine runs together by default (vLLM's max_num_seqs on a data-centre card)."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests together, the speed with them, and what keeps more from running (`limit`)."""

    sequences: int
    speed: SpeedEstimate
    limit: str


def serving_batch(model: str, sized: Sized, load: Load, request: Request, pool: Pool) -> Batch | None:
    """The most requests that run together within memory and the limits asked for; None where requests are not counted or not batched.

    A number of sequences that was asked for stays as it is.
    """
    if request.requests_per_day is None or request.sequences > 1 or request.engine not in BATCHING_ENGINES:
        return None
    if sized.speed is None or sized.speed.throughput_tokens_per_s is None:
        return None

    def limit(sequences: int) -> str:
        return _limit(at(sequences), load, request)

    def at(sequences: int) -> Sized | None:
        if sequences == 1:
            return sized
        return pool.size(model, sized.precision, context_need(request, pool.task), request.memory_share, sequences)

    most = largest(lambda count: not limit(count), MOST_SEQUENCES) or 1
    found = at(most)
    if found is None or found.speed is None:
        return None
    why = f"the most that {request.engine} runs together" if most == MOST_SEQUENCES else limit(most + 1)
    return Batch(sequences=most, speed=found.speed, limit=why)


def _limit(sized: Sized | None, load: Load, request: Request) -> str:
    """What is against so many together, in words; empty where nothing is."""
    if sized is None or not sized.memory.valid or not fits(sized.memory, request.memory_share):
        return "the most that memory holds"
    each, least, most_s = _rate(sized.speed), request.min_tokens_per_s, request.max_ttft_s
    if each is None:
        return "the most with a known speed"
    if least is not None and each < least:
        return f"the most that leave each {format_rate(least)} tokens/s"
    if most_s is not None and (wait := _first_token_s(sized, load)) is not None and wait > most_s:
        return f"the most with a first token within {format_seconds(most_s)}"
    return ""


def _first_token_s(sized: Sized, load: Load) -> float | None:
    """Seconds to the first token of the answer for one request that comes while the others are written: its own prompt, and its thoughts."""
    speed, each = sized.speed, _rate(sized.speed)
    reading_s = None if speed is None else own_reading_s(speed, load)
    if reading_s is None or each is None:
        return None
    return reading_s + load.thinking_tokens / each


def _rate(speed: SpeedEstimate | None) -> float | None:
    return None if speed is None or speed.decode_tokens_per_s is None else speed.decode_tokens_per_s.median
