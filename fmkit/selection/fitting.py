"""Which precision to take on the machine: the highest that fits and is fast enough, or what none of them meets."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.constraints import Exclusion
from fmkit.selection.request import DEFAULT_PRECISIONS, USABLE_TOKENS_PER_S, Request, context_need, load_of
from fmkit.selection.sized import Sized, first_token_s, fits, on_each, speed_is_missing, tokens_per_s
from fmkit.units import format_bytes, format_rate, format_seconds, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.selection.facts import Candidate
    from fmkit.selection.pool import Pool


def choose_precision(
    candidate: Candidate, request: Request, pool: Pool, ignore: frozenset[str] = frozenset()
) -> tuple[Sized, tuple[str, ...]] | Exclusion:
    """The model in the highest precision that fits and is fast enough, with the reason; or why none does.

    On a known machine a precision with an unknown speed is the last resort, and none at all where a precision with a known
    one is too slow. `ignore` names constraints that don't count: what would be if they were not asked for.
    """
    ordered = _precisions_to_try(request, pool)
    passed_over: list[str] = []
    misses: list[Exclusion] = []
    too_slow: Exclusion | None = None
    resort: Sized | None = None
    for precision in ordered:
        sized = pool.size(candidate.id, precision, context_need(request, pool.task), request.memory_share)
        if sized is None or (precision == "fp32" and precision not in request.precisions and resort is None):
            continue
        found = [m for m in _size_misses(candidate, sized, request, pool) if m.constraint not in ignore]
        too_slow = too_slow or next((miss for miss in found if miss.constraint == "usable-speed"), None)
        if found:
            passed_over.append(_passed_over(sized, found[0]))
            misses.append(found[0])
        elif not speed_is_missing(sized, pool.machine):
            return sized, (*_precision_reason(sized, ordered, passed_over, pool), *_division_reason(sized, pool))
        else:
            passed_over.append(f"the speed at {precision} is not known")
            resort = resort or sized
    if resort is not None:
        return _last_resort(resort, too_slow, pool)
    return _most_telling(misses) if misses else _not_sized(candidate, request)


def _last_resort(resort: Sized, too_slow: Exclusion | None, pool: Pool) -> tuple[Sized, tuple[str, ...]] | Exclusion:
    """The precision whose speed is not known, unless the speed at another is known to be too low."""
    if too_slow is None:
        return resort, (
            f"{resort.precision}, the highest precision that fits; its speed on {pool.machine.name} is not known",
            *_division_reason(resort, pool),
        )
    reason = f"{too_slow.reason}; at {resort.precision} its speed is not known, and unknown is not a pass"
    return msgspec.structs.replace(too_slow, reason=reason)


def _not_sized(candidate: Candidate, request: Request) -> Exclusion:
    known = candidate.spec_kind != "unknown"
    lacks = f"{request.engine} is not sized for its architecture by this version; another --engine may be"
    reason = lacks if known else "its architecture is not known to the catalog, so it can't be sized"
    return Exclusion(model=candidate.id, constraint="architecture", reason=reason)


def _most_telling(misses: list[Exclusion]) -> Exclusion:
    """The nearest miss; a precision that fits and is too slow says more about what is missing than one that does not fit."""
    fitting = [miss for miss in misses if miss.constraint not in {"memory", "context"}]
    return min(fitting or misses, key=lambda miss: miss.distance if miss.distance is not None else float("inf"))


def _precisions_to_try(request: Request, pool: Pool) -> list[str]:
    """The precisions asked for, the widest first.

    Where none was asked for, weights as their repository stores them come before all (that is what was evaluated), and a processor
    also tries 32 bit after 16 bit: PyTorch has no fast float16 on most processors, while every one multiplies in 32 bit, without a quantiser.
    """
    ordered = sorted(request.precisions, key=lambda name: (-pool.precision_bits.get(name, 0), name))
    device = pool.machine.device
    if request.precisions != DEFAULT_PRECISIONS:
        return ordered
    ordered = [name for name in ("stored",) if name in pool.precision_bits] + ordered
    if device is not None and device.device_class == "cpu":
        wide = [name for name in ("fp32",) if name in pool.precision_bits]
        return ordered[:-2] + wide + ordered[-2:]
    return ordered


def _passed_over(sized: Sized, miss: Exclusion) -> str:
    if miss.constraint == "memory":
        return f"{sized.precision} needs {on_each(sized.memory.per_device_bytes, sized.memory)}"
    return miss.reason


def _precision_reason(sized: Sized, ordered: list[str], passed_over: list[str], pool: Pool) -> tuple[str, ...]:
    """Why this precision, with what stood against the higher ones."""
    budget = sized.memory.device_budget_bytes
    each = " on each" if pool.machine.count > 1 else ""
    here = f" (there are {format_bytes(budget)}{each})" if budget is not None else ""
    if passed_over:
        return (f"{sized.precision}, because {'; '.join(passed_over)}{here}",)
    if len(ordered) == 1:
        return (f"{sized.precision}, the precision asked for",)
    if sized.as_published and sized.precision not in ordered:
        return (f"{sized.precision}, in which its publisher keeps the weights, and it fits",)
    tried = [name for name in ordered if name != "stored" or sized.precision == "stored"]
    return (f"{sized.precision}: the highest precision of {', '.join(tried)}, and it fits",)


def _division_reason(sized: Sized, pool: Pool) -> tuple[str, ...]:
    """On how many of several devices, and how it is divided over them."""
    memory, there = sized.memory, pool.machine.count
    if there == 1:
        return ()
    used = f"on {memory.devices_used} of {there} devices"
    if memory.devices_used == 1:
        return (f"{used}: it needs no more",)
    tensor = f"tensor parallel {memory.tensor_parallel}" if memory.tensor_parallel > 1 else ""
    layers = f"layers divided over {memory.pipeline_parallel}" if memory.pipeline_parallel > 1 else ""
    need = on_each(memory.per_device_bytes, memory)
    return (f"{used}, the fewest tried that hold it ({' and '.join(filter(None, (tensor, layers)))}): at most {need}",)


def _size_misses(candidate: Candidate, sized: Sized, request: Request, pool: Pool) -> Iterator[Exclusion]:
    """What the sized model misses of memory, speed and time to the first token."""
    memory = sized.memory
    if not memory.valid:
        yield Exclusion(model=candidate.id, constraint="context",
                        reason=f"{format_tokens(memory.context_tokens)} tokens are past a hard limit of the model")  # fmt: skip
    if not fits(memory, request.memory_share):
        budget = round((memory.device_budget_bytes or 0) * request.memory_share)
        short = max(memory.needed_bytes - budget, 0)
        of_each = " of each" if pool.machine.count > 1 else ""
        yield Exclusion(
            model=candidate.id,
            constraint="memory",
            reason=f"needs {on_each(memory.needed_bytes, memory)} at {sized.precision} with "
            f"{format_tokens(memory.context_tokens)} tokens; {pool.machine.name} offers {format_bytes(budget)}{of_each}",
            missed_by=format_bytes(short) if short else None,
            passes_at=on_each(memory.needed_bytes, memory),
            distance=short,
        )
    slow = (
        _unusable_rate(candidate, sized, pool)
        if request.min_tokens_per_s is None
        else _low_rate(candidate, sized, request.min_tokens_per_s, pool)
    )
    yield from filter(None, (slow, _long_wait(candidate, sized, request, pool)))


def _low_rate(candidate: Candidate, sized: Sized, least: float, pool: Pool) -> Exclusion | None:
    """What is missed of the tokens per second asked for."""
    rate = None if sized.speed is None else tokens_per_s(sized.speed)
    if rate is None:
        return _unknown_speed(candidate, "min-tokens-per-s", pool)
    if rate >= least:
        return None
    return Exclusion(
        model=candidate.id,
        constraint="min-tokens-per-s",
        reason=f"about {format_rate(rate)} tokens/s at {sized.precision}; {least:g} asked for",
        missed_by=f"{format_rate(least - rate)} tokens/s",
        passes_at=_passing(rate),
        distance=least / rate,
    )


def _passing(rate: float) -> str:
    """The rate as the option takes it, rounded down to two digits, so that a model of this median passes.

    >>> _passing(1.87), _passing(46.6), _passing(1234.5)
    ('1.8', '46', '1200')
    """
    step = 10.0 ** (floor(log10(rate)) - 1)
    return f"{floor(rate / step) * step:.2g}" if rate < 100 else f"{floor(rate / step) * step:.0f}"


def _unusable_rate(candidate: Candidate, sized: Sized, pool: Pool) -> Exclusion | None:
    """What is missed of a speed that anybody can use; an unknown one is no miss here."""
    if sized.speed is None or sized.speed.decode_tokens_per_s is None:
        return None
    best, median = sized.speed.decode_tokens_per_s.high, sized.speed.decode_tokens_per_s.median
    if best >= USABLE_TOKENS_PER_S:
        return None
    return Exclusion(
        model=candidate.id,
        constraint="usable-speed",
        reason=f"at most {format_rate(best)} tokens/s at {sized.precision} on {pool.machine.name}, slower than people read; "
        f"--min-tokens-per-s {_passing(median)} lets it in",
        missed_by=f"{format_rate(USABLE_TOKENS_PER_S - best)} tokens/s",
        passes_at=_passing(median),
        distance=USABLE_TOKENS_PER_S / best,
    )


def _long_wait(candidate: Candidate, sized: Sized, request: Request, pool: Pool) -> Exclusion | None:
    """What is missed of the time to the first token asked for."""
    most_s = request.max_ttft_s
    if most_s is None:
        return None
    load = load_of(request, pool.task, candidate)
    first_s = first_token_s(sized, load)
    if first_s is None:
        return _unknown_speed(candidate, "max-ttft", pool)
    if first_s <= most_s:
        return None
    thoughts = f" with {load.thinking_tokens:,} thinking tokens assumed" if load.thinking_tokens else ""
    return Exclusion(
        model=candidate.id,
        constraint="max-ttft",
        reason=f"about {format_seconds(first_s)} to the first token of the answer{thoughts}; "
        f"{format_seconds(most_s)} allowed",
        missed_by=format_seconds(first_s - most_s),
        passes_at=format_seconds(first_s),
        distance=first_s / most_s,
    )


def _unknown_speed(candidate: Candidate, constraint: str, pool: Pool) -> Exclusion:
    where = candidate.api.provider if candidate.api is not None else pool.machine.name
    return Exclusion(
        model=candidate.id, constraint=constraint, reason=f"its speed on {where} is not known; unknown is not a pass"
    )


def api_speed_exclusion(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    """An API model has no speed we know, so it can't meet a demand for one."""
    if request.min_tokens_per_s is not None:
        return _unknown_speed(candidate, "min-tokens-per-s", pool)
    if request.max_ttft_s is not None:
        return _unknown_speed(candidate, "max-ttft", pool)
    return None
