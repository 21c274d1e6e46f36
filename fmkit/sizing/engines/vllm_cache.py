"""The KV cache of vLLM: pages of a fixed number of tokens, layers in groups that share one pool.

vLLM reserves for each sequence the blocks that its longest request can need. A page is one layer's block; all groups
have the same number of layers and the same page, so a kind with fewer layers is padded. Rules read from
`v1/kv_cache_interface.py` and `v1/core/kv_cache_utils.py` of vLLM 0.20 (main at 001cabc1be16, after 0.20.0), and from
its model configs for hybrids.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from fmkit.model.attention import (
    BlockSparseAttention,
    ChunkedAttention,
    CompressedAttention,
    CrossAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
    SharedAttention,
    SlidingAttention,
)
from fmkit.model.layers import parts_of
from fmkit.model.recurrent import (
    DeltaAttention,
    LinearAttention,
    Mamba2,
    NoMixer,
    Rwkv,
    RwkvMatrix,
    ShortConvolution,
    StateSpace,
)
from fmkit.sizing.cache import KIND_NAMES, cached_blocks
from fmkit.sizing.estimate import MemoryLine
from fmkit.units import ceil_div, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.model.layers import SimpleMixer
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engines.vllm_options import Settings

SOURCE = "vLLM 0.20 v1/kv_cache_interface.py and v1/core/kv_cache_utils.py (read at 001cabc1be16)"
SCALE_BYTES = 4
"""Bytes of the float32 scale that a per-token-head cache keeps for each key and each value vector."""
SPARSE_LATENT_BYTES = 656
"""Bytes of one token of DeepSeek-V3.2's latent in its own fp8 format (`fp8_ds_mla`)."""
INDEX_SCALE_BYTES = 4
"""Bytes of the scale beside 128 fp8 elements of DeepSeek-V3.2's indexer key."""
DELTA_STATE_BYTES = 4
"""Bytes of one element of a gated delta state: the published configs ask for float32."""
NEAR = 1.5
"""Kinds whose numbers of layers differ by less than this factor are padded to the larger, not cut to the smaller."""


class Page(NamedTuple):
    """What vLLM's allocator knows of a layer: its kind, and the bytes of a page of `block_tokens` tokens.

    `window_tokens` is set for a window or chunk; a state is one page per sequence and has `block_tokens` 0.
    """

    kind: str
    page_bytes: int
    block_tokens: int
    window_tokens: int = 0


class Group(NamedTuple):
    """All layers of one kind: `groups` groups of `slots` layers each, some of them padding, and the blocks a sequence takes."""

    page: Page
    layers: int
    groups: int
    slots: int
    blocks: int

    @property
    def sequence_bytes(self) -> int:
        """Bytes reserved for one sequence."""
        return self.groups * self.slots * self.blocks * self.page.page_bytes

    @property
    def padding(self) -> int:
        """Layers that do not exist and take blocks all the same."""
        return self.groups * self.slots - self.layers


def groups_of(spec: ModelSpec, settings: Settings, context_tokens: int, encoder_tokens: int) -> list[Group]:
    """The cache groups of a model, with the blocks that one sequence of `context_tokens` tokens takes in each.

    Bytes of a sequence = sum over kinds of groups * slots * blocks * page_bytes, where page_bytes = block_tokens *
    bytes of one token in one layer. Blocks: full and latent attention ceil(tokens / block); a window ceil(min(window -
    1 + batched tokens, tokens) / block) + 1; chunked attention ceil(min(chunk + batched tokens, tokens) / block); a
    state 1.

    >>> from fmkit.model.spec import Block, ModelSpec, Stack
    >>> from fmkit.sizing.engines.vllm_options import Settings
    >>> window = SlidingAttention(query_heads=32, kv_heads=8, key_dim=128, value_dim=128, window_tokens=4096)
    >>> stack = Stack(role="decoder", hidden_dim=4096, blocks=(Block(count=32, mixer=window),))
    >>> mistral = ModelSpec(architecture="M", model_type="mistral", kind="decoder", stacks=(stack,), tensors=(), config_dtype="bfloat16",
    ...     vocab_size=32000, max_context_tokens=32768, context_is_hard=False)
    >>> [group.sequence_bytes for group in groups_of(mistral, Settings(batched_tokens=8192), 32768, 0)]  # (12,287 / 16 -> 768) + 1
    [1612709888]
    """
    counts: dict[Page, int] = defaultdict(int)
    for block in cached_blocks(spec):
        mixers = [*parts_of(block.mixer), *([block.cross] if block.cross is not None else [])]
        for mixer in mixers:
            for page in _pages(mixer, settings, context_tokens):
                counts[page] += block.count
    if settings.one_kind:
        counts = _without_windows(counts)
    aligned = _one_page_size(counts, settings)
    slots = _slots(aligned)
    return [
        Group(
            page=page,
            layers=layers,
            groups=ceil_div(layers, slots) if slots else 1,
            slots=slots or layers,
            blocks=_blocks(page, settings, context_tokens, encoder_tokens),
        )
        for page, layers in aligned.items()
    ]


