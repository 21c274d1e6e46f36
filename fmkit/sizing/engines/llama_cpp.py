"""llama.cpp (b11549): everything is allocated at the start, for the context that was asked for.

Weights as the GGUF file has them, keys and values in whole cells of 256 tokens, one compute buffer for the worst micro-batch. On an
accelerator the token embedding stays in the host's memory; on a CPU some types are held twice, the second time repacked.

Options (`--engine-option`): `cache_type_k`, `cache_type_v`, `ubatch`, `swa_full`, `kv_unified`, `gpu_layers`, `flash_attention`
(on, off), `outputs` (last, all), `imatrix`, `repack`. Names and defaults are those of llama-server.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.model.gguf_mix import STORED, mixed
from fmkit.model.gguf_tensors import lineage_of
from fmkit.model.layers import FullAttention, LatentAttention, StateSpace
from fmkit.sizing.engines.llama_cpp_cache import SOURCE, Layers, cache_lines, device_layers, layer_cache, padded
from fmkit.sizing.engines.llama_cpp_options import Settings, settings_from
from fmkit.sizing.engines.plan import Plan
from fmkit.sizing.engines.transformers import is_cpu
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.weights import PART_NAMES
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Machine
    from fmkit.model.gguf_mix import MixedTensor
    from fmkit.model.layers import Mixer
    from fmkit.model.precision import Layout
    from fmkit.model.spec import Mlp, ModelSpec, Part
    from fmkit.sizing.estimate import Workload

PIPELINE_COPIES = 4
"""Copies of its inputs that each device keeps where layers are split over several. Source: GGML_SCHED_MAX_COPIES."""

REPACKED_TYPES = frozenset(("Q4_0", "Q4_K", "IQ4_NL"))
"""Types whose matrices are held a second time, repacked for AVX2, on an x86 CPU. Source: buffers logged by llama.cpp b11549 on an
AVX2 machine for 11 file types; other processors repack others."""


def plan(spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Plan:
    """What llama.cpp allocates for the model: nothing grows afterwards, so that prefill needs no more than decoding."""
    if layout.file_type is None:
        raise UsageError(f"{layout.name} is no layout of llama.cpp", where="--precision")
    settings = settings_from(workload.options)
    on_cpu = is_cpu(machine)
    stack = spec.cached_stack or spec.stacks[0]
    layers = device_layers(stack.layers, None if on_cpu else settings.gpu_layers)
    tensors = mixed(spec, layout.file_type, imatrix=settings.imatrix)
    shared = on_cpu or (machine is not None and machine.device is not None and machine.device.unified_memory)
    weights, host_bytes = _weight_lines(tensors, layers, shared=shared, from_file=layout.file_type == STORED)
    if on_cpu and settings.repack:
        weights = (*weights, *_repacked_lines(tensors))
    cache, host_cache_bytes = cache_lines(spec, workload, settings, layers)
    devices = machine.count if machine is not None else 1
    names = (settings.key_type.name.lower(), settings.value_type.name.lower())
    return Plan(
        cache_dtype="float16" if names == ("f16", "f16") else names[0] if names[0] == names[1] else "/".join(names),
        encoder_tokens=0,
        weights=weights,
        cache=cache,
        decode=tuple(compute_lines(spec, workload, settings, on_cpu=on_cpu, devices=devices)),
        prefill=(),
        warnings=_warnings(spec, workload, layers, host_bytes, host_cache_bytes),
    )


def _warnings(
    spec: ModelSpec, workload: Workload, layers: Layers, host_bytes: int, host_cache_bytes: int
) -> tuple[str, ...]:
    found = []
    if layers.first or not layers.has_output:
        found.append(
            f"{layers.first} of {layers.total} layers stay in the host's memory: {format_bytes(host_bytes)} of weights and "
            f"{format_bytes(host_cache_bytes)} of cache there"
        )
    if workload.images or any(stack.role == "vision" for stack in spec.stacks):
        found.append("images need an mmproj file beside the model's; its weights and buffers are not counted")
    return tuple(found)


def _weight_lines(
    tensors: tuple[MixedTensor, ...], layers: Layers, *, shared: bool, from_file: bool
) -> tuple[tuple[MemoryLine, ...], int]:
    """A line per part of the model for what lies on the device, and the bytes that stay with the host.

    `shared` is where host and device have one memory: then nothing is left out.
    """
    by_part: dict[Part, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    host_bytes = 0
    for entry in tensors:
        on_device = _count_on_device(entry, layers)
        each = entry.bytes // entry.tensor.count
        stays = each * (entry.tensor.count - on_device)
        host_bytes += stays
        counted = entry.bytes if shared else each * on_device
        if counted:
            by_part[entry.tensor.part][entry.kind.name] += counted
    tied = _tied_embedding(tensors)
    if tied is not None and layers.has_output and not shared:
        by_part["head"][tied.kind.name] += tied.bytes
    lines = [
        _part_line(part, by_part[part], tied=tied is not None, from_file=from_file)
        for part in PART_NAMES
        if part in by_part
    ]
    if host_bytes and not shared:
        lines.insert(0, _host_line(host_bytes))
    return tuple(lines), host_bytes


def _count_on_device(entry: MixedTensor, layers: Layers) -> int:
    tensor = entry.tensor
    if tensor.is_input:
        return 0
    if not tensor.layers:
        return int(layers.has_output)
    return sum(layers.holds(layer) for layer in tensor.layers)


def _tied_embedding(tensors: tuple[MixedTensor, ...]) -> MixedTensor | None:
    """The token embedding where it is the output matrix too: the device gets a copy of it."""
    if any(entry.tensor.name == "output.weight" for entry in tensors):
        return None
    return next((entry for entry in tensors if entry.tensor.name == "token_embd.weight"), None)


def _part_line(part: Part, by_type: Mapping[str, int], *, tied: bool, from_file: bool) -> MemoryLine:
    total = sum(by_type.values())
    share = ", ".join(
        f"{name} {format_bytes(count)}" for name, count in sorted(by_type.items(), key=lambda item: -item[1])
    )
    copied = "; a copy of the embedding, which is the output matrix too" if part == "head" and tied else ""
    return MemoryLine(
        part=f"weights: {PART_NAMES[part]}",
        bytes=total,
        phase="steady",
        basis="header" if from_file else "formula",
        reason=f"{share}{copied}",
        source=(
            "tensors listed in the file's header"
            if from_file
            else "tensors as llama.cpp converts and quantises them (llama-quant.cpp); 13 published files equal to the byte"
        ),
        formula=f"sum of rows x row length / block x bytes per block = {total:,} B",
    )


def _host_line(host_bytes: int) -> MemoryLine:
    return MemoryLine(
        part="weights: left with the host",
        bytes=0,
        phase="steady",
        basis="formula",
        reason=f"{format_bytes(host_bytes)} in main memory: the token embedding is looked up there, never on the device",
        source="llama.cpp src/llama-model.cpp: the input layer is always on the CPU",
        formula=f"{host_bytes:,} B of the host, none of the device",
    )


def _repacked_lines(tensors: tuple[MixedTensor, ...]) -> tuple[MemoryLine, ...]:
    """Matrices held a second time on a CPU. Row lookups (the token embedding) are not repacked, nor the output tied to it."""
    total = sum(
        entry.bytes
        for entry in tensors
        if entry.kind.name in REPACKED_TYPES and entry.tensor.name != "token_embd.weight"
    )
    if not total:
        return ()
    return (
        MemoryLine(
            part="weights: repacked copies",
            bytes=total,
            phase="steady",
            basis="formula",
            reason=f"{', '.join(sorted(REPACKED_TYPES))} are held twice on an AVX2 CPU; the pages of the file may be dropped again",
            source=SOURCE,
            formula=f"bytes of the repacked matrices = {total:,} B",
        ),
    )


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
            reason=f"reserved for a micro-batch of {settings.ubatch_tokens} tokens at the full context, held all the time",
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

    With u = 4 bytes * micro-batch, H the width, F the inner width of the feed-forward (of all experts of a token), q and k the
    widths of queries and keys, V the vocabulary, o the outputs, C the cells, h the query heads:
    masks + max(feed-forward, attention, output), where masks = C * micro-batch * 2 bytes with flash attention, else 4;
    feed-forward = u * (3F + 5H) (F + 5H without a gate; one H less on an accelerator, where the embedding comes from the host);
    attention without flash attention = u * C * h + u * (3H + 3q + 2k) on a CPU, u * C * h + 4 u H on an accelerator;
    output = 4 o * (V + H).
    """
    stack = spec.cached_stack or spec.stacks[0]
    ubatch = min(settings.ubatch_tokens, padded(workload.context_tokens * workload.sequences))
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


