"""The kinds of attention, each with the cache it keeps.

All figures are bytes for **one layer and one sequence**: see `fmkit.model.layers`.
"""

from __future__ import annotations

import msgspec


class FullAttention(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="full", omit_defaults=True):
    """Causal attention over every token held: multi-head, grouped-query or multi-query by its number of KV heads.

    Bytes = kv_heads * (key_dim + value_dim) * tokens * element_bytes.
    Source: transformers 5.23 `DynamicLayer`; equal to a filled cache to the byte. `cached_heads` is set where
    transformers repeats the KV heads before it caches them (Falcon-40B: 128 for 8), and then stands for `kv_heads`.

    >>> FullAttention(query_heads=32, kv_heads=8, key_dim=128, value_dim=128).cache_bytes(131072, 0, 2)  # Llama-3.1-8B
    536870912
    """

    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    cached_heads: int | None = None

    def stored_tokens(self, context_tokens: int) -> int:
        """Tokens a layer keeps once decoding has begun."""
        return context_tokens

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens one new token attends to, itself included."""
        return context_tokens

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes held by one layer for one sequence after the first decode step."""
        del encoder_tokens
        return self.token_bytes(element_bytes) * self.stored_tokens(context_tokens)

    def token_bytes(self, element_bytes: int) -> int:
        """Bytes of the keys and values of one token."""
        return (self.cached_heads or self.kv_heads) * (self.key_dim + self.value_dim) * element_bytes


