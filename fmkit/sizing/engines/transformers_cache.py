"""The caches of transformers 5.23 beside the dynamic one: static (all of it from the first token on) and quantised.

Each answers what it holds while decoding, right after prefill, and for a moment in a decode step. All bytes are for all
sequences. Sources: transformers 5.23 `cache_utils.py`, optimum-quanto 0.2.7, hqq 0.2.8.post1; equal to filled caches to
the byte (tests/sizing/test_transformers_cache.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.model.attention import CompressedAttention, CrossAttention, FullAttention, LatentAttention
from fmkit.model.layers import parts_of
from fmkit.sizing.cache import ModelCache, cached_blocks
from fmkit.sizing.drafts import Line
from fmkit.sizing.engines.plan import total
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.forward import encoder_of
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engines.transformers_options import Settings
    from fmkit.sizing.forward import Pass

SOURCE = "transformers 5.23 cache_utils.py; equal to a filled cache to the byte (tests/sizing)"

CHUNKS = "--engine-option prefill_chunk_size"

LENGTH_BYTES = 8
"""A static layer keeps how many tokens it holds as one int64."""

SCALE_BYTES = 4
"""The FP8 cache keeps one float32 scale for all keys of a layer, and one for all values."""

QUANTISING = {"quanto": {2: 2.3, 4: 2.8}, "hqq": {2: 36.7, 4: 33.1}, "fp8": {2: 4.0, 4: -2.0}}
"""Bytes per element of one layer's keys that putting them away takes beside four tensors of the model's type, by
backend and that type's bytes. Measured with 1,151 tokens of 2 sequences (torch 2.13 on a CPU, 2026-11-27); HQQ refines
its scales in float32, FP8 needs fewer."""


class CachePlan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A cache of all sequences.

    `lines` are what is held while decoding; `prefill_bytes` what is held after prefill, of which `kept_bytes` are
    prompt that only sliding layers of a dynamic cache keep; `growth_bytes` and `quantising_bytes` what a decode step
    and prefill hold for a moment.
    """

    lines: tuple[Line, ...]
    prefill_bytes: int
    kept_bytes: int
    growth_bytes: int
    quantising_bytes: int = 0


def cache_plan(spec: ModelSpec, settings: Settings, run: Pass, cache: ModelCache | None = None) -> CachePlan:
    """The cache that the settings ask for; UsageError where transformers has none such for the model.

    `cache` is the model's, where it was worked out before.
    """
    cache = cache or ModelCache(spec)
    if settings.cache == "static":
        return _static(spec, settings, run, cache)
    if settings.cache == "quantized":
        return _quantised(spec, settings, run)
    if settings.chunk_tokens is not None and not reads_in_chunks(spec):
        raise UsageError("prefill in chunks is sized for decoders with full or sliding attention only", where=CHUNKS)
    tokens, sequences, size = run.workload.context_tokens, run.sequences, run.element_bytes
    kept = cache.prompt_kept_bytes(tokens, sequences, size, settings.chunk_tokens)
    lines = cache.lines(tokens, run.encoder_tokens, sequences, size)
    held = total(lines)
    if encoder_of(spec) is not None:  # whose decoder starts from one token
        held, kept = cache.bytes(1, run.encoder_tokens, sequences, size), 0
    return CachePlan(
        lines=lines,
        prefill_bytes=held + kept,
        kept_bytes=kept,
        growth_bytes=cache.growth_bytes(tokens, sequences, size),
    )


def reads_in_chunks(spec: ModelSpec) -> bool:
    """Whether all that the model keeps are keys and values of full or sliding attention."""
    blocks = cached_blocks(spec)
    return bool(blocks) and all(isinstance(b.mixer, FullAttention) and b.cross is None for b in blocks)


