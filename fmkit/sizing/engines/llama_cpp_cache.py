"""What llama.cpp keeps between steps: cells of keys and values, windows with one micro-batch, recurrent states."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.gguf_tensors import WINDOW_PATTERNS, lineage_of
from fmkit.model.layers import FullAttention, LatentAttention, SlidingAttention, StateSpace
from fmkit.sizing.engines.llama_cpp_options import Settings
from fmkit.sizing.estimate import MemoryLine
from fmkit.units import ceil_div, format_tokens

if TYPE_CHECKING:
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload

CELL_PADDING = 256
"""Cells of the cache are allocated in multiples of this. Source: llama.cpp src/llama-context.cpp, llama-kv-cache-iswa.cpp."""

SOURCE = "llama.cpp b11549; equal to the buffer it reports (tests/sizing/test_llama_cpp.py)"
"""Where the rules come from, and what they were held against."""


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


def padded(tokens: int) -> int:
    """Cells for that many tokens.

    >>> padded(1), padded(4096), padded(4097)
    (256, 4096, 4352)
    """
    return ceil_div(tokens, CELL_PADDING) * CELL_PADDING


def window_cells(context_tokens: int, window_tokens: int, sequences: int, settings: Settings) -> int:
    """Cells that a sliding layer gets for one stream: the window and one micro-batch, never more than the context's.

    Source: llama.cpp src/llama-kv-cache-iswa.cpp.

    >>> from fmkit.sizing.engines.llama_cpp_options import settings_from
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


def cache_lines(
    spec: ModelSpec, workload: Workload, settings: Settings, layers: Layers
) -> tuple[tuple[MemoryLine, ...], int]:
    """A line per kind of layer for what the device keeps, and the bytes that stay with the host."""
    stack = spec.cached_stack
    if stack is None:
        return (), 0
    windowed = lineage_of(spec).windowed
    kinds: dict[str, _Stored] = defaultdict(_Stored)
    for layer, mixer in enumerate(_mixers_in_order(spec)):
        name, each, cells = layer_cache(mixer, workload, settings, windowed=windowed)
        kind = kinds[name]
        if layers.holds(layer):
            kind.device_bytes += each
        else:
            kind.host_bytes += each
        kind.layers += 1
        kind.cells = cells
    lines = tuple(_cache_line(name, kind, settings) for name, kind in kinds.items() if kind.device_bytes)
    return lines, sum(kind.host_bytes for kind in kinds.values())


def _mixers_in_order(spec: ModelSpec) -> list[Mixer]:
    """The mixer of each layer.

    A spec made from config.json counts equal layers together; where windows alternate, llama.cpp's own pattern says which come first.
    """
    stack = spec.cached_stack or spec.stacks[0]
    every = WINDOW_PATTERNS.get(lineage_of(spec).architecture)
    counted = [block.mixer for block in stack.blocks for _ in range(block.count)]
    local = [mixer for mixer in counted if isinstance(mixer, SlidingAttention)]
    rest = [mixer for mixer in counted if not isinstance(mixer, SlidingAttention)]
    if every is None or not local or not rest:
        return counted
    are_local = [layer % every < every - 1 for layer in range(len(counted))]
    if sum(are_local) != len(local):
        return counted
    return [local.pop() if is_local else rest.pop() for is_local in are_local]


def layer_cache(mixer: Mixer, workload: Workload, settings: Settings, *, windowed: bool) -> tuple[str, int, int]:
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
        source=SOURCE,
        formula=f"layers x cells x (kv heads x head dim) x bytes of keys and values = {kind.device_bytes:,} B",
    )
