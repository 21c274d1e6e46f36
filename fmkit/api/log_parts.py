"""What of an estimate a line of a start-up log is to be held against, per engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.accuracy.vllm import bytes_of_tokens, rank_groups
from fmkit.model.attention import FullAttention, LatentAttention, SlidingAttention
from fmkit.model.layers import parts_of as mixers_of
from fmkit.sizing.cache import cached_blocks
from fmkit.sizing.logs.llama_cpp import devices_without, is_host
from fmkit.sizing.logs.log import Figure, StartupLog
from fmkit.sizing.parallel import rank_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate, Workload


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the log and the predicted bytes of the same; None for what fmkit does not predict.

    `bounds_of` is the part of the engine's file that states its bounds.
    """

    part: str
    actual: Figure
    bytes: int | None
    reason: str
    bounds_of: str | None = None


def parts_of(
    log: StartupLog,
    spec: ModelSpec,
    estimate: MemoryEstimate,
    workload: Workload,
    *,
    exact: bool,
    card_known: bool,
) -> list[Predicted]:
    """The log's figures with what is predicted for each, in the order of the estimate.

    What vLLM leaves for the cache is predicted where the card is known, not assumed.
    """
    if log.engine == "llama.cpp":
        return list(_llama_cpp(log, estimate, exact=exact))
    rank = rank_spec(spec, log.tensor_parallel)
    if log.engine == "vllm":
        room = _room(log, rank, estimate, workload) if card_known else ()
        return [*_vllm(log, rank, estimate, workload), *room]
    return list(_sglang(log, rank, estimate))


def _line_bytes(estimate: MemoryEstimate, *starts: str) -> int:
    return sum(line.bytes for line in estimate.lines if line.part.startswith(starts))


def _of_rank(estimate: MemoryEstimate, size: int) -> int:
    return size // (estimate.tensor_parallel * estimate.pipeline_parallel)


def _vllm(log: StartupLog, rank: ModelSpec, estimate: MemoryEstimate, workload: Workload) -> Iterator[Predicted]:
    """Per device: weights, start-up profile, what lies outside of PyTorch, graphs, and the bytes of the tokens that the cache holds."""
    weights = max(device.weights_bytes for device in estimate.devices)
    activations = _of_rank(estimate, _line_bytes(estimate, "activations"))
    outside = _of_rank(estimate, sum(line.bytes for line in estimate.lines if line.part == "runtime"))
    graphs = _of_rank(estimate, _line_bytes(estimate, "runtime: CUDA graphs"))
    for name, part, size, reason, bounds in (
        ("weights", "weights", weights, "weights and rotary table of one device", "weights"),
        ("activations", "start-up profile", activations, _reason(estimate, "activations"), "activations"),
        ("non-torch", "outside of PyTorch", outside, "CUDA context and libraries", "runtime"),
        ("graphs", "CUDA graphs", graphs, "the median of five logs", "runtime"),
    ):
        actual = log.most(name) or (log.most("graphs expected") if name == "graphs" else None)
        if actual is not None:
            yield Predicted(part=part, actual=actual, bytes=size, reason=reason, bounds_of=bounds)
    available = min(log.parts("available"), key=lambda each: each.bytes, default=None)
    if available is not None and log.kv_tokens and available.bytes > 0:
        size = round(bytes_of_tokens(rank, estimate, workload.options, available.bytes, log.kv_tokens))
        reason = f"what {log.kv_tokens:,} tokens take; all that was left was given to the cache"
        yield Predicted(part="cache", actual=available, bytes=size, reason=reason, bounds_of="cache")
    if log.concurrency is not None and log.kv_tokens:
        yield from _concurrency(log, rank, estimate, workload)


def _room(log: StartupLog, rank: ModelSpec, estimate: MemoryEstimate, workload: Workload) -> Iterator[Predicted]:
    """What is left of one device's budget for the cache, beside what the log left, or what its blocks take."""
    needed = _line_bytes(estimate, "activations") + sum(line.bytes for line in estimate.lines if line.part == "runtime")
    beside_weights = min((device.budget_bytes or 0) - device.weights_bytes for device in estimate.devices)
    left = beside_weights - _of_rank(estimate, needed)
    actual = min(log.parts("available"), key=lambda each: each.bytes, default=None)
    if actual is None and log.kv_tokens and left > 0:
        size = round(bytes_of_tokens(rank, estimate, workload.options, left, log.kv_tokens))
        actual = Figure(part="available", bytes=size, line=f"{log.kv_tokens:,} tokens in blocks")
    if actual is not None:
        share = workload.options.get("gpu_memory_utilization", "0.9, the default,")
        reason = f"{share} of the card less weights, profile and context; no bounds are stated for it"
        yield Predicted(part="room for the cache", actual=actual, bytes=max(left, 0), reason=reason)


def _concurrency(log: StartupLog, rank: ModelSpec, estimate: MemoryEstimate, workload: Workload) -> Iterator[Predicted]:
    """The bytes of one request of the length that the log names, and what its `Maximum concurrency` implies for it."""
    stated, tokens = log.concurrency or (0.0, 0)
    available = min(log.parts("available"), key=lambda each: each.bytes, default=None)
    if available is None or available.bytes <= 0 or stated <= 0 or tokens != estimate.context_tokens:
        return
    request = sum(group.sequence_bytes for group in rank_groups(rank, estimate, workload.options))
    implied = msgspec.structs.replace(
        available,
        bytes=round(available.bytes / stated),
        rounding_bytes=round(available.bytes / stated * 0.005 / stated),
    )
    reason = f"one request of {tokens:,} tokens; the log has room for {stated:g} of them"
    yield Predicted(part="cache of one request", actual=implied, bytes=request, reason=reason, bounds_of="cache")


