"""llama.cpp (b11549): everything is allocated at the start, for the context that was asked for.

Weights as the GGUF file has them, keys and values in whole cells of 256 tokens, one compute buffer for the worst micro-batch. On an
accelerator the token embedding stays in the host's memory; on a CPU some types are held twice, the second time repacked.

Options (`--engine-option`): `cache_type_k`, `cache_type_v`, `ubatch`, `swa_full`, `kv_unified`, `gpu_layers`, `flash_attention`
(on, off), `outputs` (last, all), `imatrix`, `repack`. Names and defaults are those of llama-server.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import ArchitectureUnknownError, UsageError
from fmkit.model.ggml import TYPES
from fmkit.model.gguf_mix import mixed
from fmkit.model.gguf_tensors import lineage_of
from fmkit.model.layers import FullAttention, LatentAttention, SlidingAttention, StateSpace
from fmkit.sizing.engines.plan import Plan
from fmkit.sizing.engines.transformers import is_cpu
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.weights import PART_NAMES
from fmkit.units import ceil_div, format_bytes, format_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Machine
    from fmkit.model.ggml import GgmlType
    from fmkit.model.gguf_mix import MixedTensor
    from fmkit.model.layers import Mixer
    from fmkit.model.precision import Layout
    from fmkit.model.spec import Mlp, ModelSpec, Part
    from fmkit.sizing.estimate import Workload

CELL_PADDING = 256
"""Cells of the cache are allocated in multiples of this. Source: llama.cpp src/llama-context.cpp, llama-kv-cache-iswa.cpp."""

PIPELINE_COPIES = 4
"""Copies of its inputs that each device keeps where layers are split over several. Source: GGML_SCHED_MAX_COPIES."""

REPACKED_TYPES = frozenset(("Q4_0", "Q4_K", "IQ4_NL"))
"""Types whose matrices are held a second time, repacked for AVX2, on an x86 CPU. Source: buffers logged by llama.cpp b11549 on an
AVX2 machine for 11 file types; other processors repack others."""

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
"""What keys and values may be stored in."""

_SOURCE = "llama.cpp b11549; equal to the buffer it reports (tests/sizing/test_llama_cpp.py)"
_TRUE = {"true": True, "on": True, "1": True, "yes": True, "false": False, "off": False, "0": False, "no": False}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's options, read and checked. `gpu_layers` None means all, the output matrix included."""

    key_type: GgmlType
    value_type: GgmlType
    ubatch_tokens: int = 512
    swa_full: bool = False
    kv_unified: bool = False
    gpu_layers: int | None = None
    flash_attention: bool = True
    all_outputs: bool = False
    imatrix: bool = False
    repack: bool = True


def settings_from(options: Mapping[str, str]) -> Settings:
    """The options as typed; UsageError for an unknown name or value."""
    known = {
        "cache_type_k", "cache_type_v", "ubatch", "swa_full", "kv_unified", "gpu_layers", "flash_attention", "outputs", "imatrix",
        "repack",
    }  # fmt: skip
    for name in options:
        if name not in known:
            raise UsageError.unknown("option of llama.cpp", name, sorted(known), where="--engine-option")
    settings = Settings(
        key_type=_cache_type(options, "cache_type_k"),
        value_type=_cache_type(options, "cache_type_v"),
        ubatch_tokens=_whole(options, "ubatch", 512, least=1) or 512,
        swa_full=_flag(options, "swa_full", default=False),
        kv_unified=_flag(options, "kv_unified", default=False),
        gpu_layers=_whole(options, "gpu_layers", None, least=0),
        flash_attention=_flag(options, "flash_attention", default=True),
        all_outputs=_choice(options, "outputs", ("last", "all")) == "all",
        imatrix=_flag(options, "imatrix", default=False),
        repack=_flag(options, "repack", default=True),
    )
    if settings.value_type.block_weights > 1 and not settings.flash_attention:
        raise UsageError("llama.cpp quantises values with flash attention only", where="--engine-option cache_type_v")
    return settings


