"""Hugging Face transformers 5.23: the cache grows by concatenation, sliding layers keep the prompt alive after prefill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.activations import (
    SOURCE,
    Moment,
    Pass,
    decode_moment,
    prefill_moments,
)
from fmkit.sizing.cache import cache_lines, prompt_kept_bytes
from fmkit.sizing.engines.plan import Plan, cache_dtype, encoder_tokens_for, total
from fmkit.sizing.estimate import MemoryLine, Phase
from fmkit.sizing.weights import weight_lines

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload


def plan(spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Plan:
    """What transformers holds beside the weights: cache, one decode step, and the worst moment of prefill beyond them."""
    if workload.options:
        raise UsageError(f"transformers has no engine option {next(iter(workload.options))!r}", where="--engine-option")
    dtype = cache_dtype(spec, layout)
    encoder_tokens = encoder_tokens_for(spec, workload)
    run = Pass(
        workload=workload, encoder_tokens=encoder_tokens, element_bytes=DTYPE_BYTES[dtype], on_cpu=is_cpu(machine)
    )
    cache = tuple(cache_lines(spec, workload.context_tokens, encoder_tokens, workload.sequences, run.element_bytes))
    decode = _decode_lines(spec, run)
    return Plan(
        cache_dtype=dtype,
        encoder_tokens=encoder_tokens,
        weights=tuple(weight_lines(spec, layout)),
        cache=cache,
        decode=decode,
        prefill=_prefill_lines(spec, run, total(cache), total(decode)),
    )


def is_cpu(machine: Machine | None) -> bool:
    """Whether the model runs on a CPU, where some attention calls have no fused kernel."""
    return (
        machine is not None
        and (machine.device is None or machine.device.device_class == "cpu")
        and machine.origin != "memory"
    )


def _decode_lines(spec: ModelSpec, run: Pass) -> tuple[MemoryLine, ...]:
    moment = decode_moment(spec, run)
    if moment is None:
        return ()
    return (_activation_line(moment, moment.bytes, "steady", moment.formula),)


def _prefill_lines(spec: ModelSpec, run: Pass, cache: int, decode: int) -> tuple[MemoryLine, ...]:
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
    return tuple(lines)


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
