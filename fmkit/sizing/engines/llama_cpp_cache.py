"""What llama.cpp keeps between steps: cells of keys and values, windows with one micro-batch, recurrent states."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.attention import EncoderAttention, FullAttention, LatentAttention, SlidingAttention
from fmkit.model.gguf_lineages import lineage_of
from fmkit.model.layers import parts_of
from fmkit.model.recurrent import Mamba2, ShortConvolution, StateSpace
from fmkit.sizing.engines.llama_cpp_options import Settings
from fmkit.sizing.estimate import MemoryLine
from fmkit.units import ceil_div, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.model.layers import SimpleMixer
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload

CELL_PADDING = 256
"""Cells of the cache are allocated in multiples of this. Source: llama.cpp src/llama-context.cpp, llama-kv-cache-iswa.cpp."""

SOURCE = "llama.cpp b11549; equal to the buffer it reports (tests/sizing/test_llama_cpp.py)"
"""Where the rules come from, and what they were held against."""


class Layers(msgspec.Struct, frozen=True):
    """Which layers lie on a device: `first` up to, but without, `end`, of `total`; with or without the output matrix."""

    first: int
    end: int
    total: int
    has_output: bool

    @property
    def count(self) -> int:
        """How many layers."""
        return self.end - self.first

    @property
    def is_whole(self) -> bool:
        """Whether no layer lies elsewhere."""
        return self.first == 0 and self.end == self.total

    def count_of(self, layers: Sequence[int]) -> int:
        """How many of some layers, in ascending order, have their weights and cache on the device."""
        return len(layers) if self.is_whole else bisect_left(layers, self.end) - self.count_before(layers)

    def count_before(self, layers: Sequence[int]) -> int:
        """How many of some layers, in ascending order, come before the device's."""
        return bisect_left(layers, self.first) if self.first else 0


def device_layers(total: int, gpu_layers: int | None, devices: int = 1) -> tuple[Layers, ...]:
    """The layers of each device: the output matrix comes first, then the last blocks, and what is left stays with the host.

    Several equal devices get equal runs of the layers, the output matrix counted as one more. Source: llama-model.cpp, `i_gpu_start`
    and `get_layer_buft`; 9, 8, 8 and 7 layers of Llama-3-8B on four cards in published logs.

    >>> device_layers(32, None), device_layers(32, 10), device_layers(32, 0)[0].has_output
    ((Layers(first=0, end=32, total=32, has_output=True),), (Layers(first=23, end=32, total=32, has_output=True),), False)
    >>> [each.count for each in device_layers(32, None, 4)]
    [9, 8, 8, 7]
    """
    wanted = total + 1 if gpu_layers is None else min(gpu_layers, total + 1)
    first = total + 1 - wanted
    if not wanted:
        return (Layers(total, total, total, has_output=False),)
    ends = [min(total, first + ceil_div(wanted * (number + 1), devices)) for number in range(devices)]
    starts = [min(first, total), *ends[:-1]]
    return tuple(
        Layers(start, end, total, has_output=number == devices - 1)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    )


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


RECURRENT = (StateSpace, Mamba2, ShortConvolution)
"""Kinds of layer whose state llama.cpp keeps in float32, one of each sequence."""

RECURRENT_STATE = "recurrent state"
STATE_BYTES = 4


def state_elements(mixer: SimpleMixer) -> int:
    """Elements of the state of one layer: the last inputs of the convolution, one less than its kernel, and the recurrent state.

    Source: llama.cpp src/llama-hparams.cpp, `n_embd_r` and `n_embd_s`.

    >>> state_elements(StateSpace(inner_dim=4096, state_dim=16, conv_kernel=4, dt_rank=128)) * 4 * 48  # mamba-1.4b: 14.25 MiB logged
    14942208
    """
    match mixer:
        case StateSpace():
            return mixer.inner_dim * (mixer.conv_kernel - 1 + mixer.state_dim)
        case Mamba2():
            return mixer.conv_dim * (mixer.conv_kernel - 1) + mixer.inner_dim * mixer.state_dim
        case ShortConvolution():
            return mixer.hidden_dim * (mixer.conv_kernel - 1)
    return 0


