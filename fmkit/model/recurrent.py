"""Kinds of layer that keep a state of fixed size in place of tokens: state-space, linear attention, RWKV, convolutions.

All figures are bytes for **one layer and one sequence**, in transformers 5.23 as its PyTorch code keeps them; fused
kernels may keep a state in another type. `element_bytes` is the width of the model's type (2 for a 16-bit model).
"""

from __future__ import annotations

import msgspec

STATE_BYTES = 4
"""Bytes of one element of a recurrent state: transformers keeps it in float32 whatever the model's type."""


class FixedState(msgspec.Struct, frozen=True, kw_only=True):
    """What all these kinds share: no token is kept and none attended to."""

    def stored_tokens(self, context_tokens: int) -> int:
        """No token is kept, only the state."""
        del context_tokens
        return 0

    def attended_tokens(self, context_tokens: int) -> int:
        """No earlier token is attended to."""
        del context_tokens
        return 0

    def token_bytes(self, element_bytes: int) -> int:
        """Nothing grows with the context."""
        del element_bytes
        return 0


class StateSpace(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="state-space", omit_defaults=True):
    """A selective state-space layer (Mamba): a fixed state, whatever the context.

    Bytes = inner_dim * conv_kernel * element_bytes + inner_dim * state_dim * 4. Source: Gu & Dao 2023
    (arXiv:2312.00752); transformers 5.23 keeps the state in float32 also in a 16-bit model.

    >>> StateSpace(inner_dim=5120, state_dim=16, conv_kernel=4, dt_rank=160).cache_bytes(4096, 0, 2) * 64  # mamba-2.8b
    23592960
    """

    inner_dim: int
    state_dim: int
    conv_kernel: int
    dt_rank: int

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the convolution and recurrent states of one layer for one sequence."""
        del context_tokens, encoder_tokens
        return self.inner_dim * (self.conv_kernel * element_bytes + self.state_dim * STATE_BYTES)


class Mamba2(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="mamba-2", omit_defaults=True):
    """A Mamba 2 layer: the last inputs of its convolution, and one matrix of state per head.

    Bytes = (heads * head_dim + 2 * groups * state_dim) * conv_kernel * element_bytes + heads * head_dim * state_dim *
    4. Source: Dao & Gu 2024 (arXiv:2405.21060); transformers 5.23 `LinearAttentionLayer`, equal to a filled cache to
    the byte. `chunk_tokens` is how many tokens its scan takes at once; the cache does not depend on it.

    >>> Mamba2(heads=128, head_dim=64, groups=1, state_dim=128, conv_kernel=4).cache_bytes(4096, 0, 2)  # Bamba-9B
    4261888
    """

    heads: int
    head_dim: int
    groups: int
    state_dim: int
    conv_kernel: int
    chunk_tokens: int = 256

    @property
    def inner_dim(self) -> int:
        """Width inside the layer."""
        return self.heads * self.head_dim

    @property
    def conv_dim(self) -> int:
        """Channels of the convolution: inputs, and what goes in and out of the state."""
        return self.inner_dim + 2 * self.groups * self.state_dim

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the convolution's inputs and of the state."""
        del context_tokens, encoder_tokens
        return self.conv_dim * self.conv_kernel * element_bytes + self.inner_dim * self.state_dim * STATE_BYTES


class DeltaAttention(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="delta", omit_defaults=True):
    """Gated delta attention (Qwen3-Next, Qwen3.5): a convolution over queries, keys and values, and a matrix per value head.

    Bytes = (2 * key_heads * key_dim + value_heads * value_dim) * conv_kernel * element_bytes + value_heads * key_dim *
    value_dim * 4. Source: Yang et al. 2024 (arXiv:2412.06464); transformers 5.23, equal to a filled cache to the byte.

    >>> delta = DeltaAttention(key_heads=16, value_heads=32, key_dim=128, value_dim=128, conv_kernel=4)
    >>> delta.cache_bytes(4096, 0, 2) * 36  # Qwen3-Next-80B-A3B, 36 of its 48 layers
    77856768
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_kernel: int

    @property
    def conv_dim(self) -> int:
        """Channels of the convolution."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the convolution's inputs and of the state."""
        del context_tokens, encoder_tokens
        state = self.value_heads * self.key_dim * self.value_dim * STATE_BYTES
        return self.conv_dim * self.conv_kernel * element_bytes + state


