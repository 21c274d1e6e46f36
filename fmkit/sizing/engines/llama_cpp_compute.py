"""llama.cpp's compute buffer: what a micro-batch takes in the layers, at the full context, reserved once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fmkit.model.attention import EncoderAttention, FullAttention, LatentAttention
from fmkit.model.gguf_lineages import lineage_of
from fmkit.sizing.engines.llama_cpp_cache import RECURRENT, RECURRENT_STATE, SOURCE, LlamaCppCache, micro_batch
from fmkit.sizing.estimate import MemoryLine

if TYPE_CHECKING:
    from fmkit.model.layers import SimpleMixer
    from fmkit.model.spec import Mlp, ModelSpec
    from fmkit.sizing.engines.llama_cpp_cache import Kept
    from fmkit.sizing.engines.llama_cpp_options import Settings
    from fmkit.sizing.estimate import Workload

PIPELINE_COPIES = 4
"""Copies of its inputs that each device keeps where layers are split over several. Source: GGML_SCHED_MAX_COPIES."""


class ComputeBuffer:
    """The compute buffer of one model on one kind of device, at any workload."""

    def __init__(self, spec: ModelSpec, cache: LlamaCppCache, *, on_cpu: bool) -> None:
        lineage = lineage_of(spec)
        stack = spec.cached_stack or spec.stacks[0]
        self._vocab = spec.vocab_size or 0
        self._on_cpu = on_cpu
        self._causal = lineage.causal
        self._width = width = stack.hidden_dim
        outer = (5 if on_cpu else 4) + _EXTRA_WIDTHS.get(lineage.architecture, 0)
        summed = lineage.architecture not in _UNSCALED_EXPERTS
        self._inner = max(
            (_inner_width(block.mlp, width, outer, summed=summed) for block in stack.blocks), default=outer * width
        )
        self._attentions = [_attention(each.mixer, width, on_cpu=on_cpu) for each in cache.mixers]

    def bytes(self, kept: list[Kept], workload: Workload, settings: Settings, *, devices: int) -> tuple[int, str]:
        """Bytes of the compute buffer of one device, and the formula with numbers.

        With u = 4 bytes * micro-batch, H the width, F the inner width of the feed-forward (of all experts of a token), q
        and k the widths of queries and keys, V the vocabulary, o the outputs, C the cells, h the query heads: masks +
        max(feed-forward, attention, output), where masks = C * micro-batch * 2 bytes with flash attention, else 4;
        feed-forward = u * (3F + 5H) (F + 5H without a gate; one H less on an accelerator, where the embedding comes from
        the host); attention without flash attention = u * C * h + u * (3H + 3q + 2k) on a CPU, u * C * h + 4 u H on an
        accelerator; output = 4 o * (V + H).
        """
        ubatch = micro_batch(workload, settings, causal=self._causal)
        unit, width = 4 * ubatch, self._width
        masks = mask_rows(kept) * ubatch * (2 if settings.flash_attention else 4)
        attention = unit * max(
            [
                one.outer + (0 if settings.flash_attention else each.cells * one.heads)
                for one, each in zip(self._attentions, kept, strict=True)
            ],
            default=0,
        )
        inner = unit * self._inner
        outputs = ubatch if settings.all_outputs else min(ubatch, workload.sequences)
        logits = 4 * outputs * (self._vocab + width)
        copies = (PIPELINE_COPIES - 1) * masks + PIPELINE_COPIES * unit * width if devices > 1 else 0
        worst = max(inner, attention, logits)
        names = {inner: "feed-forward", attention: "attention", logits: "output"}
        total = masks + worst + copies if worst != logits else max(logits, masks + max(inner, attention)) + copies
        return total, (
            f"masks {masks:,} B + {names[worst]} {worst:,} B, micro-batch {ubatch}"
            + (f" + {copies:,} B of copies for the pipeline" if copies else "")
            + f" = {total:,} B"
        )

    def lines(
        self, kept: list[Kept], workload: Workload, settings: Settings, *, devices: int
    ) -> tuple[MemoryLine, ...]:
        """The compute buffer of one device, and on a CPU the buffer of the outputs."""
        found, formula = self.bytes(kept, workload, settings, devices=devices)
        ubatch = micro_batch(workload, settings, causal=self._causal)
        buffer = MemoryLine(
            part="activations: compute buffer",
            bytes=found,
            phase="steady",
            basis="formula",
            reason=f"reserved for a micro-batch of {ubatch} tokens at the full context, held all the time",
            source=(
                "fitted on buffers that llama.cpp b11549 reports for 24 models on a CPU, and on published logs of GPUs "
                "(benchmarks/gguf_sizes.py)"
            ),
            formula=formula,
        )
        if not self._on_cpu or not self._vocab:
            return (buffer,)
        outputs = workload.sequences * self._vocab * 4
        return (
            buffer,
            MemoryLine(
                part="activations: outputs",
                bytes=outputs,
                phase="steady",
                basis="formula",
                reason="logits of one token per sequence, in float32",
                source=SOURCE,
                formula=f"{workload.sequences} x {self._vocab:,} x 4 B = {outputs:,} B",
            ),
        )


def mask_rows(kept: list[Kept]) -> int:
    """Cells of all masks: one for each kind of attention."""
    cells = {each.name: each.cells for each in kept if each.name != RECURRENT_STATE}
    return sum(cells.values())


class _Attention(NamedTuple):
    """A layer that mixes tokens: query heads, and elements per token beside their scores. A recurrent one has no heads."""

    heads: int
    outer: int


def _attention(mixer: SimpleMixer, width: int, *, on_cpu: bool) -> _Attention:
    if isinstance(mixer, RECURRENT):
        return _Attention(0, 8 * getattr(mixer, "inner_dim", width) - width)
    heads, queries, keys = _attention_widths(mixer)
    return _Attention(heads, 3 * width + 3 * queries + 2 * keys if on_cpu else 4 * width)


def _attention_widths(mixer: SimpleMixer) -> tuple[int, int, int]:
    """Query heads, and the widths of all queries and of the keys of one token."""
    if isinstance(mixer, LatentAttention):
        width = mixer.latent_dim + mixer.rope_dim
        return mixer.query_heads, mixer.query_heads * width, width
    if isinstance(mixer, FullAttention | EncoderAttention):
        return mixer.query_heads, mixer.query_heads * mixer.key_dim, mixer.kv_heads * mixer.key_dim
    return 0, 0, 0


def _inner_width(mlp: Mlp | None, width: int, outer: int, *, summed: bool) -> int:
    """Elements per token that the worst moment of a feed-forward holds."""
    if mlp is None:
        return outer * width
    tokens = max(1, mlp.experts_per_token)
    gated = (3 if mlp.gated else 1) * mlp.ffn_dim * tokens + outer * width
    return max(gated, 2 * width * tokens + (outer + 1) * width) if summed and tokens > _MANY_EXPERTS else gated


_EXTRA_WIDTHS = {"falcon": 1, "cohere2": 1}
"""Architectures whose graph holds that many more vectors of the model's width at its worst moment (measured)."""

_UNSCALED_EXPERTS = frozenset(("olmoe",))
"""Architectures that don't normalise the weights of the experts, and so don't hold their outputs twice (measured)."""

_MANY_EXPERTS = 4
"""From more experts per token on, the outputs of the experts can outweigh their inner widths (Qwen3-30B-A3B)."""
