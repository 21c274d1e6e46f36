"""The estimate: weights, cache, activations and runtime of one model in one engine, as lines that sum to the totals.

The lines of phase `steady` sum to `steady_bytes`, and all lines to `peak_bytes`: a prefill line is what prefill holds
beyond the steady state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.layers import CrossAttention
from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.activations import SOURCE, Moment, Pass, decode_moment, images_per_sequence, prefill_moments
from fmkit.sizing.cache import cache_lines, prompt_kept_bytes
from fmkit.sizing.estimate import MemoryEstimate, MemoryLine, Phase
from fmkit.sizing.weights import weight_lines
from fmkit.units import ceil_div, format_bytes, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec, RuntimeCost
    from fmkit.sizing.estimate import Workload


def estimate(
    spec: ModelSpec,
    engine: EngineSpec,
    layout: Layout,
    precision: str,
    workload: Workload,
    machine: Machine | None = None,
) -> MemoryEstimate:
    """Memory of `spec` in `engine` at `layout` for `workload`; `fits` is judged where a machine is given.

    All bytes are for the whole model; `per_device_bytes` is the most loaded of the machine's devices.
    """
    dtype = cache_dtype(spec, layout)
    element_bytes = DTYPE_BYTES[dtype]
    encoder_tokens = encoder_tokens_for(spec, workload)
    weights = weight_lines(spec, layout)
    cache = cache_lines(spec, workload.context_tokens, encoder_tokens, workload.sequences, element_bytes)
    runtime = _runtime_lines(engine, machine)
    run = Pass(workload=workload, encoder_tokens=encoder_tokens, element_bytes=element_bytes, on_cpu=_is_cpu(machine))
    decode = _decode_lines(spec, run)
    steady = [*weights, *cache, *decode, *runtime]
    lines = (*steady, *_prefill_lines(spec, run, _total(cache), _total(decode)))
    steady_bytes = _total(steady)
    peak_bytes = _total(lines)
    low_bytes, high_bytes = _bounds(engine, lines)
    devices = machine.count if machine is not None else 1
    per_device = _per_device_bytes(spec, lines, devices)
    valid, warnings = _validity(spec, workload, encoder_tokens)
    budget = machine.usable_bytes * machine.count if machine is not None else None
    return MemoryEstimate(
        engine=engine.id,
        engine_version=engine.version,
        precision=precision,
        layout=layout.id,
        cache_dtype=dtype,
        context_tokens=workload.context_tokens,
        encoder_tokens=encoder_tokens,
        sequences=workload.sequences,
        tensor_parallel=1,
        pipeline_parallel=devices,
        valid=valid,
        weights_bytes=_total(weights),
        cache_bytes=_total(cache),
        steady_bytes=steady_bytes,
        peak_bytes=peak_bytes,
        low_bytes=low_bytes,
        high_bytes=high_bytes,
        reserved_bytes=0,
        per_device_bytes=per_device,
        lines=lines,
        fits=per_device <= machine.usable_bytes if machine is not None else None,
        budget_bytes=budget,
        warnings=warnings,
    )


def cache_dtype(spec: ModelSpec, layout: Layout) -> str:
    """The type of activations and cache: the layout's compute type, or the 16-bit type the config names."""
    if layout.compute_dtype != "auto":
        return layout.compute_dtype
    return layout.rest_dtype_for(spec.config_dtype)


def encoder_tokens_for(spec: ModelSpec, workload: Workload) -> int:
    """Tokens the decoder's cross-attention keeps: what the model fixes (Whisper 1500), else what was asked or the context.

    Where the decoder attends to an image tower (Llama 3.2 Vision), they are the tower's tokens of all images.
    """
    encoder = spec.stack("encoder") or spec.stack("audio")
    if spec.cached_stack is None:
        return 0
    if encoder is None:
        vision = spec.stack("vision")
        attends = any(isinstance(block.mixer, CrossAttention) for block in spec.cached_stack.blocks)
        return images_per_sequence(spec, workload) * (vision.fixed_tokens or 0) if attends and vision is not None else 0
    if encoder.fixed_tokens is not None:
        return encoder.fixed_tokens
    return workload.encoder_tokens if workload.encoder_tokens is not None else workload.context_tokens


def _total(lines: Iterable[MemoryLine]) -> int:
    return sum(line.bytes for line in lines)


def _is_cpu(machine: Machine | None) -> bool:
    """Whether the model runs on a CPU, where some attention calls have no fused kernel."""
    return (
        machine is not None
        and (machine.device is None or machine.device.device_class == "cpu")
        and machine.origin != "memory"
    )


def _decode_lines(spec: ModelSpec, run: Pass) -> list[MemoryLine]:
    moment = decode_moment(spec, run)
    if moment is None:
        return []
    return [_activation_line(moment, moment.bytes, "steady", moment.formula)]