def _static(spec: ModelSpec, settings: Settings, run: Pass, cache: ModelCache) -> CachePlan:
    """Every layer holds all tokens that it will ever hold (a window at most), and grows in place."""
    mixers = [part for block in cached_blocks(spec) for part in parts_of(block.mixer) for _ in range(block.count)]
    if any(isinstance(mixer, CompressedAttention) for mixer in mixers):
        raise UsageError("compressed attention has no static cache", where="--engine-option cache")
    longest = settings.max_cache_tokens
    lines = cache.lines(longest, run.encoder_tokens, run.sequences, run.element_bytes)
    attentions = sum(
        isinstance(mixer, FullAttention | LatentAttention) and mixer.stored_tokens(1) > 0 for mixer in mixers
    )
    attentions += sum(block.count for block in cached_blocks(spec) if block.cross is not None)
    attentions += sum(isinstance(mixer, CrossAttention) for mixer in mixers)
    lengths = MemoryLine(
        part="cache: lengths",
        bytes=attentions * LENGTH_BYTES,
        phase="steady",
        basis="formula",
        reason=f"a static cache of {format_tokens(longest)} tokens counts its tokens on the device, in each layer",
        source=SOURCE,
        formula=f"{attentions} layers x {LENGTH_BYTES} B",
    )
    held = sum(line.bytes for line in lines) + lengths.bytes
    return CachePlan(lines=(*lines, lengths), prefill_bytes=held, kept_bytes=0, growth_bytes=0)


def _quantised(spec: ModelSpec, settings: Settings, run: Pass) -> CachePlan:
    """Tokens in groups of few bits, and the last ones as they are until there are `residual_tokens` of them.

    Bytes of a layer, with t tokens of which r are not yet quantised, e elements per token in keys and values, E =
    element_bytes and groups of g: (t - r) * e * (bits / 8 + 2 * E / g) + r * e * E. r is taken at its largest, one less
    than `residual_tokens`.
    """
    stack = spec.cached_stack
    blocks = cached_blocks(spec)
    if stack is None or any(block.cross is not None or type(block.mixer) is not FullAttention for block in blocks):
        raise UsageError("transformers has a quantised cache for full attention only", where="--engine-option cache")
    layers = [block.mixer for block in blocks for _ in range(block.count) if isinstance(block.mixer, FullAttention)]
    tokens, size = run.workload.context_tokens, run.element_bytes
    fp8 = settings.backend == "fp8"
    whole = 0 if fp8 else min(max(0, tokens - 1), settings.residual_tokens - 1)
    elements = sum(layer.token_bytes(1) for layer in layers) * run.sequences
    packed = _packed_bytes(elements * (tokens - whole), len(layers), settings, size)
    widest = max((layer.token_bytes(1) for layer in layers), default=0) * run.sequences * tokens
    working = int(widest // 2 * QUANTISING[settings.backend][size])
    lines = [
        MemoryLine(
            part="cache: quantised",
            bytes=packed,
            phase="steady",
            basis="formula",
            reason=f"{tokens - whole:,} tokens at {settings.bits} bits ({settings.backend})",
            source=SOURCE,
            formula=_packed_formula(elements * (tokens - whole), len(layers), settings, size, packed),
        )
    ]
    if whole:
        lines.append(
            MemoryLine(
                part="cache: not yet quantised",
                bytes=elements * whole * size,
                phase="steady",
                basis="formula",
                reason=f"the last {whole} tokens stay as they are until there are {settings.residual_tokens}",
                source=SOURCE,
                formula=f"{elements:,} elements a token x {whole} tokens x {size} B",
            )
        )
    return CachePlan(
        lines=tuple(lines),
        prefill_bytes=_packed_bytes(elements * tokens, len(layers), settings, size),
        kept_bytes=0,
        growth_bytes=2 * widest * size + working,  # one layer's keys and values as they were, and with the new token
        quantising_bytes=max(0, working),
    )


def _packed_bytes(elements: int, layers: int, settings: Settings, element_bytes: int) -> int:
    if settings.backend == "fp8":
        return elements + 2 * layers * SCALE_BYTES
    return elements * settings.bits // 8 + 2 * (elements // settings.group) * element_bytes


def _packed_formula(elements: int, layers: int, settings: Settings, element_bytes: int, total: int) -> str:
    if settings.backend == "fp8":
        return f"{elements:,} elements x 1 B + {layers} layers x 2 scales x {SCALE_BYTES} B = {total:,} B"
    scales = f"2 x {elements // settings.group:,} scales and zero points x {element_bytes} B"
    return f"{elements:,} elements x {settings.bits} bit / 8 + {scales} = {total:,} B"
