"""Activations: the most memory a forward pass holds beside the weights, as transformers 5.23 runs it.

Bytes of a moment = tokens of all sequences x (sum of multiples x widths) x bytes per element + what grows with tokens squared
(score matrices without a fused kernel, explicit window masks, T5's position bias) + positions. The multiples are in
`fmkit.sizing.implementations`, with their source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.layers import EncoderAttention, FullAttention, LatentAttention, SlidingAttention, StateSpace
from fmkit.sizing.cache import growth_bytes
from fmkit.sizing.implementations import EAGER, Held, Implementation, implementation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, Stack
    from fmkit.sizing.estimate import Basis, Workload

SOURCE = "multiples read from traces of transformers 5.23 (tests/sizing/test_activations.py)"


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What all moments of one forward pass share: the work, the width of an element, and whether it runs on a CPU."""

    workload: Workload
    encoder_tokens: int
    element_bytes: int
    on_cpu: bool

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


def prefill_moments(spec: ModelSpec, run: Pass) -> list[Moment]:
    """The moments at which processing the input may peak.

    A decoder's prompt is the whole context; the decoder of an encoder-decoder starts from one token, and its encoder reads
    `encoder_tokens`. Bytes are for all sequences.
    """
    moments = [
        block_moment(spec, stack, block, tokens, run)
        for stack in spec.stacks
        if (tokens := stack_tokens(spec, stack, run))
        for block in stack.blocks
    ]
    if spec.has_head and spec.vocab_size and spec.kind != "clip":
        moments.append(_logits_moment(spec, run))
    return moments


def decode_moment(spec: ModelSpec, run: Pass) -> Moment | None:
    """What one decode step holds beside weights and cache; None for a model that does not decode.

    Bytes = growth of the cache (one layer's keys twice) + the larger of one token through a block and its logits (in the model's
    type and once in float32 for sampling) + an encoder's output, which stays alive while the decoder runs.
    """
    stack = spec.cached_stack
    if stack is None:
        return None
    growth = growth_bytes(spec, run.workload.context_tokens, run.sequences, run.element_bytes)
    step = max(
        _mlp_bytes(stack, block, _implementation(spec, stack, block)[0], run.sequences, run) for block in stack.blocks
    )
    logits = run.sequences * (spec.vocab_size or 0) * (run.element_bytes + 4)
    encoder = encoder_of(spec)
    encoded = run.sequences * run.encoder_tokens * encoder.hidden_dim * run.element_bytes if encoder is not None else 0
    total = growth + max(step, logits) + encoded
    tail = f" + {encoded:,} B encoder output" if encoded else ""
    return Moment(
        name="decode step",
        bytes=total,
        basis="formula",
        reason="one token's activations or logits, and one layer's keys held twice while they grow",
        formula=f"{growth:,} B growth + {max(step, logits):,} B step{tail} = {total:,} B",
    )


def stack_tokens(spec: ModelSpec, stack: Stack, run: Pass) -> int:
    """Tokens of one sequence that pass through a stack at once during prefill; 0 if the workload does not touch it."""
    if stack.role in ("vision", "qformer"):
        return (stack.fixed_tokens or 0) * images_per_sequence(spec, run.workload)
    if stack.fixed_tokens is not None:
        return stack.fixed_tokens
    if stack.role == "decoder":
        return 1 if encoder_of(spec) is not None else run.workload.context_tokens
    if stack.role == "encoder" and spec.cached_stack is not None:
        return run.encoder_tokens
    limit = stack.max_tokens or run.workload.context_tokens
    return min(limit, run.workload.context_tokens)


def block_moment(spec: ModelSpec, stack: Stack, block: Block, tokens: int, run: Pass) -> Moment:
    """The most that a block holds, `tokens` tokens of each sequence at once, with positions and masks."""
    implementation, known = _implementation(spec, stack, block)
    rows = run.sequences * tokens
    if isinstance(block.mixer, StateSpace):
        where, inside = (
            "scan (no fused kernel installed)",
            _state_space_bytes(block.mixer, stack, rows, run.element_bytes),
        )
        formula = f"{rows:,} tokens x 3 x {block.mixer.inner_dim:,} x {block.mixer.state_dim} x 4 B + inputs"
    else:
        where, inside, held = max(_candidates(stack, block, implementation, tokens, run), key=lambda found: found[1])
        formula = f"{rows:,} tokens x ({', '.join(_terms(stack, block, held))}) x {run.element_bytes} B"
    total = inside + _positions_bytes(spec, stack, tokens, run) + _image_bytes(spec, stack, run)
    total += _mask_bytes(stack, tokens, run, fused=_is_fused(implementation, run))
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


def _candidates(
    stack: Stack, block: Block, implementation: Implementation, tokens: int, run: Pass
) -> Iterator[tuple[str, int, Held]]:
    """The moments of a block that may be its largest: name, bytes, and the multiples they come from."""
    bias = 0
    if implementation.position_bias:
        bias = getattr(block.mixer, "query_heads", 0) * tokens * tokens * run.element_bytes
    inner = _mlp_bytes(stack, block, implementation, run.sequences * tokens, run)
    yield "feed-forward", inner + _square_bytes(block, implementation.mlp, tokens, run) + bias, implementation.mlp
    # inside the attention call a bias or a window's mask is copied
    copies = 2 * bias + (_mask_copy_bytes(block, tokens, run) if _is_fused(implementation, run) else 0)
    for held in _attention_moments(implementation, block, run):
        inside = _attention_bytes(stack, block, held, tokens, implementation.relative_rows, run)
        yield "attention", inside + copies, held


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