def _reason(estimate: MemoryEstimate, start: str) -> str:
    return next((line.reason for line in estimate.lines if line.part.startswith(start)), "")


def _sglang(log: StartupLog, rank: ModelSpec, estimate: MemoryEstimate) -> Iterator[Predicted]:
    """Per device: weights, and the bytes of the tokens that each pool holds. fmkit has no further rules for SGLang."""
    weights = log.most("weights")
    if weights is not None:
        size = _of_rank(estimate, _line_bytes(estimate, "weights") - _line_bytes(estimate, "weights: rotary table"))
        reason = "weights of one device; the log counts what else loading took"
        yield Predicted(part="weights", actual=weights, bytes=size, reason=reason, bounds_of="weights")
    pools: dict[str, Figure] = {each.part: each for each in log.figures if each.part.startswith("cache ")}
    windowed = int(log.facts.get("swa_layer_tokens", "0"))
    for part, actual in pools.items():
        tokens = int(part.split()[1])
        layers = None if not windowed else "sliding" if tokens == windowed else "full"
        element = 1 if "float8" in log.facts.get("kv_dtype", "") else 2
        size = _token_bytes(rank, element, layers) * tokens
        name = "cache" if layers is None else f"cache of {layers} layers"
        yield Predicted(
            part=name, actual=actual, bytes=size or None, reason=f"{tokens:,} tokens held at once", bounds_of="cache"
        )
    for name in ("graphs", "state"):
        actual_other = log.most(name)
        if actual_other is not None:
            yield Predicted(part=name, actual=actual_other, bytes=None, reason="fmkit has no rule of SGLang's for it")


def _token_bytes(rank: ModelSpec, element_bytes: int, layers: str | None) -> int:
    """Keys and values of one token in all layers, or in those with a window, or in those without."""
    total = 0
    for block in cached_blocks(rank):
        for mixer in mixers_of(block.mixer):
            if not isinstance(mixer, FullAttention | LatentAttention):
                continue
            kind = "sliding" if isinstance(mixer, SlidingAttention) else "full"
            if layers in (None, kind):
                total += block.count * mixer.token_bytes(element_bytes)
    return total


def _llama_cpp(log: StartupLog, estimate: MemoryEstimate, *, exact: bool) -> Iterator[Predicted]:
    """Over all devices: weights, cache, state and compute buffers; then what lies with the host."""
    alone = all(is_host(each.device) for each in log.figures)
    sums = (
        ("weights", "weights", _line_bytes(estimate, "weights") if exact else None, "weights"),
        ("cache", "cache", _line_bytes(estimate, "cache") - _line_bytes(estimate, "cache: recurrent"), "cache"),
        ("state", "recurrent state", _line_bytes(estimate, "cache: recurrent"), "cache"),
        ("activations", "compute buffers", _line_bytes(estimate, "activations: compute buffer"), "activations"),
    )
    for name, part, size, bounds in sums:
        actual = _summed(each for each in log.parts(name) if alone or not is_host(each.device))
        if actual is not None:
            unknown = "a mix that follows no rule: only the file's header knows its bytes"
            reason = unknown if size is None else _devices(log, name, alone=alone)
            cut = devices_without(log.figures, name)
            if cut:
                reason = f"{reason} alone: the log has none of {', '.join(cut)}"
            yield Predicted(part=part, actual=actual, bytes=None if cut else size, reason=reason, bounds_of=bounds)
    if not alone:
        yield from _llama_cpp_host(log, estimate, exact=exact)


def _llama_cpp_host(log: StartupLog, estimate: MemoryEstimate, *, exact: bool) -> Iterator[Predicted]:
    """What lies in main memory beside the devices."""
    host = estimate.host.lines if estimate.host is not None else ()
    for name, part in (
        ("weights", "weights with the host"),
        ("cache", "cache with the host"),
        ("activations", "host's compute buffer"),
    ):
        actual = _summed(each for each in log.parts(name) if is_host(each.device))
        if actual is None:
            continue
        size = sum(line.bytes for line in host if line.part.startswith(name)) if name != "activations" else 0
        known = size if size and exact else None
        reason = "embedding, and layers that are not off-loaded" if name == "weights" else "in main memory"
        yield Predicted(part=part, actual=actual, bytes=known, reason=reason, bounds_of=name if known else None)


def _summed(figures: Iterable[Figure]) -> Figure | None:
    """Buffers of one part over all devices; None where there are none."""
    found = list(figures)
    if not found:
        return None
    largest = max(found, key=lambda each: each.bytes)
    return msgspec.structs.replace(
        largest, bytes=sum(each.bytes for each in found), rounding_bytes=sum(each.rounding_bytes for each in found)
    )


def _devices(log: StartupLog, name: str, *, alone: bool) -> str:
    names = dict.fromkeys(each.device for each in log.parts(name) if alone or not is_host(each.device))
    return f"on {', '.join(names)}"