class SlidingAttention(FullAttention, frozen=True, kw_only=True, tag_field="kind", tag="sliding", omit_defaults=True):
    """Causal attention over the last `window_tokens` tokens.

    Bytes = full attention at min(tokens, window_tokens). Source: transformers 5.23 `DynamicSlidingWindowLayer`, whose
    storage holds the window after a decode step (it shows window - 1 tokens, and the new one beside them).

    >>> mistral = SlidingAttention(query_heads=32, kv_heads=8, key_dim=128, value_dim=128, window_tokens=4096)
    >>> mistral.cache_bytes(32768, 0, 2) * 32  # Mistral-7B-v0.1, 32 layers, at 32k
    536870912
    """

    window_tokens: int

    def stored_tokens(self, context_tokens: int) -> int:
        """Tokens a layer keeps once decoding has begun: never more than the window."""
        return min(context_tokens, self.window_tokens)

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens one new token attends to: never more than the window."""
        return min(context_tokens, self.window_tokens)

    def prompt_kept_bytes(self, context_tokens: int, element_bytes: int) -> int:
        """Bytes beyond the window that stay alive right after prefill: the window kept is a view of the whole prompt."""
        return self.token_bytes(element_bytes) * max(0, context_tokens - self.window_tokens)


class LatentAttention(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="latent", omit_defaults=True):
    """Multi-head latent attention (MLA): one compressed vector and one rotary key per token, shared by all heads.

    Bytes = (latent_dim + rope_dim + index_dim) * tokens * element_bytes. Source: DeepSeek-V2 (arXiv:2405.04434) section
    2.1; transformers 5.23 caches the latent (older versions cached the expanded keys and values). `index_dim` is the
    width of the key that DeepSeek-V3.2's indexer keeps beside it (`DynamicIndexedLayer`), 0 without an indexer.

    >>> v3 = LatentAttention(query_heads=128, latent_dim=512, rope_dim=64, nope_dim=128, value_dim=128)
    >>> v3.cache_bytes(1, 0, 2) * 61  # DeepSeek-V3, 61 layers
    70272
    """

    query_heads: int
    latent_dim: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    query_latent_dim: int | None = None
    index_dim: int = 0

    def stored_tokens(self, context_tokens: int) -> int:
        """Tokens a layer keeps."""
        return context_tokens

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens one new token attends to, itself included."""
        return context_tokens

    def token_bytes(self, element_bytes: int) -> int:
        """Bytes of the latent, the rotary key and the indexer's key of one token."""
        return (self.latent_dim + self.rope_dim + self.index_dim) * element_bytes

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes held by one layer for one sequence."""
        del encoder_tokens
        return self.token_bytes(element_bytes) * context_tokens


class CrossAttention(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cross", omit_defaults=True):
    """Attention of a decoder to the tokens of an encoder, whose keys and values are computed once and kept.

    Bytes = kv_heads * (key_dim + value_dim) * encoder_tokens * element_bytes.
    Source: transformers 5.23 `EncoderDecoderCache`; equal to a filled cache to the byte.

    >>> CrossAttention(query_heads=20, kv_heads=20, key_dim=64, value_dim=64).cache_bytes(0, 1500, 2)  # whisper-large-v3
    7680000
    """

    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int

    def stored_tokens(self, context_tokens: int) -> int:
        """The decoder's own tokens are not kept here."""
        del context_tokens
        return 0

    def attended_tokens(self, context_tokens: int) -> int:
        """None of the decoder's own tokens."""
        del context_tokens
        return 0

    def token_bytes(self, element_bytes: int) -> int:
        """Bytes of the keys and values of one encoder token."""
        return self.kv_heads * (self.key_dim + self.value_dim) * element_bytes

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes held by one layer for one sequence."""
        del context_tokens
        return self.token_bytes(element_bytes) * encoder_tokens


class EncoderAttention(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="encoder", omit_defaults=True):
    """Attention in both directions over the whole input: nothing is kept from one call to the next.

    `window_tokens` is set where a layer attends to its neighbourhood only (ModernBERT's local layers).

    >>> EncoderAttention(query_heads=12, kv_heads=12, key_dim=64, value_dim=64).cache_bytes(512, 512, 2)  # BERT base
    0
    """

    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window_tokens: int | None = None

    def stored_tokens(self, context_tokens: int) -> int:
        """Nothing is kept."""
        del context_tokens
        return 0

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens each token attends to."""
        return context_tokens if self.window_tokens is None else min(context_tokens, self.window_tokens)

    def token_bytes(self, element_bytes: int) -> int:
        """Nothing is kept."""
        del element_bytes
        return 0

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Nothing is kept."""
        del context_tokens, encoder_tokens, element_bytes
        return 0


class ChunkedAttention(
    SlidingAttention, frozen=True, kw_only=True, tag_field="kind", tag="chunked", omit_defaults=True
):
    """Causal attention inside chunks of `window_tokens` tokens (Llama 4): a token sees the tokens of its own chunk.

    The cache is a sliding window's of the chunk's length (transformers 5.23 maps `chunked_attention` to
    `DynamicSlidingWindowLayer`; only the mask differs).

    >>> scout = ChunkedAttention(query_heads=40, kv_heads=8, key_dim=128, value_dim=128, window_tokens=8192)
    >>> scout.cache_bytes(131072, 0, 2) * 36  # Llama-4-Scout, 36 of its 48 layers
    1207959552
    """


class SharedAttention(FullAttention, frozen=True, kw_only=True, tag_field="kind", tag="shared", omit_defaults=True):
    """Attention over the keys and values that an earlier layer cached (the last layers of Gemma 3n and 4): keeps nothing.

    `window_tokens` is set where the layer attends to a window only.

    >>> shared = SharedAttention(query_heads=8, kv_heads=1, key_dim=256, value_dim=256, window_tokens=512)
    >>> shared.cache_bytes(4096, 0, 2), shared.attended_tokens(4096)
    (0, 512)
    """

    window_tokens: int | None = None

    def stored_tokens(self, context_tokens: int) -> int:
        """Nothing is kept here: the layer it shares with keeps it."""
        del context_tokens
        return 0

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens one new token attends to."""
        return context_tokens if self.window_tokens is None else min(context_tokens, self.window_tokens)


class BlockSparseAttention(
    FullAttention, frozen=True, kw_only=True, tag_field="kind", tag="block-sparse", omit_defaults=True
):
    """Causal attention to chosen blocks of keys (MiniMax-M3): an indexer scores all keys and each query takes the best blocks.

    Nothing is dropped: bytes = full attention's + index_dim * tokens * element_bytes, for the key that the indexer keeps
    of each token. Source: transformers 5.23 `MiniMaxM3VLSparseCacheLayer`; equal to a filled cache to the byte.

    >>> m3 = BlockSparseAttention(
    ...     query_heads=64, kv_heads=4, key_dim=128, value_dim=128, index_dim=128, block_tokens=128, chosen_blocks=16
    ... )
    >>> m3.cache_bytes(4096, 0, 2), m3.attended_tokens(4096)
    (9437184, 2048)
    """

    index_dim: int
    block_tokens: int
    chosen_blocks: int

    def attended_tokens(self, context_tokens: int) -> int:
        """Tokens one new token attends to: those of the chosen blocks."""
        return min(context_tokens, self.chosen_blocks * self.block_tokens)

    def token_bytes(self, element_bytes: int) -> int:
        """Bytes of the keys and values of one token, and of the indexer's key."""
        return super().token_bytes(element_bytes) + self.index_dim * element_bytes


class CompressedAttention(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="compressed", omit_defaults=True
):
    """DeepSeek-V4's attention: a window of keys that are also the values, and one entry for every `ratio` tokens.

    With `index_dim` (compressed sparse attention) an indexer keeps entries of its own and picks `index_tokens` of them,
    keys are projected twice as wide, and the last full run of `ratio` tokens is carried over.

    Bytes, with t tokens held, r = ratio, d = head_dim + index_dim, s = 2 with an indexer, else 1, E = element_bytes:
    min(t, window) * head_dim * E for the window + floor(t / r) * d * E for the entries + ((t - 1) mod r + 1) * 2 * s *
    d * E for the tokens that wait until r are there + 2 * r * d * E carried over, with an indexer and from the first
    entry on. Source: transformers 5.23 `DeepseekV4HCACache` and `DeepseekV4CSACache`; equal to a filled cache to the
    byte.

    >>> flash = CompressedAttention(query_heads=64, head_dim=512, window_tokens=128, ratio=4, index_dim=128, index_tokens=512)
    >>> flash.cache_bytes(4096, 0, 2)
    1472512
    """

    query_heads: int
    head_dim: int
    window_tokens: int
    ratio: int
    index_dim: int = 0
    index_tokens: int = 0

    def stored_tokens(self, context_tokens: int) -> int:
        """Keys kept: the window's and the compressed entries."""
        return min(context_tokens, self.window_tokens) + context_tokens // self.ratio

    def attended_tokens(self, context_tokens: int) -> int:
        """Keys that one new token attends to: the window, and the entries (with an indexer, those it picks)."""
        entries = context_tokens // self.ratio
        picked = min(entries, self.index_tokens) if self.index_dim else entries
        return min(context_tokens, self.window_tokens) + picked

    def token_bytes(self, element_bytes: int) -> int:
        """Bytes of one key, which is also the value."""
        return self.head_dim * element_bytes

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes held by one layer for one sequence."""
        del encoder_tokens
        entries, width = context_tokens // self.ratio, self.head_dim + self.index_dim
        window = min(context_tokens, self.window_tokens) * self.head_dim
        waiting = ((context_tokens - 1) % self.ratio + 1) * self._waiting_width if context_tokens else 0
        carried = 2 * self.ratio * width if self.index_dim and entries else 0
        return (window + entries * width + waiting + carried) * element_bytes

    def prompt_kept_bytes(self, context_tokens: int, element_bytes: int) -> int:
        """Bytes that stay alive right after prefill beyond the steady state: what is kept is a view of the whole prompt's."""
        kept = max(0, context_tokens - self.window_tokens) * self.head_dim
        if context_tokens:
            kept += (context_tokens - 1) // self.ratio * self.ratio * self._waiting_width
        return kept * element_bytes

    @property
    def _waiting_width(self) -> int:
        """Elements kept of a token that waits: key and gate, twice as wide with an indexer, and the indexer's own."""
        return 2 * (2 if self.index_dim else 1) * (self.head_dim + self.index_dim)
