"""The largest moment of a block: feed-forward, attention, scans, and what quantised products and chunks hold beside.

Bytes of a moment = tokens of all sequences x (sum of multiples x widths) x bytes per element + what grows with tokens
squared (score matrices without a fused kernel, T5's position bias).
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from fmkit.model.attention import FullAttention, LatentAttention, SlidingAttention
from fmkit.model.layers import parts_of
from fmkit.sizing.beside_blocks import BesideBlock
from fmkit.sizing.drafts import Words
from fmkit.sizing.forward import SOURCE, Moment
from fmkit.sizing.held import BlockTensors, HeldBytes, is_chunked, is_fused, keys_of, running_as
from fmkit.sizing.implementations import CHUNKED, EAGER, INDEXER, QUANTISING, Held
from fmkit.sizing.scans import Scan, is_scan, scan_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, Stack
    from fmkit.sizing.forward import Pass, PassKind

_STACK_NAMES = {"vision": "vision tower", "audio": "audio encoder", "encoder": "encoder", "qformer": "Q-Former"}


class Candidate(NamedTuple):
    """A moment of a block: the multiples its bytes come from (None: a scan), and what the formula has beside them."""

    bytes: int
    name: str
    held: Held | None
    beside: str = ""


class BlockPeaks:
    """The moments of one block in one kind of pass, at any number of tokens and sequences."""

    def __init__(self, spec: ModelSpec, stack: Stack, block: Block, kind: PassKind) -> None:
        implementation, self._known = running_as(spec, stack, block, kind.attention)
        self._assumed_for = stack.implementation or spec.model_type
        self._implementation = implementation
        self._stack = stack
        self._block = block
        self._fused = is_fused(implementation, kind.attention)
        self._tensors = BlockTensors(stack, block, implementation, kind)
        self._attention = [self._tensors.of(held) for held in self._attention_moments(kind)]
        self._scans = [part for part in parts_of(block.mixer) if is_scan(part)]
        mixer = block.mixer
        self._window_tokens = mixer.window_tokens if self._fused and isinstance(mixer, SlidingAttention) else None
        self._indexed = mixer if isinstance(mixer, LatentAttention) and mixer.index_dim else None
        self._bias_bytes = self._tensors.heads * kind.element_bytes if implementation.position_bias else 0
        self._beside = BesideBlock(spec, stack, block, implementation, kind)

    def moment(self, tokens: int, run: Pass, quantising_bytes: int = 0) -> Moment:
        """The most that the block holds, `tokens` tokens of each sequence at once, with positions and masks."""
        worst = max(self._candidates(tokens, run, quantising_bytes), key=itemgetter(0))
        total = worst.bytes + self._beside.bytes(tokens, run)
        role = self._stack.role
        return Moment(
            name=_STACK_NAMES.get(role, "prefill"),
            bytes=total,
            words=partial(self._words, worst, run, tokens, total),
            holds_cache=role == "decoder",
        )

    def step_bytes(self, run: Pass) -> int:
        """What the feed-forward holds for one token of each sequence."""
        return self._tensors.mlp_bytes(run.sequences, 1)

    def score_bytes(self, tokens: int, run: Pass) -> int:
        """The most bytes of tokens x tokens matrices that attention holds at once; 0 where every call is fused."""
        return max((self._tensors.square_bytes(held, tokens, run) for held in self._attention), default=0)

    def _words(self, worst: Candidate, run: Pass, tokens: int, total: int) -> Words:
        rows = run.sequences * tokens
        if worst.held is None:
            formula = f"{worst.bytes:,} B of scan"
        else:
            terms = ", ".join(self._tensors.terms(worst.held))
            formula = f"{rows:,} tokens x ({terms}) x {run.element_bytes} B{worst.beside}"
        assumed = "" if self._known else f"; the pattern of Llama is assumed for {self._assumed_for}"
        return Words(
            basis="formula" if self._known else "assumed",
            reason=f"peaks in the {worst.name} of a block, {rows:,} tokens at once{assumed}",
            formula=f"{formula} + squares, masks and positions = {total:,} B",
            source=SOURCE,
        )

    def _candidates(self, tokens: int, run: Pass, quantising_bytes: int) -> list[Candidate]:
        """The moments of a block that may be its largest."""
        tensors = self._tensors
        rows = run.sequences * tokens
        found = [self._scan(part, tokens, run) for part in self._scans]
        bias = self._bias_bytes * tokens * tokens
        inner = tensors.mlp_bytes(rows, tokens)
        squares = tensors.square_bytes(tensors.mlp, tokens, run)
        found.append(Candidate(inner + squares + bias, "feed-forward", tensors.mlp.held))
        if run.unpacked_bytes or run.in_int8:
            found += self._quantised_products(rows, inner, run)
        if self._indexed is not None:
            scores = _indexer_bytes(self._indexed, tokens, run)
            found.append(self._held("indexer", INDEXER, tokens, run, scores))
        if run.chunk_tokens is not None and self._fused and is_chunked(self._stack, tokens, run):
            beside = self._chunk_bytes(tokens, run)
            found.append(self._held("attention to the chunks before", CHUNKED, tokens, run, beside))
        if quantising_bytes:
            found.append(self._held("quantising of the keys", QUANTISING, tokens, run, quantising_bytes))
        # inside the attention call a bias or a window's mask is copied
        copies = 2 * bias + self._mask_copy_bytes(tokens, run)
        for held in self._attention:
            found.append(Candidate(self._attention_bytes(held, tokens, run) + copies, "attention", held.held))
        return found

    def _held(self, name: str, held: Held, tokens: int, run: Pass, beside: int) -> Candidate:
        return Candidate(self._tensors.of(held).bytes(run.sequences * tokens, tokens) + beside, name, held)

    def _scan(self, part: Scan, tokens: int, run: Pass) -> Candidate:
        fused = self._implementation.fused_projection
        hidden = self._stack.hidden_dim
        inside = scan_bytes(part, hidden, tokens, run.sequences, run.element_bytes, fused_projection=fused)
        return Candidate(inside, "scan (no fused kernel installed)", None)

    def _quantised_products(self, rows: int, inner: int, run: Pass) -> Iterator[Candidate]:
        """What the product over a quantised matrix of the feed-forward (`inner` bytes at its largest) holds beside its ends.

        The product of the two halves is not there yet. Unpacked: the matrix in 16 bit, for as long as the product takes;
        112 MiB for 4096 x 14336, equal to the peak on an H100 within 0.3 MiB at 512 tokens
        (benchmarks/results/gpu-trials-h100.json). In 8 bit: the result in int32, and the input in int8 and float16
        (bitsandbytes 0.50 MatMul8bitLt); columns of outliers come on top, how many depends on the weights.
        """
        mlp, held = self._block.mlp, self._implementation.mlp
        if mlp is None or mlp.experts:
            return
        before = inner - rows * mlp.ffn_dim * run.element_bytes
        less = f" - {rows:,} x {mlp.ffn_dim:,} x {run.element_bytes} B"
        if run.unpacked_bytes:
            beside = f"{less} + {run.unpacked_bytes:,} B of an unpacked matrix"
            yield Candidate(before + run.unpacked_bytes, "feed-forward, a matrix unpacked,", held, beside)
        if run.in_int8:
            wide = rows * (mlp.ffn_dim * 4 + self._stack.hidden_dim * (1 + 2))
            beside = f"{less} + {wide:,} B of products in int32 and inputs in int8 and float16"
            yield Candidate(before + wide, "feed-forward, in 8 bit,", held, beside)

    def _mask_copy_bytes(self, tokens: int, run: Pass) -> int:
        """Inside a fused call a window's mask is turned into numbers, and keys and values are repeated per query head."""
        if self._window_tokens is None or tokens < self._window_tokens:
            return 0
        elements = tokens * tokens + run.sequences * tokens * 4 * self._tensors.query_width
        return elements * run.element_bytes

    def _chunk_bytes(self, tokens: int, run: Pass) -> int:
        """Keys and values repeated per query head, the mask as numbers, and a float32 sum per query.

        PyTorch's fused call repeats shared heads as soon as it is given a mask. Source: traces of chunked passes of
        transformers 5.23.
        """
        mixer = self._block.mixer
        assert isinstance(mixer, FullAttention)  # what prefill in chunks is sized for
        keys = keys_of(mixer, tokens, run)
        query, key = self._tensors.query_width, self._tensors.key_width
        repeated = 2 * query * keys if query > key else 0
        return run.sequences * ((repeated + tokens * keys) * run.element_bytes + mixer.query_heads * tokens * 4)

    def _attention_moments(self, kind: PassKind) -> tuple[Held, ...]:
        """What attention holds in the attention implementation asked for, on the machine it runs on."""
        implementation, mixer = self._implementation, self._block.mixer
        if implementation.fused and kind.attention == "eager":
            return EAGER
        several_keys = isinstance(mixer, FullAttention) and mixer.kv_heads > 1
        if implementation.fused and kind.on_cpu and implementation.cpu_attention and not several_keys:
            return implementation.cpu_attention
        return implementation.attention

    def _attention_bytes(self, held: HeldBytes, tokens: int, run: Pass) -> int:
        """One moment of attention, with DeBERTa's relative positions where the implementation has them.

        Those are the table once and twice per sequence, three int64 and one float32 matrices of tokens x tokens, and heads
        x tokens x rows of scores against the table. Source: trace of `DisentangledSelfAttention` in transformers 5.23.
        """
        sequences, relative_rows = run.sequences, self._implementation.relative_rows
        total = held.bytes(sequences * tokens, tokens) + self._tensors.square_bytes(held, tokens, run)
        if relative_rows:
            heads = self._tensors.heads
            table = relative_rows * self._stack.hidden_dim * run.element_bytes * (1 + 2 * sequences)
            against = int(held.held.relative * sequences * heads * tokens * relative_rows * run.element_bytes)
            total += table + against + tokens * tokens * (3 * 8 + 4 * sequences)
        return total


def _indexer_bytes(mixer: LatentAttention, tokens: int, run: Pass) -> int:
    """The float32 scores of DeepSeek's indexer, whose heads are half as many as the queries' in what was published with one.

    One sequence holds them twice (before and after scaling); more make PyTorch copy the indexer's keys for every token.
    Source: trace of `GlmMoeDsaIndexer` in transformers 5.23.
    """
    heads = mixer.query_heads // 2
    copied = heads if run.sequences == 1 else mixer.index_dim
    return run.sequences * tokens * tokens * (heads + copied) * 4
