"""What to change when a model does not fit: each change alone, with what it saves and whether that is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.sizing.estimate import EXPERTS_WITH_HOST, Cut
from fmkit.sizing.search import largest
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fmkit.machine import Machine
    from fmkit.sizing.estimate import MemoryEstimate, Workload
    from fmkit.sizing.fit import Sizer

CACHE_TYPES = {"vllm": ("kv_cache_dtype",), "llama.cpp": ("cache_type_k", "cache_type_v")}
"""The options that choose the type of the cache, by engine."""

SMALLER_CACHES = {"vllm": ("fp8",), "llama.cpp": ("q8_0", "q4_0")}
"""Types of the cache smaller than 16 bit, the larger first."""

ENGINE_SETTINGS = {
    "vllm": (
        *[("max_num_seqs", str(count)) for count in (512, 256, 128, 64, 32)],
        ("gpu_memory_utilization", "0.95"),
    )
}
"""Settings that take less than an engine's defaults, or offer more, by engine; those that cost least first."""

MOST_DEVICES = 16
"""Devices of one kind that are tried."""


def cuts(sizer: Sizer, asked: MemoryEstimate, machine: Machine, smaller_precisions: Sequence[str]) -> tuple[Cut, ...]:
    """Changes that save memory on the most loaded device, what fits first, then what saves most.

    `asked` is the estimate that does not fit; `smaller_precisions` have fewer bits than it.
    """
    found = [
        cut
        for make in (_context, _sequences, _cache_type, _offload, host_experts, tensor_parallel, engine_setting)
        if (cut := make(sizer, asked, machine)) is not None
    ]
    found.extend(_precisions(sizer, asked, machine, smaller_precisions))
    return tuple(sorted(found, key=lambda cut: (not cut.fits, -cut.saves_bytes)))


def _cut(change: str, option: str, asked: MemoryEstimate, then: MemoryEstimate) -> Cut | None:
    saved = asked.per_device_bytes - then.per_device_bytes
    if then.refused is not None or (saved <= 0 and not then.fits):
        return None
    return Cut(change=change, option=option, saves_bytes=max(0, saved), fits=bool(then.fits))