def micro_batch(workload: Workload, settings: Settings, *, causal: bool) -> int:
    """Tokens of a micro-batch: `ubatch`, never more than the context; an encoder must see an input as a whole, however long.

    It is cut to the context as it was asked for, before that is rounded up to whole cells: llama.cpp b11549 reports `n_ubatch = 300` for
    300 tokens, and a compute buffer of 8.87 MiB for SmolLM2-135M.
    """
    wanted = settings.ubatch_tokens if causal else max(settings.ubatch_tokens, workload.context_tokens)
    return min(wanted, workload.context_tokens * workload.sequences)


class EqualLayers(NamedTuple):
    """Layers of one block, or one side of a parallel one, with their numbers in ascending order."""

    mixer: SimpleMixer
    layers: tuple[int, ...]


class Kept(NamedTuple):
    """What one of these layers keeps for all sequences: the name of its kind, bytes and cells."""

    name: str
    bytes: int
    cells: int


class LlamaCppCache:
    """The cache of one model in llama.cpp: its layers are sorted once, the work is put in as often as is asked."""

    def __init__(self, spec: ModelSpec) -> None:
        stack = spec.cached_stack or spec.stacks[0]
        numbers: dict[int, list[int]] = defaultdict(list)
        for layer, number in enumerate(stack.layer_blocks):
            numbers[number].append(layer)
        self._keeps = spec.cached_stack is not None
        self._windowed = lineage_of(spec).windowed
        self.mixers = tuple(
            EqualLayers(part, tuple(numbers[number]))
            for number, block in enumerate(stack.blocks)
            for part in parts_of(block.mixer)
        )
        there = [number for number, equal in enumerate(self.mixers) if equal.layers]
        self._in_order = sorted(there, key=lambda number: self.mixers[number].layers[0])

    def kept(self, workload: Workload, settings: Settings) -> list[Kept]:
        """What a layer of each of `mixers` keeps."""
        return [Kept(*layer_cache(each.mixer, workload, settings, windowed=self._windowed)) for each in self.mixers]

    def lines(self, kept: list[Kept], settings: Settings, on: Layers) -> tuple[tuple[MemoryLine, ...], int]:
        """A line per kind of layer for what the device keeps, and the bytes of all layers that come before it."""
        if not self._keeps:
            return (), 0
        kinds: dict[str, list[tuple[int, Kept]]] = defaultdict(list)
        for number in self._in_order:
            kinds[kept[number].name].append((number, kept[number]))
        host_bytes = 0
        lines = []
        for name, members in kinds.items():
            here = size = 0
            for number, each in members:
                layers = self.mixers[number].layers
                count = on.count_of(layers)
                here += count
                size += count * each.bytes
                host_bytes += on.count_before(layers) * each.bytes
            if size:
                _, last = max(members, key=lambda member: self.mixers[member[0]].layers[-1])
                lines.append(_cache_line(name, size, here, last.cells, settings))
        return tuple(lines), host_bytes


def layer_cache(mixer: SimpleMixer, workload: Workload, settings: Settings, *, windowed: bool) -> tuple[str, int, int]:
    """Name of the kind, bytes of one layer for all sequences, and cells of it."""
    sequences = workload.sequences
    streams = 1 if settings.kv_unified else sequences
    cells = padded(workload.context_tokens * (sequences if settings.kv_unified else 1))
    if isinstance(mixer, RECURRENT):
        return RECURRENT_STATE, state_elements(mixer) * STATE_BYTES * sequences, 0
    if isinstance(mixer, EncoderAttention):
        return "encoder attention", 0, micro_batch(workload, settings, causal=False)
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


def _cache_line(name: str, size: int, layers: int, cells: int, settings: Settings) -> MemoryLine:
    types = f"{settings.key_type.name.lower()} keys, {settings.value_type.name.lower()} values"
    if cells:
        reason = f"{layers} layers with {format_tokens(cells)} cells each, {types}, allocated at the start"
    else:
        reason = f"{layers} layers keep a fixed state in float32, whatever the context"
    return MemoryLine(
        part=f"cache: {name}",
        bytes=size,
        phase="steady",
        basis="formula",
        reason=reason,
        source=SOURCE,
        formula=f"layers x cells x (kv heads x head dim) x bytes of keys and values = {size:,} B",
    )