def cache_lines(groups: Sequence[Group], sequences: int) -> list[MemoryLine]:
    """One line per kind of layer."""
    by_kind: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_kind[group.page.kind].append(group)
    lines = []
    for kind, members in by_kind.items():
        terms = " + ".join(
            f"{group.groups} groups x {group.slots} layers x {group.blocks:,} blocks x {group.page.page_bytes:,} B"
            for group in members
        )
        size = sequences * sum(group.sequence_bytes for group in members)
        lines.append(
            MemoryLine(
                part=f"cache: {KIND_NAMES[kind]}",
                bytes=size,
                phase="steady",
                basis="assumed" if kind == "compressed" else "formula",
                reason=_reason(kind, members),
                source=SOURCE,
                formula=f"{sequences} x ({terms}) = {size:,} B",
            )
        )
    return [line for line in lines if line.bytes]


def pool_tokens(groups: Sequence[Group], pool_bytes: int) -> int:
    """The "GPU KV cache size" in tokens that vLLM prints for a pool of `pool_bytes`.

    Tokens = floor(blocks / groups) * block tokens, with blocks = floor(pool / (slots * page_bytes)).
    """
    paged = [group for group in groups if group.page.block_tokens]
    if not paged:
        return 0
    if _is_one_kind(groups):
        return pool_bytes // sum(group.slots * group.page.page_bytes for group in groups) * paged[0].page.block_tokens
    blocks = pool_bytes // (groups[0].slots * groups[0].page.page_bytes)
    return blocks // sum(group.groups for group in groups) * min(group.page.block_tokens for group in paged)


def _is_one_kind(groups: Sequence[Group]) -> bool:
    return len({(group.page.kind, group.page.window_tokens) for group in groups}) == 1


def _pages(mixer: SimpleMixer, settings: Settings, context_tokens: int) -> list[Page]:
    """The caches of one layer; a layer with an indexer has two."""
    block = settings.block_tokens
    match mixer:
        case SharedAttention() | EncoderAttention() | NoMixer():
            pages = []
        case SlidingAttention():
            kind = "chunked" if isinstance(mixer, ChunkedAttention) else "sliding"
            pages = [Page(kind, block * _token_bytes(mixer, settings), block, mixer.window_tokens)]
        case BlockSparseAttention():
            # The indexer's keys have pages of their own, 16 bit whatever the cache's type.
            index = Page("full", block * mixer.index_dim * 2, block)
            pages = [Page("full", block * _token_bytes(mixer, settings), block), index]
        case FullAttention() | CrossAttention():
            kind = "cross" if isinstance(mixer, CrossAttention) else "full"
            pages = [Page(kind, block * _token_bytes(mixer, settings), block)]
        case LatentAttention():
            pages = _latent_pages(mixer, settings)
        case CompressedAttention():
            pages = [Page("compressed", mixer.cache_bytes(context_tokens, 0, settings.element_bytes), 0)]
        case _:
            pages = [Page(str(type(mixer).__struct_config__.tag), _state_bytes(mixer, settings), 0)]
    return pages


