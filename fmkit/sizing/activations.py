"""Activations: the most memory a forward pass holds beside the weights, as transformers 5.23 runs it.

Bytes of a moment = tokens of all sequences x (sum of multiples x widths) x bytes per element + what grows with tokens squared
(score matrices without a fused kernel, explicit window masks, T5's position bias) + positions. The multiples are in
`fmkit.sizing.implementations`, with their source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.model.layers import (
    CompressedAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
    SlidingAttention,
    parts_of,
)
from fmkit.sizing.implementations import (
    ASSUMED,
    CHUNKED,
    EAGER,
    INDEXER,
    QUANTISING,
    Held,
    Implementation,
    implementation_of,
)
from fmkit.sizing.scans import is_scan, scan_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, Stack
    from fmkit.sizing.estimate import Basis, Workload

SOURCE = "multiples read from traces of transformers 5.23 (tests/sizing/test_activations.py)"


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What all moments of one forward pass share: the work, the width of an element, and whether it runs on a CPU.

    `all_logits` asks for every token's logits; `chunk_tokens` is how many tokens of a decoder's prompt are read at once, None for all.
    `unpacked_bytes` is the largest matrix of a feed-forward that is unpacked to 16 bit for its product, `in_int8` says that products are
    made in 8 bit.
    """

    workload: Workload
    encoder_tokens: int
    element_bytes: int
    on_cpu: bool
    all_logits: bool = False
    chunk_tokens: int | None = None
    unpacked_bytes: int = 0
    in_int8: bool = False

    @property
    def sequences(self) -> int:
        """Sequences processed at once."""
        return self.workload.sequences


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a forward pass and the bytes it holds beside weights and cache.

    `holds_cache` is False for a moment before the cache exists: an encoder, a vision tower.
    """

    name: str
    bytes: int
    basis: Basis
    reason: str
    formula: str
    holds_cache: bool = True
    source: str = SOURCE


def prefill_moments(spec: ModelSpec, run: Pass, quantising_bytes: int = 0) -> list[Moment]:
    """The moments at which processing the input may peak.

    A decoder's prompt is the whole context; the decoder of an encoder-decoder starts from one token, and its encoder reads
    `encoder_tokens`. `quantising_bytes` are what putting one layer's keys away takes, in the layer's attention. Bytes are for all sequences.
    """
    moments = [
        block_moment(spec, stack, block, tokens, run, quantising_bytes if stack.role == "decoder" else 0)
        for stack in spec.stacks
        if (tokens := stack_tokens(spec, stack, run))
        for block in stack.blocks
    ]
    if spec.has_head and spec.vocab_size and spec.kind != "clip":
        moments.append(_logits_moment(spec, run))
    return moments


def decode_moment(spec: ModelSpec, run: Pass, growth: int) -> Moment | None:
    """What one decode step holds beside weights and cache; None for a model that does not decode.

    Bytes = the larger of one token through a block while its cache grows (`growth` bytes) and the logits after all blocks
    (in the model's type and once in float32 for sampling) + an encoder's output, which stays alive while the decoder runs.
    """
    stack = spec.cached_stack
    if stack is None:
        return None
    steps = (
        _mlp_bytes(stack, block, _implementation(spec, stack, block, run)[0], run.sequences, run)
        for block in stack.blocks
    )
    step = max(steps, default=0)  # no blocks: a device with the embedding or the head alone
    logits = run.sequences * (spec.vocab_size or 0) * (run.element_bytes + 4)
    encoder = encoder_of(spec)
    encoded = run.sequences * run.encoder_tokens * encoder.hidden_dim * run.element_bytes if encoder is not None else 0
    total = max(growth + step, logits) + encoded
    tail = f" + {encoded:,} B encoder output" if encoded else ""
    return Moment(
        name="decode step",
        bytes=total,
        basis="formula",
        reason="one token's activations and one layer's keys held twice while they grow, or the logits",
        formula=f"the larger of {growth:,} B growth + {step:,} B step and {logits:,} B logits{tail} = {total:,} B",
    )


def stack_tokens(spec: ModelSpec, stack: Stack, run: Pass) -> int:
    """Tokens of one sequence that pass through a stack at once during prefill; 0 if the workload does not touch it."""
    if stack.role in ("vision", "qformer"):
        return (stack.fixed_tokens or 0) * images_per_sequence(spec, run.workload)
    if stack.fixed_tokens is not None:
        return stack.fixed_tokens
    if stack.role == "decoder":
        prompt = run.workload.context_tokens
        return 1 if encoder_of(spec) is not None else min(prompt, run.chunk_tokens or prompt)
    if stack.role == "encoder" and spec.cached_stack is not None:
        return run.encoder_tokens
    limit = stack.max_tokens or run.workload.context_tokens
    return min(limit, run.workload.context_tokens)


def block_moment(
    spec: ModelSpec, stack: Stack, block: Block, tokens: int, run: Pass, quantising_bytes: int = 0
) -> Moment:
    """The most that a block holds, `tokens` tokens of each sequence at once, with positions and masks."""
    implementation, known = _implementation(spec, stack, block, run)
    rows = run.sequences * tokens
    worst = max(_candidates(stack, block, implementation, tokens, run, quantising_bytes), key=lambda found: found.bytes)
    where, inside, held = worst.name, worst.bytes, worst.held
    if held is None:
        formula = f"{inside:,} B of scan"
    else:
        formula = f"{rows:,} tokens x ({', '.join(_terms(stack, block, held))}) x {run.element_bytes} B{worst.beside}"
    total = inside + _positions_bytes(spec, stack, implementation, tokens, run) + _image_bytes(spec, stack, run)
    total += _mask_bytes(stack, implementation, tokens, run)
    total += _per_layer_bytes(spec, stack, rows, run) + _encoded_bytes(spec, stack, block, run)
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
    inner = _mlp_bytes(stack, block, implementation, run.sequences * tokens, run)
    yield Candidate(
        "feed-forward", inner + _square_bytes(block, implementation.mlp, tokens, run) + bias, implementation.mlp
    )
    yield from _quantised_products(stack, block, implementation, run.sequences * tokens, inner, run)
    # inside the attention call a bias or a window's mask is copied
    copies = 2 * bias + (_mask_copy_bytes(block, tokens, run) if _is_fused(implementation, run) else 0)
    mixer = block.mixer
    if isinstance(mixer, LatentAttention) and mixer.index_dim:
        rows = run.sequences * tokens
        yield Candidate(
            "indexer", _held_bytes(stack, block, INDEXER, rows, run) + _indexer_bytes(mixer, tokens, run), INDEXER
        )
    if _is_chunked(stack, tokens, run) and _is_fused(implementation, run):
        inside = _held_bytes(stack, block, CHUNKED, run.sequences * tokens, run) + _chunk_bytes(block, tokens, run)
        yield Candidate("attention to the chunks before", inside, CHUNKED)
    if quantising_bytes:
        inside = _held_bytes(stack, block, QUANTISING, run.sequences * tokens, run) + quantising_bytes
        yield Candidate("quantising of the keys", inside, QUANTISING)
    for held in _attention_moments(implementation, block, run):
        inside = _attention_bytes(stack, block, held, tokens, implementation.relative_rows, run)
        yield Candidate("attention", inside + copies, held)


def _quantised_products(
    stack: Stack, block: Block, implementation: Implementation, rows: int, inner: int, run: Pass
) -> Iterator[Candidate]:
    """What the product over a quantised matrix of the feed-forward (`inner` bytes at its largest) holds beside its ends.

    The product of the two halves is not there yet. Unpacked: the matrix in 16 bit, for as long as the product takes; 112 MiB for 4096 x 14336,
    equal to the peak on an H100 within 0.3 MiB at 512 tokens (benchmarks/results/gpu-trials-h100.json). In 8 bit: the result in int32, and the input in
    int8 and float16 (bitsandbytes 0.50 MatMul8bitLt); columns of outliers come on top, how many depends on the weights.
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


def _is_chunked(stack: Stack, tokens: int, run: Pass) -> bool:
    return stack.role == "decoder" and run.chunk_tokens is not None and tokens < run.workload.context_tokens


def _keys_of(mixer: FullAttention, tokens: int, run: Pass) -> int:
    """Keys that a chunk of `tokens` tokens attends to: all before it and its own, or a window's."""
    context = run.workload.context_tokens
    return min(context, mixer.window_tokens - 1 + tokens) if isinstance(mixer, SlidingAttention) else context


def _chunk_bytes(block: Block, tokens: int, run: Pass) -> int:
    """Keys and values repeated per query head, the mask as numbers, and a float32 sum per query.

    PyTorch's fused call repeats shared heads as soon as it is given a mask. Source: traces of chunked passes of transformers 5.23.
    """
    mixer = block.mixer
    assert isinstance(mixer, FullAttention)  # what prefill in chunks is sized for
    keys = _keys_of(mixer, tokens, run)
    query, key = _widths(block)
    repeated = 2 * query * keys if query > key else 0
    return run.sequences * ((repeated + tokens * keys) * run.element_bytes + mixer.query_heads * tokens * 4)


def _is_fused(implementation: Implementation, run: Pass) -> bool:
    return implementation.fused and run.workload.attention != "eager"


def encoder_of(spec: ModelSpec) -> Stack | None:
    """The stack whose output a decoder attends to, None for a model without one."""
    stack = spec.cached_stack
    if stack is None or not any(block.cross is not None for block in stack.blocks):
        return None
    return spec.stack("encoder") or spec.stack("audio")


def images_per_sequence(spec: ModelSpec, workload: Workload) -> int:
    """Images per sequence: what was asked, else one for a model that takes images."""
    if workload.images is not None:
        return workload.images
    return 1 if spec.stack("vision") is not None else 0


def _implementation(spec: ModelSpec, stack: Stack, block: Block, run: Pass) -> tuple[Implementation, bool]:
    """The row of the block's implementation, and whether it was traced; with flash attention instead of an eager one it was not."""
    found, known = _row(spec, stack, block)
    if run.workload.attention != "flash" or found.fused or not found.flash:
        return found, known
    mlp = msgspec.structs.replace(found.mlp, scores=0)
    return msgspec.structs.replace(found, fused=True, mlp=mlp, attention=ASSUMED.attention), False


def _row(spec: ModelSpec, stack: Stack, block: Block) -> tuple[Implementation, bool]:
    gated = block.mlp is not None and block.mlp.gated
    return implementation_of(stack.implementation or spec.model_type, gated=gated)


def without_fused_kernel(spec: ModelSpec) -> Implementation | None:
    """The implementation of the first block that PyTorch's fused attention is not called for; None where it always is."""
    rows = (_row(spec, stack, block)[0] for stack in spec.stacks for block in stack.blocks)
    return next((row for row in rows if not row.fused), None)


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

    Those are the table once and twice per sequence, three int64 and one float32 matrices of tokens x tokens, and heads x
    tokens x rows of scores against the table. Source: trace of `DisentangledSelfAttention` in transformers 5.23.
    """
    total = _held_bytes(stack, block, held, run.sequences * tokens, run) + _square_bytes(block, held, tokens, run)
    if relative_rows:
        heads = getattr(block.mixer, "query_heads", 0)
        table = relative_rows * stack.hidden_dim * run.element_bytes * (1 + 2 * run.sequences)
        against = int(held.relative * run.sequences * heads * tokens * relative_rows * run.element_bytes)
        total += table + against + tokens * tokens * (3 * 8 + 4 * run.sequences)
    return total


def _held_bytes(stack: Stack, block: Block, held: Held, rows: int, run: Pass) -> int:
    """Bytes of the tensors of one moment for `rows` tokens."""
    query, key = _widths(block)
    inner = block.mlp.ffn_dim if block.mlp is not None else 0
    elements = held.h * stack.hidden_dim + held.i * inner + held.q * query + held.kv * key
    wide = held.h32 * stack.hidden_dim + held.q32 * query + held.kv32 * key
    if run.element_bytes < 4:
        wide += held.h_cast * stack.hidden_dim + held.q_cast * query + held.kv_cast * key
    once = held.positions * stack.hidden_dim * run.element_bytes + held.rope32 * _head_dim(block) * 4
    return int(rows * (elements * run.element_bytes + wide * 4) + rows // run.sequences * once)


def _mlp_bytes(stack: Stack, block: Block, implementation: Implementation, rows: int, run: Pass) -> int:
    """The feed-forward moment; with experts, each row is repeated once per expert it is routed to.

    Experts: some hidden tensors + the largest moment of the routed rows (inside the experts, or weighting their outputs).
    Source: traces of Mixtral, Qwen3-MoE and DeepSeek-V2 in transformers 5.23 (grouped matrix product).
    """
    mlp = block.mlp
    if mlp is None or not mlp.experts:
        return _held_bytes(stack, block, implementation.mlp, rows, run)
    copies = mlp.experts if implementation.every_expert else mlp.experts_per_token
    routed = max(_held_bytes(stack, block, held, rows * copies, run) for held in implementation.experts)
    shared = rows * 3 * mlp.shared_ffn_dim * run.element_bytes
    beside = int(implementation.experts_beside * stack.hidden_dim) * run.element_bytes
    return beside * rows + max(routed, shared)


def _square_bytes(block: Block, held: Held, tokens: int, run: Pass) -> int:
    """Score matrices: query heads x tokens x keys for each sequence, as many as `held` says."""
    mixer = block.mixer
    heads = getattr(mixer, "query_heads", 0)
    keys = tokens + (tokens // mixer.ratio if isinstance(mixer, CompressedAttention) else 0)
    if run.chunk_tokens is not None and isinstance(mixer, FullAttention):
        keys = _keys_of(mixer, tokens, run)
    narrow = run.element_bytes < 4
    wide = held.scores32 + (held.scores_cast if narrow else 0)
    same = held.scores + (held.scores_back if narrow else 0)
    return int(run.sequences * heads * tokens * keys * (same * run.element_bytes + wide * 4))


def score_bytes(spec: ModelSpec, run: Pass) -> int:
    """The most bytes of tokens x tokens matrices that attention holds at once, over all stacks; 0 where every call is fused."""
    return max(
        (
            _square_bytes(block, held, tokens, run)
            for stack in spec.stacks
            if (tokens := stack_tokens(spec, stack, run))
            for block in stack.blocks
            for held in _attention_moments(_implementation(spec, stack, block, run)[0], block, run)
        ),
        default=0,
    )


def _mask_bytes(stack: Stack, implementation: Implementation, tokens: int, run: Pass) -> int:
    """Explicit masks, held through the pass, one for each kind of attention in the stack.

    A fused call needs none but a sliding window's, one byte per pair of tokens, once the prompt reaches the window (some models
    make a causal one, per sequence). Eager attention adds numbers: element_bytes per pair and sequence.
    """
    parts = [part for block in stack.blocks for part in parts_of(block.mixer)]
    mixers = [part for part in parts if isinstance(part, FullAttention)]
    windows = {mixer.window_tokens for mixer in mixers if isinstance(mixer, SlidingAttention)}
    if _is_fused(implementation, run) and _is_chunked(stack, tokens, run):
        return tokens * sum({_keys_of(mixer, tokens, run) for mixer in mixers})
    if _is_fused(implementation, run):
        causal = run.sequences if implementation.bool_mask else 0
        return tokens * tokens * (causal + sum(tokens >= window for window in windows))
    kinds = len(windows) + any(not isinstance(mixer, SlidingAttention) for mixer in mixers)
    kinds += any(isinstance(part, CompressedAttention) for part in parts)
    return kinds * run.sequences * tokens * tokens * run.element_bytes


def _mask_copy_bytes(block: Block, tokens: int, run: Pass) -> int:
    """Inside a fused call a window's mask is turned into numbers, and keys and values are repeated per query head."""
    mixer = block.mixer
    if not isinstance(mixer, SlidingAttention) or tokens < mixer.window_tokens:
        return 0
    query, _ = _widths(block)
    return tokens * tokens * run.element_bytes + run.sequences * tokens * 4 * query * run.element_bytes