def _choice(options: Mapping[str, str], name: str, valid: tuple[str, ...]) -> str:
    value = options.get(name, valid[0]).casefold()
    if value not in valid:
        raise UsageError.unknown(name, value, valid, where=f"--engine-option {name}")
    return value


def _cache_type(options: Mapping[str, str], name: str) -> GgmlType:
    value = options.get(name, "f16").casefold()
    if value not in CACHE_TYPES:
        raise UsageError.unknown("cache type", value, CACHE_TYPES, where=f"--engine-option {name}")
    return TYPES[value.upper()]


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name)
    if value is None:
        return default
    if value.casefold() not in _TRUE:
        raise UsageError.unknown(name, value, ("true", "false"), where=f"--engine-option {name}")
    return _TRUE[value.casefold()]


def _whole(options: Mapping[str, str], name: str, default: int | None, *, least: int) -> int | None:
    value = options.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= 2**20:
        raise UsageError(
            f"can't read {value!r}: write a whole number, at least {least}", where=f"--engine-option {name}"
        )
    return int(value)


class Layers(msgspec.Struct, frozen=True):
    """Which layers lie on the device: the last ones, as llama.cpp fills it from the output backwards."""

    first: int
    total: int
    has_output: bool

    def holds(self, layer: int) -> bool:
        """Whether that layer's weights and cache are on the device."""
        return layer >= self.first


def device_layers(total: int, gpu_layers: int | None) -> Layers:
    """The output matrix comes first, then the last blocks. Source: llama-model.cpp, `i_gpu_start`.

    >>> device_layers(32, None), device_layers(32, 10), device_layers(32, 0)
    (Layers(first=0, total=32, has_output=True), Layers(first=23, total=32, has_output=True), Layers(first=32, total=32, has_output=False))
    """
    if gpu_layers is None:
        return Layers(0, total, has_output=True)
    return Layers(min(total, max(0, total + 1 - gpu_layers)), total, has_output=gpu_layers > 0)


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
    weights, host_bytes = _weight_lines(tensors, layers, shared=shared)
    if on_cpu and settings.repack:
        weights = (*weights, *_repacked_lines(tensors))
    cache, host_cache_bytes = _cache_lines(spec, workload, settings, layers)
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


# Weights -------------------------------------------------------------------------------------------------------------


def _weight_lines(
    tensors: tuple[MixedTensor, ...], layers: Layers, *, shared: bool
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
    lines = [_part_line(part, by_part[part], tied=tied is not None) for part in PART_NAMES if part in by_part]
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


def _part_line(part: Part, by_type: Mapping[str, int], *, tied: bool) -> MemoryLine:
    total = sum(by_type.values())
    share = ", ".join(
        f"{name} {format_bytes(count)}" for name, count in sorted(by_type.items(), key=lambda item: -item[1])
    )
    copied = "; a copy of the embedding, which is the output matrix too" if part == "head" and tied else ""
    return MemoryLine(
        part=f"weights: {PART_NAMES[part]}",
        bytes=total,
        phase="steady",
        basis="formula",
        reason=f"{share}{copied}",
        source="tensors as llama.cpp converts and quantises them (llama-quant.cpp); 8 published files equal to the byte",
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
            source=_SOURCE,
            formula=f"bytes of the repacked matrices = {total:,} B",
        ),
    )


# Cache ---------------------------------------------------------------------------------------------------------------


def padded(tokens: int) -> int:
    """Cells for that many tokens.

    >>> padded(1), padded(4096), padded(4097)
    (256, 4096, 4352)
    """
    return ceil_div(tokens, CELL_PADDING) * CELL_PADDING