def _context(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    """The longest context that fits, or what a single token would save."""
    if not asked.cache_bytes and asked.peak_bytes == asked.steady_bytes:
        return None

    def at(tokens: int) -> MemoryEstimate:
        return sizer(asked.precision, tokens, asked.sequences, machine)

    tokens = largest(lambda tokens: bool(at(tokens).fits), asked.context_tokens)
    if tokens is None:
        return _cut("context to a single token", "--context 1", asked, at(1))
    return _cut(f"context to {format_tokens(tokens)} tokens", f"--context {tokens}", asked, at(tokens))


def _sequences(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    if asked.sequences == 1:
        return None

    def at(count: int) -> MemoryEstimate:
        return sizer(asked.precision, asked.context_tokens, count, machine)

    count = largest(lambda count: bool(at(count).fits), asked.sequences) or 1
    return _cut(f"sequences to {count:,}", f"--sequences {count}", asked, at(count))


def _cache_type(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    """The largest of the smaller cache types that is enough, else the smallest."""
    names = CACHE_TYPES.get(asked.engine, ())
    if not names or not asked.cache_bytes or any(name in sizer.workload.options for name in names):
        return None
    last = None
    for kind in SMALLER_CACHES[asked.engine]:
        changed = _with_options(sizer, dict.fromkeys(names, kind))
        then = changed(asked.precision, asked.context_tokens, asked.sequences, machine)
        last = _cut(f"cache at {kind}", f"--kv-dtype {kind}", asked, then)
        if then.fits:
            return last
    return last


def _offload(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    """Weights to main memory, where the device has memory of its own and the engine can."""
    device = machine.device
    if sizer.workload.offload is not None or asked.engine == "vllm" or asked.tensor_parallel > 1 or asked.host_is_used:
        return None
    if machine.origin == "memory" or device is None or device.unified_memory or device.device_class == "cpu":
        return None
    changed = sizer.with_workload(msgspec.structs.replace(sizer.workload, offload="cpu"))
    then = changed(asked.precision, asked.context_tokens, asked.sequences, machine)
    return _cut("weights to main memory, slowly", "--offload", asked, then)


def host_experts(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    """The experts of as few layers as are enough to main memory: of a mixture in llama.cpp that lies nowhere but on its device."""
    given = {"gpu_layers", "n_cpu_moe"} & set(sizer.workload.options)
    if asked.engine != "llama.cpp" or asked.host is None or asked.host_is_used or given:
        return None
    then = _with_options(sizer, {"n_cpu_moe": "auto"})(asked.precision, asked.context_tokens, asked.sequences, machine)
    lines = then.host.lines if then.host is not None else ()
    held = sum(line.bytes for line in lines if line.part == EXPERTS_WITH_HOST)
    if not held:
        return None
    return _cut(f"{format_bytes(held)} of experts in main memory", "--engine-option n_cpu_moe=auto", asked, then)


def tensor_parallel(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    """The fewest of the machine's own devices that hold it together, for an engine that takes one unless told otherwise."""
    if asked.engine != "vllm" or machine.count == 1 or not leaves_division(sizer.workload):
        return None
    tokens, count = asked.context_tokens, asked.sequences
    ranks = range(2, machine.count + 1)
    fewest = fewest_devices(sizer, asked.precision, tokens, count, lambda _: machine, counts=ranks)
    if fewest is None:
        return None
    changed = sizer.with_workload(msgspec.structs.replace(sizer.workload, tensor_parallel=fewest))
    then = changed(asked.precision, tokens, count, machine)
    return _cut(f"each layer over {fewest} of the devices", f"--tensor-parallel {fewest}", asked, then)


def engine_setting(sizer: Sizer, asked: MemoryEstimate, machine: Machine) -> Cut | None:
    """The first of the engine's settings that is enough alone; one that was given is left as it is.

    A server that runs fewer sequences at once than are asked for is no answer.
    """
    for name, value in ENGINE_SETTINGS.get(asked.engine, ()):
        if name in sizer.workload.options or (name == "max_num_seqs" and int(value) < asked.sequences):
            continue
        then = _with_options(sizer, {name: value})(
            asked.precision, asked.context_tokens, asked.sequences, machine
        )  # fmt: skip
        if then.fits:
            return _cut(f"{name} of {value}", f"--engine-option {name}={value}", asked, then)
    return None


def _precisions(sizer: Sizer, asked: MemoryEstimate, machine: Machine, smaller: Sequence[str]) -> Iterator[Cut]:
    for name in smaller:
        then = sizer(name, asked.context_tokens, asked.sequences, machine)
        cut = _cut(f"weights at {name.upper()}", f"--precision {name}", asked, then)
        if cut is not None:
            yield cut


def _with_options(sizer: Sizer, options: dict[str, str]) -> Sizer:
    workload = sizer.workload
    return sizer.with_workload(msgspec.structs.replace(workload, options={**workload.options, **options}))


def most_gpu_layers(sizer: Sizer, asked: MemoryEstimate, machine: Machine, layers: int) -> int | None:
    """The most `gpu_layers` of llama.cpp that fit on the device, the output matrix counted as one; None for other engines."""
    if asked.engine != "llama.cpp" or asked.host is None:
        return None

    def fits(count: int) -> bool:
        found = _with_options(sizer, {"gpu_layers": str(count - 1)})(
            asked.precision, asked.context_tokens, asked.sequences, machine
        )
        return bool(found.fits)

    found = largest(fits, layers + 2)
    return None if found is None else found - 1


def fewest_devices(
    sizer: Sizer,
    precision: str,
    context_tokens: int,
    sequences: int,
    of: Callable[[int], Machine | None],
    counts: Sequence[int] = range(1, MOST_DEVICES + 1),
) -> int | None:
    """How many devices of one kind hold it, in the way its engine divides a model; None where none of `counts` do.

    vLLM: tensor parallel, by the degrees that are possible; others: as they divide layers over what is there.
    """
    for count in counts:
        machine = of(count)
        if machine is None:
            continue
        changed = sizer
        if sizer.engine == "vllm":
            changed = sizer.with_workload(msgspec.structs.replace(sizer.workload, tensor_parallel=count))
        try:
            found = changed(precision, context_tokens, sequences, machine)
        except UsageError:
            continue  # it does not divide so
        if found.fits:
            return count
    return None


def leaves_division(workload: Workload) -> bool:
    """Whether the workload leaves it to the engine how the model is divided."""
    return max(workload.tensor_parallel, workload.pipeline_parallel, workload.expert_parallel) == 1