def _positions_bytes(spec: ModelSpec, stack: Stack, implementation: Implementation, tokens: int, run: Pass) -> int:
    """Positions held through the pass: rotary cos and sin, or the rows of a learned table, and position ids (int64)."""
    if spec.positions == "rope" and stack.role in ("decoder", "encoder"):
        attentions = (part for block in stack.blocks for part in parts_of(block.mixer))
        dims = max((a.key_dim for a in attentions if isinstance(a, FullAttention | EncoderAttention)), default=0)
        wide = 4 if implementation.float32_positions else run.element_bytes
        return tokens * (2 * dims * wide + 8)
    if stack.role != "decoder":
        return 0
    if spec.positions == "learned":
        rows = run.sequences if implementation.positions_each else 1
        return tokens * (rows * stack.hidden_dim * run.element_bytes + 8)
    return tokens * 8


def _image_bytes(spec: ModelSpec, stack: Stack, run: Pass) -> int:
    """What an image tower leaves behind while the text runs.

    A language model holds its output twice (before and after the projector's slice) and the projected tokens twice; CLIP's text
    tower runs beside the image tower's output. Source: traces of LLaVA-1.5 and CLIP in transformers 5.23.
    """
    vision = spec.stack("vision")
    if vision is None or vision is stack or vision.fixed_tokens is None:
        return 0
    images = run.sequences * images_per_sequence(spec, run.workload)
    tower = images * vision.fixed_tokens * vision.hidden_dim * run.element_bytes
    if spec.kind == "clip":
        return tower if stack.role == "encoder" else 0
    if stack.role != "decoder" or not spec.image_tokens:
        return 0
    return 2 * (tower + images * spec.image_tokens * stack.hidden_dim * run.element_bytes)