class LinearAttention(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="linear", omit_defaults=True):
    """Linear attention with decay (MiniMax-Text-01's lightning attention): a matrix of keys times values per head.

    Bytes = heads * head_dim^2 * element_bytes: the decay is in the model's type, and so is what it multiplies. Source:
    arXiv:2501.08313; transformers 5.23 `MiniMaxLightningAttention`, equal to a filled cache to the byte.

    >>> LinearAttention(heads=64, head_dim=128).cache_bytes(4096, 0, 2) * 70  # MiniMax-Text-01, 70 of its 80 layers
    146800640
    """

    heads: int
    head_dim: int

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the state."""
        del context_tokens, encoder_tokens
        return self.heads * self.head_dim * self.head_dim * element_bytes


class Rwkv(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="rwkv", omit_defaults=True):
    """RWKV-4: the last input of both halves of a block, and numerator, denominator and maximum of its time mixing.

    Bytes = 2 * hidden_dim * element_bytes + 3 * attention_dim * 4. Source: Peng et al. 2023 (arXiv:2305.13048);
    transformers 5.23 `RwkvModel`, equal to a filled state to the byte.

    >>> Rwkv(hidden_dim=768, attention_dim=768).cache_bytes(4096, 0, 2) * 12  # rwkv-4-169m
    147456
    """

    hidden_dim: int
    attention_dim: int

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the state."""
        del context_tokens, encoder_tokens
        return 2 * self.hidden_dim * element_bytes + 3 * self.attention_dim * STATE_BYTES


class RwkvMatrix(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="rwkv-matrix", omit_defaults=True):
    """RWKV-5 and later: the last input of both halves of a block, and a matrix of keys times values per head.

    Bytes = 2 * hidden_dim * element_bytes + heads * key_dim * value_dim * 4. Source: Peng et al. 2024
    (arXiv:2404.05892) and 2025 (arXiv:2503.14456); the matrix is float32 whatever the model's type, both in the code of
    the RWKV-5 repositories and in flash-linear-attention 0.6, which runs RWKV-7.

    >>> RwkvMatrix(hidden_dim=2560, heads=40, key_dim=64, value_dim=64).cache_bytes(4096, 0, 2) * 32  # rwkv-5-world-3b
    21299200
    """

    hidden_dim: int
    heads: int
    key_dim: int
    value_dim: int

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the state."""
        del context_tokens, encoder_tokens
        matrices = self.heads * self.key_dim * self.value_dim
        return 2 * self.hidden_dim * element_bytes + matrices * STATE_BYTES


class ShortConvolution(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="convolution", omit_defaults=True):
    """A gated short convolution (LFM2): its last inputs.

    Bytes = hidden_dim * conv_kernel * element_bytes. Source: transformers 5.23, equal to a filled cache to the byte.

    >>> ShortConvolution(hidden_dim=2048, conv_kernel=3).cache_bytes(4096, 0, 2) * 10  # LFM2-1.2B, 10 of its 16 layers
    122880
    """

    hidden_dim: int
    conv_kernel: int

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Bytes of the convolution's inputs."""
        del context_tokens, encoder_tokens
        return self.hidden_dim * self.conv_kernel * element_bytes


class NoMixer(FixedState, frozen=True, kw_only=True, tag_field="kind", tag="none", omit_defaults=True):
    """A layer that mixes no tokens: a feed-forward that counts as a layer of its own (Nemotron-H).

    >>> NoMixer().cache_bytes(4096, 0, 2)
    0
    """

    def cache_bytes(self, context_tokens: int, encoder_tokens: int, element_bytes: int) -> int:
        """Nothing is kept."""
        del context_tokens, encoder_tokens, element_bytes
        return 0