def _token_bytes(mixer: FullAttention | CrossAttention, settings: Settings) -> int:
    """Bytes of the keys and values of one token in one layer, with the scales that the cache's type keeps."""
    heads, width = mixer.kv_heads, mixer.key_dim + mixer.value_dim
    if settings.cache_type == "nvfp4":
        return heads * (width // 2 + width // 16)
    scales = 2 * SCALE_BYTES if settings.cache_type.endswith("per_token_head") else 0
    return heads * (width * settings.element_bytes + scales)


def _latent_pages(mixer: LatentAttention, settings: Settings) -> list[Page]:
    block = settings.block_tokens
    token = (mixer.latent_dim + mixer.rope_dim) * settings.element_bytes
    if mixer.index_dim and settings.cache_type.startswith("fp8"):
        token = SPARSE_LATENT_BYTES
    pages = [Page("latent", block * token, block)]
    if mixer.index_dim:
        pages.append(
            Page("latent", block * (mixer.index_dim + INDEX_SCALE_BYTES * ceil_div(mixer.index_dim, 128)), block)
        )
    return pages


def _state_bytes(mixer: SimpleMixer, settings: Settings) -> int:
    """Bytes of the state of one layer: the last inputs of a convolution in the model's type, and the recurrent state.

    vLLM keeps one input less than transformers (kernel - 1); the recurrent state follows `mamba_ssm_cache_dtype`: the
    model's type, float32 for gated delta attention, whose published configs ask for it.
    """
    element = settings.model_bytes
    state = settings.state_bytes or element
    match mixer:
        case StateSpace():
            size = mixer.inner_dim * ((mixer.conv_kernel - 1) * element + mixer.state_dim * state)
        case Mamba2():
            size = mixer.conv_dim * (mixer.conv_kernel - 1) * element + mixer.inner_dim * mixer.state_dim * state
        case DeltaAttention():
            held = mixer.value_heads * mixer.key_dim * mixer.value_dim * (settings.state_bytes or DELTA_STATE_BYTES)
            size = mixer.conv_dim * (mixer.conv_kernel - 1) * element + held
        case LinearAttention():
            size = mixer.heads * mixer.head_dim**2 * state
        case ShortConvolution():
            size = mixer.hidden_dim * (mixer.conv_kernel - 1) * element
        case Rwkv() | RwkvMatrix():
            size = mixer.cache_bytes(0, 0, element)
        case _:
            size = 0
    return size


def _without_windows(counts: dict[Page, int]) -> dict[Page, int]:
    """With the hybrid manager off, windows beside full attention are held as full attention."""
    if not any(page.kind == "full" for page in counts):
        return counts
    merged: dict[Page, int] = defaultdict(int)
    for page, layers in counts.items():
        windowed = page.kind in ("sliding", "chunked")
        merged[page._replace(kind="full", window_tokens=0) if windowed else page] += layers
    return merged


def _one_page_size(counts: dict[Page, int], settings: Settings) -> dict[Page, int]:
    """Pages of one size where kinds differ: smaller ones get longer blocks, and a state is padded to the attention's page.

    Beside a state, the attention's block grows in steps of the kernel's alignment until its page holds the state.
    """
    kinds = {(page.kind, page.window_tokens) for page in counts}
    if len(kinds) <= 1:
        return dict(counts)
    state = max((page.page_bytes for page in counts if not page.block_tokens), default=0)
    attention = max((page.page_bytes for page in counts if page.block_tokens), default=0)
    longer = 1
    if state and attention:
        step = ceil_div(settings.alignment_tokens, settings.block_tokens)
        longer = step * ceil_div(state, step * attention)
    size = max(attention * longer, state)
    merged: dict[Page, int] = defaultdict(int)
    for page, layers in counts.items():
        ratio = size // page.page_bytes if page.block_tokens and page.page_bytes else 1
        merged[page._replace(page_bytes=size, block_tokens=page.block_tokens * ratio)] += layers
    return dict(merged)


def _slots(counts: dict[Page, int]) -> int:
    """Layers per group; 0 where all layers are of one kind and each keeps its own page size.

    The smallest number of layers of a kind, or the largest where it is less than 1.5 times that.
    """
    if len({(page.kind, page.window_tokens) for page in counts}) <= 1:
        return 0
    fewest, most = min(counts.values()), max(counts.values())
    return most if most < fewest * NEAR else fewest


def _blocks(page: Page, settings: Settings, context_tokens: int, encoder_tokens: int) -> int:
    """Blocks that one sequence takes in a layer of this kind."""
    if not page.block_tokens:
        return settings.state_pages if page.kind != "compressed" else 1
    if page.kind == "cross":
        return ceil_div(encoder_tokens, page.block_tokens)
    if page.kind == "sliding":
        held = min(page.window_tokens - 1 + settings.batched_tokens, context_tokens)
        return ceil_div(held, page.block_tokens) + 1
    if page.kind == "chunked":
        held = min(page.window_tokens + settings.batched_tokens, context_tokens)
        return ceil_div(held, page.block_tokens)
    return ceil_div(context_tokens, page.block_tokens)


def _reason(kind: str, members: Sequence[Group]) -> str:
    layers = sum(group.layers for group in members)
    padding = sum(group.padding for group in members)
    padded = f", {padding} of padding added" if padding else ""
    if kind == "compressed":
        return f"{layers} layers, counted as transformers holds them: vLLM's own rule for this kind is not known here"
    if not members[0].page.block_tokens:
        return f"{layers} layers keep one state a sequence{padded}"
    held = max(group.blocks * group.page.block_tokens for group in members)
    block = members[0].page.block_tokens
    beside = ": the window, a batch of prompt and one block more" if kind == "sliding" else ""
    return f"{layers} layers{padded} keep {format_tokens(held)} tokens in blocks of {block}{beside}"
