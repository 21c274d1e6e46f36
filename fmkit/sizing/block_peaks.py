"""The largest moment of a block: feed-forward, attention, scans, and what quantised products and chunks hold beside.

Bytes of a moment = tokens of all sequences x (sum of multiples x widths) x bytes per element + what grows with tokens
squared (score matrices without a fused kernel, T5's position bias).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fmkit.model.layers import FullAttention, LatentAttention, parts_of
from fmkit.sizing.beside_blocks import (
    encoded_bytes,
    image_bytes,
    mask_bytes,
    mask_copy_bytes,
    per_layer_bytes,
    positions_bytes,
)
from fmkit.sizing.forward import Moment, Pass, stack_tokens
from fmkit.sizing.held import (
    held_bytes,
    is_chunked,
    is_fused,
    keys_of,
    mlp_bytes,
    running_as,
    square_bytes,
    terms,
    widths,
)
from fmkit.sizing.implementations import CHUNKED, EAGER, INDEXER, QUANTISING, Held, Implementation
from fmkit.sizing.scans import is_scan, scan_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, Stack


def block_moment(
    spec: ModelSpec, stack: Stack, block: Block, tokens: int, run: Pass, quantising_bytes: int = 0
) -> Moment:
    """The most that a block holds, `tokens` tokens of each sequence at once, with positions and masks."""
    implementation, known = running_as(spec, stack, block, run)
    rows = run.sequences * tokens
    worst = max(_candidates(stack, block, implementation, tokens, run, quantising_bytes), key=lambda found: found.bytes)
    where, inside, held = worst.name, worst.bytes, worst.held
    if held is None:
        formula = f"{inside:,} B of scan"
    else:
        formula = f"{rows:,} tokens x ({', '.join(terms(stack, block, held))}) x {run.element_bytes} B{worst.beside}"
    total = inside + positions_bytes(spec, stack, implementation, tokens, run) + image_bytes(spec, stack, run)
    total += mask_bytes(stack, implementation, tokens, run)
    total += per_layer_bytes(spec, stack, rows, run) + encoded_bytes(spec, stack, block, run)
    assumed = "" if known else f"; the pattern of Llama is assumed for {stack.implementation or spec.model_type}"
    return Moment(
        name=_STACK_NAMES.get(stack.role, "prefill"),
        bytes=total,
        basis="formula" if known else "assumed",
        reason=f"peaks in the {where} of a block, {rows:,} tokens at once{assumed}",
        formula=f"{formula} + squares, masks and positions = {total:,} B",
        holds_cache=stack.role == "decoder",
    )


_STACK_NAMES = {"vision": "vision tower", "audio": "audio encoder", "encoder": "encoder", "qformer": "Q-Former"}


class Candidate(NamedTuple):
    """A moment of a block: the multiples its bytes come from (None: a scan), and what the formula has beside them."""

    name: str
    bytes: int
    held: Held | None
    beside: str = ""


def _candidates(
    stack: Stack, block: Block, implementation: Implementation, tokens: int, run: Pass, quantising_bytes: int
) -> Iterator[Candidate]:
    """The moments of a block that may be its largest."""
    for part in parts_of(block.mixer):
        if is_scan(part):
            inside = scan_bytes(
                part,
                stack.hidden_dim,
                tokens,
                run.sequences,
                run.element_bytes,
                fused_projection=implementation.fused_projection,
            )
            yield Candidate("scan (no fused kernel installed)", inside, None)
    bias = 0
    if implementation.position_bias:
        bias = getattr(block.mixer, "query_heads", 0) * tokens * tokens * run.element_bytes
    inner = mlp_bytes(stack, block, implementation, run.sequences * tokens, run)
    yield Candidate(
        "feed-forward", inner + square_bytes(block, implementation.mlp, tokens, run) + bias, implementation.mlp
    )
    yield from _quantised_products(stack, block, implementation, run.sequences * tokens, inner, run)
    # inside the attention call a bias or a window's mask is copied
    copies = 2 * bias + (mask_copy_bytes(block, tokens, run) if is_fused(implementation, run) else 0)
    mixer = block.mixer
    if isinstance(mixer, LatentAttention) and mixer.index_dim:
        rows = run.sequences * tokens
        yield Candidate(
            "indexer", held_bytes(stack, block, INDEXER, rows, run) + _indexer_bytes(mixer, tokens, run), INDEXER
        )
    if is_chunked(stack, tokens, run) and is_fused(implementation, run):
        inside = held_bytes(stack, block, CHUNKED, run.sequences * tokens, run) + _chunk_bytes(block, tokens, run)
        yield Candidate("attention to the chunks before", inside, CHUNKED)
    if quantising_bytes:
        inside = held_bytes(stack, block, QUANTISING, run.sequences * tokens, run) + quantising_bytes
        yield Candidate("quantising of the keys", inside, QUANTISING)
    for held in _attention_moments(implementation, block, run):
        inside = _attention_bytes(stack, block, held, tokens, implementation.relative_rows, run)
        yield Candidate("attention", inside + copies, held)


def _quantised_products(
    stack: Stack, block: Block, implementation: Implementation, rows: int, inner: int, run: Pass
) -> Iterator[Candidate]:
    """What the product over a quantised matrix of the feed-forward (`inner` bytes at its largest) holds beside its ends.

    The product of the two halves is not there yet. Unpacked: the matrix in 16 bit, for as long as the product takes;
    112 MiB for 4096 x 14336, equal to the peak on an H100 within 0.3 MiB at 512 tokens
    (benchmarks/results/gpu-trials-h100.json). In 8 bit: the result in int32, and the input in int8 and float16
    (bitsandbytes 0.50 MatMul8bitLt); columns of outliers come on top, how many depends on the weights.
    """
    mlp = block.mlp
    if mlp is None or mlp.experts:
        return
    before = inner - rows * mlp.ffn_dim * run.element_bytes
    if run.unpacked_bytes:
        beside = (
            f" - {rows:,} x {mlp.ffn_dim:,} x {run.element_bytes} B + {run.unpacked_bytes:,} B of an unpacked matrix"
        )
        yield Candidate("feed-forward, a matrix unpacked,", before + run.unpacked_bytes, implementation.mlp, beside)
    if run.in_int8:
        wide = rows * (mlp.ffn_dim * 4 + stack.hidden_dim * (1 + 2))
        beside = f" - {rows:,} x {mlp.ffn_dim:,} x {run.element_bytes} B + {wide:,} B of products in int32 and inputs in int8 and float16"
        yield Candidate("feed-forward, in 8 bit,", before + wide, implementation.mlp, beside)


def _indexer_bytes(mixer: LatentAttention, tokens: int, run: Pass) -> int:
    """The float32 scores of DeepSeek's indexer, whose heads are half as many as the queries' in what was published with one.

    One sequence holds them twice (before and after scaling); more make PyTorch copy the indexer's keys for every token.
    Source: trace of `GlmMoeDsaIndexer` in transformers 5.23.
    """
    heads = mixer.query_heads // 2
    copied = heads if run.sequences == 1 else mixer.index_dim
    return run.sequences * tokens * tokens * (heads + copied) * 4


def _chunk_bytes(block: Block, tokens: int, run: Pass) -> int:
    """Keys and values repeated per query head, the mask as numbers, and a float32 sum per query.

    PyTorch's fused call repeats shared heads as soon as it is given a mask. Source: traces of chunked passes of
    transformers 5.23.
    """
    mixer = block.mixer
    assert isinstance(mixer, FullAttention)  # what prefill in chunks is sized for
    keys = keys_of(mixer, tokens, run)
    query, key = widths(block)
    repeated = 2 * query * keys if query > key else 0
    return run.sequences * ((repeated + tokens * keys) * run.element_bytes + mixer.query_heads * tokens * 4)


def _attention_moments(implementation: Implementation, block: Block, run: Pass) -> tuple[Held, ...]:
    """What attention holds in the attention implementation asked for, on the machine it runs on."""
    if implementation.fused and run.workload.attention == "eager":
        return EAGER
    several_keys = isinstance(block.mixer, FullAttention) and block.mixer.kv_heads > 1
    if implementation.fused and run.on_cpu and implementation.cpu_attention and not several_keys:
        return implementation.cpu_attention
    return implementation.attention


def _attention_bytes(stack: Stack, block: Block, held: Held, tokens: int, relative_rows: int, run: Pass) -> int:
    """One moment of attention, with DeBERTa's relative positions where the implementation has them.

    Those are the table once and twice per sequence, three int64 and one float32 matrices of tokens x tokens, and heads
    x tokens x rows of scores against the table. Source: trace of `DisentangledSelfAttention` in transformers 5.23.
    """
    total = held_bytes(stack, block, held, run.sequences * tokens, run) + square_bytes(block, held, tokens, run)
    if relative_rows:
        heads = getattr(block.mixer, "query_heads", 0)
        table = relative_rows * stack.hidden_dim * run.element_bytes * (1 + 2 * run.sequences)
        against = int(held.relative * run.sequences * heads * tokens * relative_rows * run.element_bytes)
        total += table + against + tokens * tokens * (3 * 8 + 4 * run.sequences)
    return total


def score_bytes(spec: ModelSpec, run: Pass) -> int:
    """The most bytes of tokens x tokens matrices that attention holds at once, over all stacks; 0 where every call is fused."""
    return max(
        (
            square_bytes(block, held, tokens, run)
            for stack in spec.stacks
            if (tokens := stack_tokens(spec, stack, run))
            for block in stack.blocks
            for held in _attention_moments(running_as(spec, stack, block, run)[0], block, run)
        ),
        default=0,
    )