def _per_layer_bytes(spec: ModelSpec, stack: Stack, rows: int, run: Pass) -> int:
    """Gemma 3n and 4 embed each token once more for every layer and hold that through the pass."""
    if stack.role != "decoder":
        return 0
    groups = (group for group in spec.tensors if group.name.endswith("per_layer_model_projection.weight"))
    return rows * sum(group.shape[0] for group in groups) * run.element_bytes


def _encoded_bytes(spec: ModelSpec, stack: Stack, block: Block, run: Pass) -> int:
    """What a decoder holds of an encoder: its output, and one layer's keys and values beside the cache (repeated where heads share them)."""
    encoder = encoder_of(spec)
    if stack.role != "decoder" or encoder is None:
        return 0
    width = encoder.hidden_dim
    if block.cross is not None:
        shared = block.cross.kv_heads < block.cross.query_heads
        width += 2 * (block.cross.query_heads if shared else block.cross.kv_heads) * block.cross.key_dim
    return run.sequences * run.encoder_tokens * width * run.element_bytes


def _logits_moment(spec: ModelSpec, run: Pass) -> Moment:
    """The output head: logits of the last token where the implementation can, else of every token it was given."""
    decoder_only = spec.cached_stack is not None and encoder_of(spec) is None
    given = run.workload.context_tokens if decoder_only or spec.cached_stack is None else 1
    tokens = 1 if spec.logits_to_keep and not run.all_logits else given
    vocab = spec.vocab_size or 0
    hidden = 2 * run.sequences * given * spec.stacks[0].hidden_dim * run.element_bytes
    logits = run.sequences * tokens * vocab * run.element_bytes
    which = "every token" if tokens == given > 1 else "the last token"
    return Moment(
        name="logits",
        bytes=logits + hidden,
        basis="formula",
        reason=f"logits of {which} over {vocab:,} words",
        formula=f"{run.sequences} x {tokens:,} tokens x {vocab:,} words x {run.element_bytes} B + {hidden:,} B hidden states",
        holds_cache=spec.cached_stack is not None,
    )


