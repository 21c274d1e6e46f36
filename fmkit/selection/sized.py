"""A model sized on the machine in one precision, and the time one request takes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from fmkit.sizing.estimate import MemoryEstimate
from fmkit.speed.estimate import SpeedEstimate
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.selection.request import Load


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """One model in one precision on the machine asked about; `as_published` where that is how its repository keeps the weights."""

    precision: str
    memory: MemoryEstimate
    speed: SpeedEstimate | None
    as_published: bool = False


class Sizer(Protocol):
    """Sizes a catalog model on the fewest of the machine's devices that hold it."""

    def __call__(
        self, model: str, precision: str, context_tokens: int, share: float = 1.0, sequences: int | None = None, /
    ) -> Sized | None:
        """The model with `share` of each device's budget, on most devices where none hold it; None for an unknown architecture.

        `sequences` in place of those of the question.
        """


def fits(memory: MemoryEstimate, share: float = 1.0) -> bool:
    """Whether each device has room in `share` of its budget; without a budget everything fits."""
    if share == 1.0 and memory.fits is not None:
        return memory.fits
    budget = memory.device_budget_bytes
    return budget is None or (memory.refused is None and memory.needed_bytes <= budget * share)


def on_each(size_bytes: int, memory: MemoryEstimate) -> str:
    """A size of one device in words, that of each where several are used."""
    return format_bytes(size_bytes) + (f" on each of {memory.devices_used} devices" if memory.devices_used > 1 else "")


def first_token_s(sized: Sized, load: Load) -> float | None:
    """Seconds until the first token of the answer, thoughts written before it included.

    prompt_tokens * sequences / prefill_tokens_per_s + thinking_tokens / decode_tokens_per_s: prefill is a rate of all
    sequences together, decoding of each. None where a rate is unknown.
    """
    speed = sized.speed
    if speed is None or (load.thinking_tokens and speed.decode_tokens_per_s is None):
        return None
    if speed.prefill_tokens_per_s is not None:
        reading_s = load.prompt_tokens * sized.memory.sequences / speed.prefill_tokens_per_s.median
    elif speed.ttft_s is not None:
        reading_s = speed.ttft_s.median
    else:
        return None
    return reading_s + _writing_s(speed, load.thinking_tokens)


def own_reading_s(speed: SpeedEstimate, load: Load) -> float | None:
    """Seconds that reading one request takes of the machine; of what is no text (sound) its share of a pass over all that are read together."""
    prefill, wait, together = speed.prefill_tokens_per_s, speed.ttft_s, speed.throughput_tokens_per_s
    if prefill is not None:
        return load.prompt_tokens / prefill.median
    if wait is None or together is None or speed.decode_tokens_per_s is None:
        return None
    return wait.median * speed.decode_tokens_per_s.median / together.median


def request_s(sized: Sized, load: Load) -> float | None:
    """Seconds one request takes from sending to its last token; for a model that does not decode, to read its input."""
    first_s = first_token_s(sized, load)
    if first_s is None or sized.speed is None:
        return None
    return first_s + _writing_s(sized.speed, load.output_tokens)


def writing_s(sized: Sized, load: Load) -> float | None:
    """Seconds to write thoughts and answer, where only the rate of decoding is known: the least a request takes."""
    speed = sized.speed
    if speed is None or speed.decode_tokens_per_s is None:
        return None
    return _writing_s(speed, load.thinking_tokens + load.output_tokens)


def _writing_s(speed: SpeedEstimate, tokens: int) -> float:
    return 0.0 if speed.decode_tokens_per_s is None else tokens / speed.decode_tokens_per_s.median


def tokens_per_s(speed: SpeedEstimate) -> float | None:
    """The rate people mean by tokens per second: decoding, or reading for a model that does not decode."""
    rate = speed.decode_tokens_per_s or speed.prefill_tokens_per_s
    return None if rate is None else rate.median


def speed_is_missing(sized: Sized, machine: Machine) -> bool:
    """Whether the device is known and the speed on it is not; of a bare size of memory nobody expects a speed."""
    return sized.speed is None and machine.device is not None