def _attention_bytes(
    spec: ModelSpec, workload: Workload, settings: Settings, ubatch: int, *, on_cpu: bool
) -> tuple[int, int]:
    """Bytes of the masks, and of the worst attention layer."""
    stack = spec.cached_stack or spec.stacks[0]
    windowed = lineage_of(spec).windowed
    unit = 4 * ubatch
    masks: dict[str, int] = {}
    worst = 0
    for block in stack.blocks:
        mixer = block.mixer
        if isinstance(mixer, StateSpace):
            worst = max(worst, unit * (8 * mixer.inner_dim - stack.hidden_dim))
            continue
        name, _, cells = layer_cache(mixer, workload, settings, windowed=windowed)
        masks[name] = cells * ubatch * (2 if settings.flash_attention else 4)
        heads, queries, keys = _attention_widths(mixer)
        outer = 3 * stack.hidden_dim + 3 * queries + 2 * keys if on_cpu else 4 * stack.hidden_dim
        scores = 0 if settings.flash_attention else cells * heads
        worst = max(worst, unit * (scores + outer))
    return sum(masks.values()), worst


def _attention_widths(mixer: Mixer) -> tuple[int, int, int]:
    """Query heads, and the widths of all queries and of the keys of one token."""
    if isinstance(mixer, LatentAttention):
        width = mixer.latent_dim + mixer.rope_dim
        return mixer.query_heads, mixer.query_heads * width, width
    if isinstance(mixer, FullAttention):
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