def window_cells(context_tokens: int, window_tokens: int, sequences: int, settings: Settings) -> int:
    """Cells that a sliding layer gets for one stream: the window and one micro-batch, never more than the context's.

    Source: llama.cpp src/llama-kv-cache-iswa.cpp.

    >>> window_cells(4096, 128, 1, settings_from({}))  # gpt-oss
    768
    """
    cells = padded(context_tokens * (sequences if settings.kv_unified else 1))
    if settings.swa_full:
        return cells
    streams = sequences if settings.kv_unified else 1
    return padded(min(cells, window_tokens * streams + settings.ubatch_tokens))


class _Stored(msgspec.Struct):
    """What one kind of layer keeps: on the device, with the host, and how."""

    device_bytes: int = 0
    host_bytes: int = 0
    layers: int = 0
    cells: int = 0


def _cache_lines(
    spec: ModelSpec, workload: Workload, settings: Settings, layers: Layers
) -> tuple[tuple[MemoryLine, ...], int]:
    stack = spec.cached_stack
    if stack is None:
        return (), 0
    windowed = lineage_of(spec).windowed
    kinds: dict[str, _Stored] = defaultdict(_Stored)
    layer = 0
    for block in stack.blocks:
        name, each, cells = _layer_cache(block.mixer, workload, settings, windowed=windowed)
        kind = kinds[name]
        on_device = sum(layers.holds(layer + place) for place in range(block.count))
        kind.device_bytes += each * on_device
        kind.host_bytes += each * (block.count - on_device)
        kind.layers += block.count
        kind.cells = cells
        layer += block.count
    lines = tuple(_cache_line(name, kind, settings) for name, kind in kinds.items() if kind.device_bytes)
    return lines, sum(kind.host_bytes for kind in kinds.values())


def _layer_cache(mixer: Mixer, workload: Workload, settings: Settings, *, windowed: bool) -> tuple[str, int, int]:
    """Name of the kind, bytes of one layer for all sequences, and cells of it."""
    sequences = workload.sequences
    streams = 1 if settings.kv_unified else sequences
    cells = padded(workload.context_tokens * (sequences if settings.kv_unified else 1))
    if isinstance(mixer, StateSpace):
        each = mixer.inner_dim * (mixer.conv_kernel - 1 + mixer.state_dim) * 4
        return "recurrent state", each * sequences, 0
    if isinstance(mixer, LatentAttention):
        row = settings.key_type.tensor_bytes((mixer.latent_dim + mixer.rope_dim,))
        return "latent attention (MLA)", row * cells * streams, cells
    if not isinstance(mixer, FullAttention):
        raise ArchitectureUnknownError(
            f"the cache that llama.cpp keeps for layers of kind {type(mixer).__name__} is not known to this version",
            where="--engine llama.cpp",
        )
    name = "full attention"
    if isinstance(mixer, SlidingAttention) and windowed:
        name = "sliding window"
        cells = window_cells(workload.context_tokens, mixer.window_tokens, sequences, settings)
    row = settings.key_type.tensor_bytes((mixer.kv_heads * mixer.key_dim,))
    row += settings.value_type.tensor_bytes((mixer.kv_heads * mixer.value_dim,))
    return name, row * cells * streams, cells


def _cache_line(name: str, kind: _Stored, settings: Settings) -> MemoryLine:
    types = f"{settings.key_type.name.lower()} keys, {settings.value_type.name.lower()} values"
    if kind.cells:
        reason = f"{kind.layers} layers with {format_tokens(kind.cells)} cells each, {types}, allocated at the start"
    else:
        reason = f"{kind.layers} layers keep a fixed state in float32, whatever the context"
    return MemoryLine(
        part=f"cache: {name}",
        bytes=kind.device_bytes,
        phase="steady",
        basis="formula",
        reason=reason,
        source=_SOURCE,
        formula=f"layers x cells x (kv heads x head dim) x bytes of keys and values = {kind.device_bytes:,} B",
    )


# Compute buffer ------------------------------------------------------------------------------------------------------


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
                source=_SOURCE,
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
        name, _, cells = _layer_cache(mixer, workload, settings, windowed=windowed)
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
