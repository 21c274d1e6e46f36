"""llama.cpp's compute buffer: what a micro-batch takes in the layers, at the full context, reserved once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.gguf_tensors import lineage_of
from fmkit.model.layers import EncoderAttention, FullAttention, LatentAttention, parts_of
from fmkit.sizing.engines.llama_cpp_cache import RECURRENT, SOURCE, layer_cache, micro_batch
from fmkit.sizing.estimate import MemoryLine

if TYPE_CHECKING:
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import Mlp, ModelSpec
    from fmkit.sizing.engines.llama_cpp_options import Settings
    from fmkit.sizing.estimate import Workload

PIPELINE_COPIES = 4
"""Copies of its inputs that each device keeps where layers are split over several. Source: GGML_SCHED_MAX_COPIES."""


def compute_lines(
    spec: ModelSpec, workload: Workload, settings: Settings, *, on_cpu: bool, devices: int
) -> list[MemoryLine]:
    """The compute buffer of one device, and on a CPU the buffer of the outputs."""
    found, formula = compute_buffer(spec, workload, settings, on_cpu=on_cpu, devices=devices)
    lines = [
        MemoryLine(
            part="activations: compute buffer",
            bytes=found,
            phase="steady",
            basis="formula",
            reason=f"reserved for a micro-batch of {micro_batch(workload, settings, causal=lineage_of(spec).causal)} tokens at the full context, held all the time",
            source=(
                "fitted on buffers that llama.cpp b11549 reports for 24 models on a CPU, and on published logs of GPUs "
                "(benchmarks/gguf_sizes.py)"
            ),
            formula=formula,
        )
    ]
    if on_cpu and spec.vocab_size:
        outputs = workload.sequences * spec.vocab_size * 4
        lines.append(
            MemoryLine(
                part="activations: outputs",
                bytes=outputs,
                phase="steady",
                basis="formula",
                reason="logits of one token per sequence, in float32",
                source=SOURCE,
                formula=f"{workload.sequences} x {spec.vocab_size:,} x 4 B = {outputs:,} B",
            )
        )
    return lines


def compute_buffer(
    spec: ModelSpec, workload: Workload, settings: Settings, *, on_cpu: bool, devices: int = 1
) -> tuple[int, str]:
    """Bytes of the compute buffer of one device, and the formula with numbers.

    With u = 4 bytes * micro-batch, H the width, F the inner width of the feed-forward (of all experts of a token), q
    and k the widths of queries and keys, V the vocabulary, o the outputs, C the cells, h the query heads: masks +
    max(feed-forward, attention, output), where masks = C * micro-batch * 2 bytes with flash attention, else 4;
    feed-forward = u * (3F + 5H) (F + 5H without a gate; one H less on an accelerator, where the embedding comes from
    the host); attention without flash attention = u * C * h + u * (3H + 3q + 2k) on a CPU, u * C * h + 4 u H on an
    accelerator; output = 4 o * (V + H).
    """
    stack = spec.cached_stack or spec.stacks[0]
    ubatch = micro_batch(workload, settings, causal=lineage_of(spec).causal)
    unit = 4 * ubatch
    width = stack.hidden_dim
    outer = (5 if on_cpu else 4) + _EXTRA_WIDTHS.get(lineage_of(spec).architecture, 0)
    masks, attention = _attention_bytes(spec, workload, settings, ubatch, on_cpu=on_cpu)
    summed = lineage_of(spec).architecture not in _UNSCALED_EXPERTS
    inner = max((_inner_width(block.mlp, width, outer, summed=summed) for block in stack.blocks), default=outer * width)
    outputs = ubatch if settings.all_outputs else min(ubatch, workload.sequences)
    logits = 4 * outputs * ((spec.vocab_size or 0) + width)
    copies = (PIPELINE_COPIES - 1) * masks + PIPELINE_COPIES * unit * width if devices > 1 else 0
    worst = max(unit * inner, attention, logits)
    names = {unit * inner: "feed-forward", attention: "attention", logits: "output"}
    total = masks + worst + copies if worst != logits else max(logits, masks + max(unit * inner, attention)) + copies
    return total, (
        f"masks {masks:,} B + {names[worst]} {worst:,} B, micro-batch {ubatch}"
        + (f" + {copies:,} B of copies for the pipeline" if copies else "")
        + f" = {total:,} B"
    )


def mask_cells(spec: ModelSpec, workload: Workload, settings: Settings) -> dict[str, int]:
    """Cells that the mask of each kind of attention has."""
    stack = spec.cached_stack or spec.stacks[0]
    windowed = lineage_of(spec).windowed
    found = {}
    for mixer in (part for block in stack.blocks for part in parts_of(block.mixer)):
        if not isinstance(mixer, RECURRENT):
            name, _, cells = layer_cache(mixer, workload, settings, windowed=windowed)
            found[name] = cells
    return found


def _attention_bytes(
    spec: ModelSpec, workload: Workload, settings: Settings, ubatch: int, *, on_cpu: bool
) -> tuple[int, int]:
    """Bytes of the masks, and of the worst attention layer."""
    stack = spec.cached_stack or spec.stacks[0]
    windowed = lineage_of(spec).windowed
    unit = 4 * ubatch
    masks = sum(mask_cells(spec, workload, settings).values()) * ubatch * (2 if settings.flash_attention else 4)
    worst = 0
    for mixer in (part for block in stack.blocks for part in parts_of(block.mixer)):
        if isinstance(mixer, RECURRENT):
            inner = getattr(mixer, "inner_dim", stack.hidden_dim)
            worst = max(worst, unit * (8 * inner - stack.hidden_dim))
            continue
        _, _, cells = layer_cache(mixer, workload, settings, windowed=windowed)
        heads, queries, keys = _attention_widths(mixer)
        outer = 3 * stack.hidden_dim + 3 * queries + 2 * keys if on_cpu else 4 * stack.hidden_dim
        scores = 0 if settings.flash_attention else cells * heads
        worst = max(worst, unit * (scores + outer))
    return masks, worst


def _attention_widths(mixer: Mixer) -> tuple[int, int, int]:
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
