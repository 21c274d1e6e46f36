"""Hugging Face transformers 5.23: the cache grows by concatenation, sliding layers keep the prompt alive after prefill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.activations import decode_moment, prefill_moments
from fmkit.sizing.block_peaks import score_bytes
from fmkit.sizing.cache import cache_bytes
from fmkit.sizing.engines.plan import Plan, cache_dtype, encoder_tokens_for, is_cpu, total
from fmkit.sizing.engines.transformers_cache import CachePlan, cache_plan
from fmkit.sizing.engines.transformers_options import settings_from
from fmkit.sizing.estimate import MemoryLine, Phase
from fmkit.sizing.forward import Moment, Pass, encoder_of
from fmkit.sizing.held import without_fused_kernel
from fmkit.sizing.weights import weight_lines
from fmkit.units import GIB, format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import TracedPeaks, Workload


UNPACKED = ("bnb-nf4-dq", "bnb-nf4", "bnb-fp4")
"""Layouts whose matrices bitsandbytes unpacks on a GPU for a product over more than a few tokens."""

IN_INT8 = ("bnb-llm-int8",)
"""Layouts whose products bitsandbytes makes in 8 bit on a GPU."""


def plan(spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Plan:
    """What transformers holds beside the weights: cache, one decode step, and the worst moment of prefill beyond them."""
    settings = settings_from(workload.options, workload.context_tokens)
    dtype = cache_dtype(spec, layout)
    encoder_tokens = encoder_tokens_for(spec, workload)
    by_matrix = layout.id in (*UNPACKED, *IN_INT8) and not is_cpu(machine)
    quantised = _quantised_matrix_bytes(spec, layout) if by_matrix else 0
    run = Pass(
        workload=workload,
        encoder_tokens=encoder_tokens,
        element_bytes=DTYPE_BYTES[dtype],
        on_cpu=is_cpu(machine),
        all_logits=settings.all_logits,
        chunk_tokens=settings.chunk_tokens,
        unpacked_bytes=quantised if layout.id in UNPACKED else 0,
        in_int8=layout.id in IN_INT8 and quantised > 0,
    )
    cache = cache_plan(spec, settings, run)
    decode = _decode_lines(spec, run, cache)
    prefill = (*_prefill_lines(spec, run, cache, total(decode)), *_head_copies(spec, run, dtype))
    return Plan(
        cache_dtype=dtype,
        encoder_tokens=encoder_tokens,
        weights=weight_lines(spec, layout),
        cache=cache.lines,
        decode=decode,
        prefill=prefill,
        warnings=(
            *_score_warnings(spec, run, total(prefill)),
            *_int8_warnings(spec, layout, run, cache, decode, prefill),
        ),
    )


def _score_warnings(spec: ModelSpec, run: Pass, prefill_bytes: int) -> tuple[str, ...]:
    """A word where score matrices are most of what prefill takes, and what does without them. UsageError for flash attention that is not there."""
    eager = without_fused_kernel(spec)
    if eager is None:
        return ()
    if run.workload.attention == "flash" and not eager.flash:
        raise UsageError(
            f"transformers has no flash attention for {spec.model_type}: it computes its scores as matrices",
            where="--attention",
            next_command="leave out --attention, or read the prompt in pieces: --engine-option prefill_chunk_size=1024",
        )
    scores = score_bytes(spec, run)
    if scores < prefill_bytes // 2 or scores < MUCH_BYTES:
        return ()
    ways = [*(["--attention flash"] if eager.flash else []), "--engine-option prefill_chunk_size=1024"]
    said = f"{spec.model_type} has no fused attention in transformers by default: {format_bytes(scores)} of prefill are score matrices"
    return (f"{said}, which grow with tokens squared; without them: {' or '.join(ways)}",)


def _int8_warnings(
    spec: ModelSpec,
    layout: Layout,
    run: Pass,
    cache: CachePlan,
    decode: tuple[MemoryLine, ...],
    prefill: tuple[MemoryLine, ...],
) -> tuple[str, ...]:
    """A word where what products in 8 bit hold while the prompt is read exceeds what 8-bit weights save."""
    if not run.in_int8:
        return ()
    plain = _prefill_lines(spec, msgspec.structs.replace(run, in_int8=False), cache, total(decode))
    beyond = total(prefill) - total(plain)
    if beyond <= sum(group.elements for group in spec.tensors if layout.quantises(group)):
        return ()
    return (
        f"{layout.name} makes its products in int32, {format_bytes(beyond)} more than 16 bit while a prompt this long is read: more than its weights save",
    )


MUCH_BYTES = GIB
"""Score matrices below this are no reason for a warning."""


def _head_copies(spec: ModelSpec, run: Pass, dtype: str) -> tuple[MemoryLine, ...]:
    """On a CPU in bfloat16, the copies of the output matrix that the first token's logits are computed with: one per sequence.

    The last token's hidden states are a view of the prompt's, which PyTorch multiplies as a batch: it repeats the
    matrix for each sequence, inside the operation, where no allocation is seen. The heap keeps what prefill freed, so
    the process holds them beside it. Source: oneDNN's log of the product of a Qwen2.5-0.5B (1x1x896:1x896x151936), and
    the process peaks of benchmarks/trials.py.
    """
    stack = spec.cached_stack
    sliced = spec.logits_to_keep and not run.all_logits and run.workload.context_tokens > 1
    if not (run.on_cpu and dtype == "bfloat16" and sliced and spec.has_head and spec.vocab_size and stack is not None):
        return ()
    if encoder_of(spec) is not None:
        return ()
    each = spec.vocab_size * stack.hidden_dim * run.element_bytes
    return (
        MemoryLine(
            part="runtime: copies of the output matrix",
            bytes=run.sequences * each,
            phase="prefill",
            basis="formula",
            reason="on a CPU in bfloat16 PyTorch repeats the output matrix for each sequence to compute the first token's logits",
            source="oneDNN's log (torch 2.13), and process peaks of 7 trials in bfloat16 (benchmarks/trials.py)",
            formula=f"{run.sequences} x {spec.vocab_size:,} words x {stack.hidden_dim:,} x {run.element_bytes} B",
        ),
    )


def _quantised_matrix_bytes(spec: ModelSpec, layout: Layout) -> int:
    """Bytes in 16 bit of the largest matrix of a feed-forward that the layout quantises; 0 where it quantises none."""
    found = (
        group.elements // group.count
        for group in spec.tensors
        if group.part == "mlp" and len(group.shape) == 2 and layout.quantises(group)
    )
    return 2 * max(found, default=0)


def _decode_lines(spec: ModelSpec, run: Pass, cache: CachePlan) -> tuple[MemoryLine, ...]:
    moment = _traced_decode(spec, run) or decode_moment(spec, run, cache.growth_bytes)
    if moment is None:
        return ()
    return (_activation_line(moment, moment.bytes, "steady", moment.formula),)


def _prefill_lines(spec: ModelSpec, run: Pass, plan: CachePlan, decode: int) -> tuple[MemoryLine, ...]:
    """What the worst moment of prefill holds beyond the steady state (the cache's lines + `decode` bytes), as lines."""
    cache, kept = total(plan.lines), plan.kept_bytes

    def held(moment: Moment) -> int:
        return moment.bytes + (plan.prefill_bytes if moment.holds_cache else 0)

    traced = run.workload.traced
    if traced is not None:
        worst = _traced_prefill(traced, plan.prefill_bytes)
    else:
        moments = prefill_moments(spec, run, plan.quantising_bytes)
        if not moments:  # a device that holds no block and no head
            return ()
        worst = max(moments, key=held)
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


def _traced_prefill(traced: TracedPeaks, held: int) -> Moment:
    """The traced peak of prefill as a moment; `held` bytes of it are cache."""
    return Moment(
        name="prefill, traced",
        bytes=traced.prefill_bytes - held,
        basis="measured",
        reason="traced: the most that the real implementation holds at once",
        formula=f"{traced.prefill_bytes:,} B traced, {held:,} B of them cache",
        source=traced.source,
    )


def _traced_decode(spec: ModelSpec, run: Pass) -> Moment | None:
    """The traced peak of the step after prefill, less the cache of one token more."""
    traced = run.workload.traced
    if traced is None or traced.decode_bytes is None:
        return None
    held = cache_bytes(spec, run.workload.context_tokens + 1, run.encoder_tokens, run.sequences, run.element_bytes)
    return Moment(
        name="decode step, traced",
        bytes=max(0, traced.decode_bytes - held),
        basis="measured",
        reason="traced: one decode step of the real implementation, its logits once in float32",
        formula=f"{traced.decode_bytes:,} B traced - {held:,} B of cache",
        source=traced.source,
    )


def _activation_line(moment: Moment, count: int, phase: Phase, formula: str) -> MemoryLine:
    return MemoryLine(
        part=f"activations: {moment.name}",
        bytes=count,
        phase=phase,
        basis=moment.basis,
        reason=moment.reason,
        source=moment.source,
        formula=formula,
    )