def _head_dim(block: Block) -> int:
    """Width of one key head; 0 for a layer without."""
    return max((getattr(part, "key_dim", 0) for part in parts_of(block.mixer)), default=0)


def _widths(block: Block) -> tuple[int, int]:
    """Widths of all query heads, and of all key heads (latent attention: of all heads' expanded keys and values)."""
    mixer = parts_of(block.mixer)[0]
    if isinstance(mixer, FullAttention | EncoderAttention):
        return mixer.query_heads * mixer.key_dim, mixer.kv_heads * mixer.key_dim
    if isinstance(mixer, CompressedAttention):
        return mixer.query_heads * mixer.head_dim, mixer.head_dim
    if isinstance(mixer, LatentAttention):
        heads = mixer.query_heads
        return heads * (mixer.nope_dim + mixer.rope_dim), heads * (mixer.nope_dim + mixer.value_dim)
    return 0, 0


def _terms(stack: Stack, block: Block, held: Held) -> Iterator[str]:
    query, key = _widths(block)
    mlp = block.mlp
    inner = mlp.ffn_dim if mlp is not None else 0
    routed = f" x {mlp.experts_per_token} experts" if mlp is not None and mlp.experts else ""
    for multiple, width, suffix in (
        (held.h, stack.hidden_dim, ""),
        (held.i, inner, routed),
        (held.q, query, ""),
        (held.kv, key, ""),
        (held.h32, stack.hidden_dim, " in float32"),
        (held.q32, query, " in float32"),
    ):
        if multiple and width:
            yield f"{multiple:.3g} x {width:,}{suffix}"