def _implementation(spec: ModelSpec, stack: Stack, block: Block) -> tuple[Implementation, bool]:
    gated = block.mlp is not None and block.mlp.gated
    return implementation_of(stack.implementation or spec.model_type, gated=gated)


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
    return int(rows * (elements * run.element_bytes + wide * 4))


def _mlp_bytes(stack: Stack, block: Block, implementation: Implementation, rows: int, run: Pass) -> int:
    """The feed-forward moment; with experts, each row is repeated once per expert it is routed to.

    Experts: 4 hidden tensors + the largest moment of the routed rows (inside the experts, or weighting their outputs).
    Source: traces of Mixtral, Qwen3-MoE and DeepSeek-V2 in transformers 5.23 (grouped matrix product).
    """
    mlp = block.mlp
    if mlp is None or not mlp.experts:
        return _held_bytes(stack, block, implementation.mlp, rows, run)
    routed = max(_held_bytes(stack, block, held, rows * mlp.experts_per_token, run) for held in implementation.experts)
    shared = rows * 3 * mlp.shared_ffn_dim * run.element_bytes
    return 4 * stack.hidden_dim * run.element_bytes * rows + max(routed, shared)


def _state_space_bytes(mixer: StateSpace, stack: Stack, rows: int, element_bytes: int) -> int:
    """Mamba without its fused kernel: three float32 tensors of tokens x inner x state while the scan is prepared.

    Bytes = rows * (3 * inner * state * 4 + 2 * inner * 4 + 6 * inner * element_bytes + hidden * (4 + 2 * element_bytes)).
    Source: trace of `MambaMixer.slow_forward` in transformers 5.23.
    """
    scan = 3 * mixer.inner_dim * mixer.state_dim * 4
    return rows * (scan + mixer.inner_dim * (2 * 4 + 6 * element_bytes) + stack.hidden_dim * (4 + 2 * element_bytes))


def _square_bytes(block: Block, held: Held, tokens: int, run: Pass) -> int:
    """Score matrices: query heads x tokens x tokens for each sequence, as many as `held` says."""
    heads = getattr(block.mixer, "query_heads", 0)
    wide = held.scores32 + (held.scores_cast if run.element_bytes < 4 else 0)
    return int(run.sequences * heads * tokens * tokens * (held.scores * run.element_bytes + wide * 4))


def _mask_bytes(stack: Stack, tokens: int, run: Pass, *, fused: bool) -> int:
    """Explicit masks, held through the pass, one for each kind of attention in the stack.

    A fused call needs none but a sliding window's, one byte per pair of tokens, once the prompt reaches the window. Eager
    attention adds numbers: element_bytes per pair and sequence.
    """
    mixers = [block.mixer for block in stack.blocks if isinstance(block.mixer, FullAttention)]
    windows = {mixer.window_tokens for mixer in mixers if isinstance(mixer, SlidingAttention)}
    if fused:
        return sum(tokens * tokens for window in windows if tokens >= window)
    kinds = len(windows) + any(not isinstance(mixer, SlidingAttention) for mixer in mixers)
    return kinds * run.sequences * tokens * tokens * run.element_bytes


def _mask_copy_bytes(block: Block, tokens: int, run: Pass) -> int:
    """Inside a fused call a window's mask is turned into numbers, and keys and values are repeated per query head."""
    mixer = block.mixer
    if not isinstance(mixer, SlidingAttention) or tokens < mixer.window_tokens:
        return 0
    query, _ = _widths(block)
    return tokens * tokens * run.element_bytes + run.sequences * tokens * 4 * query * run.element_bytes


def _positions_bytes(spec: ModelSpec, stack: Stack, tokens: int, run: Pass) -> int:
    """Positions held through the pass: rotary cos and sin, or the rows of a learned table, and position ids (int64)."""
    if stack.role != "decoder":
        return 0
    if spec.positions == "rope":
        dims = max((b.mixer.key_dim for b in stack.blocks if isinstance(b.mixer, FullAttention)), default=0)
        return tokens * (2 * dims * run.element_bytes + 8)
    if spec.positions == "learned":
        return tokens * (stack.hidden_dim * run.element_bytes + 8)
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


def _logits_moment(spec: ModelSpec, run: Pass) -> Moment:
    """The output head: logits of the last token where the implementation can, else of every token it was given."""
    decoder_only = spec.cached_stack is not None and encoder_of(spec) is None
    given = run.workload.context_tokens if decoder_only or spec.cached_stack is None else 1
    tokens = 1 if spec.logits_to_keep else given
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


def _widths(block: Block) -> tuple[int, int]:
    """Widths of all query heads, and of all key heads (latent attention: of all heads' expanded keys and values)."""
    mixer = block.mixer
    if isinstance(mixer, FullAttention | EncoderAttention):
        return mixer.query_heads * mixer.key_dim, mixer.kv_heads * mixer.key_dim
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