def _prefill_lines(spec: ModelSpec, run: Pass, cache: int, decode: int) -> list[MemoryLine]:
    """What the worst moment of prefill holds beyond the steady state (`cache` + `decode` bytes), as lines."""
    kept = prompt_kept_bytes(spec, run.workload.context_tokens, run.sequences, run.element_bytes)

    def held(moment: Moment) -> int:
        return moment.bytes + (cache + kept if moment.holds_cache else 0)

    worst = max(prefill_moments(spec, run), key=held)
    beyond = max(0, held(worst) - cache - decode)
    kept_beyond = min(kept, beyond) if worst.holds_cache else 0
    lines = []
    if kept_beyond:
        lines.append(
            MemoryLine(
                part="cache: prompt kept after prefill",
                bytes=kept_beyond,
                phase="prefill",
                basis="formula",
                reason="sliding layers keep the whole prompt alive until the first decode step",
                source="transformers 5.23 DynamicSlidingWindowLayer; checked by filling a cache",
                formula=f"tokens beyond the window x bytes per token, over all sliding layers = {kept:,} B",
            )
        )
    if beyond > kept_beyond:
        counted = held(worst) - beyond
        formula = f"{worst.formula}; {counted:,} B of the moment's {held(worst):,} B are in the steady state"
        lines.append(_activation_line(worst, beyond - kept_beyond, "prefill", formula))
    return lines


def _activation_line(moment: Moment, count: int, phase: Phase, formula: str) -> MemoryLine:
    return MemoryLine(
        part=f"activations: {moment.name}",
        bytes=count,
        phase=phase,
        basis=moment.basis,
        reason=moment.reason,
        source=SOURCE,
        formula=formula,
    )


def _runtime_lines(engine: EngineSpec, machine: Machine | None) -> list[MemoryLine]:
    cost = runtime_cost(engine, machine)
    if cost is None or cost.bytes == 0:
        return []
    devices = machine.count if machine is not None else 1
    return [
        MemoryLine(
            part="runtime",
            bytes=cost.bytes * devices,
            phase="steady",
            basis="measured" if cost.basis == "measured" else "assumed",
            reason=cost.reason,
            source=cost.source,
            formula=f"{devices} x {format_bytes(cost.bytes)}, between {format_bytes(cost.low_bytes)} and {format_bytes(cost.high_bytes)}",
        )
    ]


def runtime_cost(engine: EngineSpec, machine: Machine | None) -> RuntimeCost | None:
    """What the engine's runtime takes on the machine's kind of device; the CPU's where the machine has no accelerator."""
    vendor = "nvidia" if machine is None or machine.origin == "memory" else "cpu"
    if machine is not None and machine.device is not None:
        vendor = machine.device.vendor
    return next((cost for cost in engine.runtime if cost.vendor == vendor), None)


def _bounds(engine: EngineSpec, lines: tuple[MemoryLine, ...]) -> tuple[int, int]:
    """Low and high of the peak: each line scaled by the measured error of its part, runtime by its own range."""
    factors = {bound.part: (bound.low, bound.high) for bound in engine.bounds}
    low = high = 0.0
    for line in lines:
        part = line.part.partition(":")[0]
        low_factor, high_factor = factors.get(part, (1.0, 1.0))
        low += line.bytes * low_factor
        high += line.bytes * high_factor
    peak = _total(lines)
    return min(int(low), peak), max(ceil_div(int(high * 1000), 1000), peak)


def _per_device_bytes(spec: ModelSpec, lines: tuple[MemoryLine, ...], devices: int) -> int:
    """The most loaded device when accelerate spreads whole layers over `devices`.

    Weights and cache are divided, rounded up by one block; activations and runtime are needed on each.
    """
    total = _total(lines)
    if devices == 1:
        return total
    divided = sum(line.bytes for line in lines if line.part.startswith(("weights", "cache")))
    runtime = sum(line.bytes for line in lines if line.part == "runtime")
    layers = max(1, sum(stack.layers for stack in spec.stacks))
    one_block = ceil_div(divided, layers)
    return ceil_div(divided, devices) + one_block + (total - divided - runtime) + ceil_div(runtime, devices)


def _validity(spec: ModelSpec, workload: Workload, encoder_tokens: int) -> tuple[bool, tuple[str, ...]]:
    warnings = []
    valid = True
    limit = spec.max_context_tokens
    if limit is not None and workload.context_tokens > limit:
        asked, most = format_tokens(workload.context_tokens), format_tokens(limit)
        if spec.context_is_hard:
            valid = False
            warnings.append(
                f"{asked} tokens are impossible: the model's limit is {most}; the bytes are arithmetic only"
            )
        else:
            warnings.append(f"{asked} tokens are beyond the {most} the model was made for; expect nonsense")
    encoder_limit = spec.encoder_max_tokens
    if encoder_limit is not None and encoder_tokens > encoder_limit:
        valid = False
        warnings.append(
            f"{format_tokens(encoder_tokens)} encoder tokens: the encoder's limit is {format_tokens(encoder_limit)}"
        )
    if workload.images and spec.image_tokens is None:
        warnings.append("the model takes no images, or how many tokens one takes is unknown: images are not counted")
    elif workload.images and spec.image_tokens and workload.images * spec.image_tokens > workload.context_tokens:
        need = workload.images * spec.image_tokens
        warnings.append(
            f"{workload.images} images take {need:,} tokens, more than the context of {workload.context_tokens:,}"
        )
    return valid, tuple(warnings)
