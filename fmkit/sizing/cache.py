"""The cache of the decoder, per kind of layer: keys and values, recurrent state, cross-attention.

The formula sits on the kind (`fmkit.model.layers`); this file sums it over the blocks of a model.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from fmkit.model.attention import CompressedAttention, SlidingAttention
from fmkit.model.layers import parts_of
from fmkit.sizing.drafts import DraftLine, Words
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.layers import SimpleMixer
    from fmkit.model.spec import Block, ModelSpec

KIND_NAMES = {
    "full": "full attention",
    "sliding": "sliding window",
    "chunked": "chunked attention",
    "shared": "shared attention",
    "block-sparse": "block-sparse attention",
    "latent": "latent attention (MLA)",
    "compressed": "compressed attention",
    "state-space": "state-space state",
    "mamba-2": "Mamba 2 state",
    "delta": "gated delta state",
    "linear": "linear attention state",
    "rwkv": "RWKV state",
    "rwkv-matrix": "RWKV state",
    "convolution": "short convolutions",
    "none": "no mixer",
    "cross": "cross-attention",
    "encoder": "encoder attention",
}
"""How a kind of layer is called on screen."""

_SOURCE = "transformers 5.23 cache classes; equal to a filled cache to the byte (tests/sizing)"


def cached_blocks(spec: ModelSpec) -> tuple[Block, ...]:
    """The blocks that keep something between steps; none for encoders and CLIP."""
    stack = spec.cached_stack
    return stack.blocks if stack is not None else ()


class ModelCache:
    """What the decoder of a model keeps: its kinds of layer are found once, tokens and sequences put in as often as is asked."""

    def __init__(self, spec: ModelSpec) -> None:
        layers: dict[SimpleMixer, int] = defaultdict(int)
        for count, mixer in _mixers(spec):
            layers[mixer] += count
        self.mixers: tuple[tuple[int, SimpleMixer], ...] = tuple([(count, mixer) for mixer, count in layers.items()])
        self._windowed = [
            (count, mixer) for count, mixer in self.mixers if isinstance(mixer, SlidingAttention | CompressedAttention)
        ]
        by_kind: dict[str, list[tuple[int, SimpleMixer]]] = defaultdict(list)
        for count, mixer in self.mixers:
            by_kind[_tag(mixer)].append((count, mixer))
        self._kinds = [_Kind(kind, members) for kind, members in by_kind.items()]

    def bytes(self, context_tokens: int, encoder_tokens: int, sequences: int, element_bytes: int) -> int:
        """Steady bytes of the cache of all sequences: what is held after the first decode step.

        Bytes = sequences * sum over layers of the layer kind's cache. Source: see `fmkit.model.layers`.
        """
        return sequences * sum(
            [count * mixer.cache_bytes(context_tokens, encoder_tokens, element_bytes) for count, mixer in self.mixers]
        )

    def prompt_kept_bytes(
        self, context_tokens: int, sequences: int, element_bytes: int, chunk_tokens: int | None = None
    ) -> int:
        """Bytes that sliding layers hold beyond their window right after prefill, in transformers.

        The window cached after prefill is a view of the whole prompt's keys and values, whose storage lives until the first
        decode step: bytes = sequences * sum over sliding layers of token_bytes * max(0, prompt - window). Of a prompt read
        in chunks it is the window and the last chunk. Source: transformers 5.23 `DynamicSlidingWindowLayer`, checked by
        filling a cache.
        """
        return sequences * sum(
            [
                count * mixer.prompt_kept_bytes(_alive_tokens(mixer, context_tokens, chunk_tokens), element_bytes)
                for count, mixer in self._windowed
            ]
        )

    def growth_bytes(self, context_tokens: int, sequences: int, element_bytes: int) -> int:
        """The transient of one decode step: the largest K (or V) tensor of one layer exists twice while it grows by a token.

        Bytes = sequences * max over layers of kv_heads * key_dim * stored tokens * element_bytes. Source: transformers 5.23
        `DynamicLayer.update` concatenates; peak minus end is one such tensor (checked by running).
        """
        largest = max(
            [mixer.token_bytes(element_bytes) * mixer.stored_tokens(context_tokens) for _, mixer in self.mixers],
            default=0,
        )
        return sequences * largest // 2

    def lines(
        self, context_tokens: int, encoder_tokens: int, sequences: int, element_bytes: int
    ) -> tuple[DraftLine, ...]:
        """One line per kind of layer that keeps something."""
        found = [kind.line(context_tokens, encoder_tokens, sequences, element_bytes) for kind in self._kinds]
        return tuple([line for line in found if line.bytes])


def cache_bytes(spec: ModelSpec, context_tokens: int, encoder_tokens: int, sequences: int, element_bytes: int) -> int:
    """`ModelCache.bytes`, for one question about a model."""
    return ModelCache(spec).bytes(context_tokens, encoder_tokens, sequences, element_bytes)


def prompt_kept_bytes(spec: ModelSpec, context_tokens: int, sequences: int, element_bytes: int) -> int:
    """`ModelCache.prompt_kept_bytes`, for one question about a model."""
    return ModelCache(spec).prompt_kept_bytes(context_tokens, sequences, element_bytes)


class _Kind:
    """The layers of one kind, with the words that don't depend on tokens."""

    def __init__(self, kind: str, members: list[tuple[int, SimpleMixer]]) -> None:
        self._is_cross = kind == "cross"
        self._members = members
        self._part = f"cache: {KIND_NAMES[kind]}"
        self._layers = sum(count for count, _ in members)
        self._grows = any(mixer.token_bytes(1) for _, mixer in members)

    def line(self, context_tokens: int, encoder_tokens: int, sequences: int, element_bytes: int) -> DraftLine:
        """The line of all layers of the kind."""
        total = sequences * sum(
            [count * mixer.cache_bytes(context_tokens, encoder_tokens, element_bytes) for count, mixer in self._members]
        )
        words = partial(self._words, context_tokens, encoder_tokens, sequences, element_bytes, total)
        return DraftLine(self._part, total, "steady", words)

    def _words(self, context_tokens: int, encoder_tokens: int, sequences: int, element_bytes: int, total: int) -> Words:
        held = 0
        terms = []
        for count, mixer in self._members:
            stored = mixer.stored_tokens(context_tokens)
            held = max(held, stored)
            tokens = stored or (encoder_tokens if self._is_cross else 0)
            each, token_bytes = (
                mixer.cache_bytes(context_tokens, encoder_tokens, element_bytes),
                mixer.token_bytes(element_bytes),
            )
            if tokens and tokens * token_bytes == each:
                terms.append(f"{count} layers x {tokens:,} tokens x {token_bytes:,} B")
            else:
                terms.append(f"{count} layers x {each:,} B")
        formula = f"{sequences} x ({' + '.join(terms)}) = {total:,} B"
        return Words("formula", self._reason(held, encoder_tokens), formula, _SOURCE)

    def _reason(self, held_tokens: int, encoder_tokens: int) -> str:
        if not self._grows:
            return f"{self._layers} layers keep a fixed state, whatever the context"
        if self._is_cross:
            return f"{self._layers} layers keep the keys and values of {format_tokens(encoder_tokens)} encoder tokens"
        return f"{self._layers} layers keep {format_tokens(held_tokens)} tokens each"


def _alive_tokens(mixer: SlidingAttention | CompressedAttention, context_tokens: int, chunk_tokens: int | None) -> int:
    """Tokens whose keys a sliding layer handles at once: the prompt, or all but one of its window and a chunk."""
    return context_tokens if chunk_tokens is None else min(context_tokens, mixer.window_tokens - 1 + chunk_tokens)


def _mixers(spec: ModelSpec) -> Iterator[tuple[int, SimpleMixer]]:
    for block in cached_blocks(spec):
        for mixer in parts_of(block.mixer):
            yield block.count, mixer
        if block.cross is not None:
            yield block.count, block.cross


def _tag(mixer: SimpleMixer) -> str:
    return str(type(mixer).__struct_config__.tag)
