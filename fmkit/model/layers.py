"""The kinds of layer, each with the cache it keeps.

A kind says what one layer stores per sequence. All figures are bytes for **one layer and one sequence**, given the
tokens held in the decoder's cache (`context_tokens`), the tokens of the encoder (`encoder_tokens`) and the bytes
of one cache element (`element_bytes`, 2 for a 16-bit cache). What an engine holds beyond that (blocks, padding, the
prompt kept alive after prefill) is the engine's business: `fmkit.sizing.engines`.

To add a kind: one class in `fmkit.model.attention` or `fmkit.model.recurrent`, and its name in the `SimpleMixer` union here.
"""

from __future__ import annotations

import msgspec

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


class Parallel(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="parallel", omit_defaults=True):
    """Attention and a state side by side in one layer, on the same input (Falcon-H1): keeps what both keep.

    >>> attention = FullAttention(query_heads=12, kv_heads=2, key_dim=128, value_dim=128)
    >>> state = Mamba2(heads=24, head_dim=128, groups=1, state_dim=256, conv_kernel=4)
    >>> Parallel(attention=attention, state=state).cache_bytes(4096, 0, 2) * 44  # Falcon-H1-7B
    324222976
    """

    attention: FullAttention | SlidingAttention
    state: Mamba2

    def stored_tokens(self, context_tokens: int) -> int:
        """Tokens that the attention keeps."""
        return self.attention.stored_tokens(context_tokens)

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens that the attention attends to."""
        return self.attention.attended_tokens(context_tokens)

    def token_bytes(self, element_bytes: int) -> int:
        """Bytes of the attention's keys and values of one token."""
        return self.attention.token_bytes(element_bytes)

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of both."""
        return sum(
            part.cache_bytes(context_tokens, encoder_tokens, element_bytes) for part in (self.attention, self.state)
        )


SimpleMixer = (
    FullAttention
    | SlidingAttention
    | ChunkedAttention
    | SharedAttention
    | BlockSparseAttention
    | LatentAttention
    | CompressedAttention
    | StateSpace
    | Mamba2
    | DeltaAttention
    | LinearAttention
    | Rwkv
    | RwkvMatrix
    | ShortConvolution
    | CrossAttention
    | EncoderAttention
    | NoMixer
)
"""The kinds that are one thing."""

Mixer = SimpleMixer | Parallel
"""All kinds of layer; a msgspec union, told apart by `kind`."""


def parts_of(mixer: Mixer) -> tuple[SimpleMixer, ...]:
    """The kinds that a layer is made of: itself, or both sides of a parallel one."""
    return (mixer.attention, mixer.state) if isinstance(mixer, Parallel) else (mixer,)
