"""What recurrent layers hold while they read a prompt, as the PyTorch code of transformers 5.23 scans it.

Without their fused kernels these layers work in float32 whatever the model's type, over the prompt padded to whole
chunks. All figures are bytes for all sequences at once and without the cache. Source: traces of
`MambaMixer.slow_forward`, `mamba2_chunk_scan` and `torch_chunk_gated_delta_rule` with fake tensors, held against in
tests/sizing/test_activations.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.recurrent import DeltaAttention, Mamba2, StateSpace
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from typing import TypeGuard

    from fmkit.model.layers import SimpleMixer

DELTA_CHUNK_TOKENS = 64
"""Tokens that the gated delta rule takes at once: fixed in its code."""

Scan = StateSpace | Mamba2 | DeltaAttention
"""The kinds of layer that have a formula here."""


def scan_bytes(
    mixer: Scan, hidden_dim: int, tokens: int, sequences: int, element_bytes: int, *, fused_projection: bool
) -> int:
    """Bytes beside the cache at the scan's largest moment, with `tokens` tokens of each of `sequences` sequences.

    `fused_projection` says whether one matrix projects gate and inputs together, which keeps both alive.

    >>> bamba = Mamba2(heads=128, head_dim=64, groups=1, state_dim=128, conv_kernel=4)
    >>> scan_bytes(bamba, 4096, 512, 2, 2, fused_projection=True)  # two prompts of 512 tokens in Bamba-9B
    951320576
    """
    if isinstance(mixer, StateSpace):
        return sequences * tokens * _state_space_token_bytes(mixer, hidden_dim, element_bytes)
    if isinstance(mixer, Mamba2):
        inside = _mamba2_elements(mixer, tokens) * 4
        outside = (mixer.inner_dim + 2 * mixer.conv_dim + mixer.heads + 3 * hidden_dim) * tokens * element_bytes
        return sequences * (inside + outside)
    inside = _delta_elements(mixer, tokens) * 4
    gate = mixer.value_heads * mixer.value_dim
    outside = (mixer.conv_dim + gate) * (2 if fused_projection else 1) + 3 * hidden_dim
    return sequences * (inside + outside * tokens * element_bytes)


def is_scan(mixer: SimpleMixer) -> TypeGuard[Scan]:
    """Whether a kind of layer has a formula here."""
    return isinstance(mixer, StateSpace | Mamba2 | DeltaAttention)


def _state_space_token_bytes(mixer: StateSpace, hidden_dim: int, element_bytes: int) -> int:
    """Mamba: three float32 tensors of inner x state while the scan is prepared, and its inputs, per token."""
    scan = 3 * mixer.inner_dim * mixer.state_dim * 4
    return scan + mixer.inner_dim * (2 * 4 + 6 * element_bytes) + hidden_dim * (4 + 2 * element_bytes)


def _mamba2_elements(mixer: Mamba2, tokens: int) -> int:
    """Mamba 2: float32 elements of one sequence, at the larger of two moments.

    With t tokens in n chunks of c, H heads of width P and states of width N, both hold t*H*(3c + 4) for what passes
    inside a chunk and its decays, and (n + 2)*H*P*N for the states between chunks. Reading the states out holds t*H*4(N
    + P) + n*H*P*N beside it; adding both outputs up holds t*H*(3N + 7P).
    """
    chunks = ceil_div(tokens, mixer.chunk_tokens)
    padded = chunks * mixer.chunk_tokens
    state = mixer.inner_dim * mixer.state_dim
    both = padded * mixer.heads * (3 * mixer.chunk_tokens + 4) + (chunks + 2) * state
    reading = padded * mixer.heads * 4 * (mixer.state_dim + mixer.head_dim) + chunks * state
    adding = padded * mixer.heads * (3 * mixer.state_dim + 7 * mixer.head_dim)
    return both + max(reading, adding)


def _delta_elements(mixer: DeltaAttention, tokens: int) -> int:
    """Gated delta rule: float32 elements of one sequence, when its output is put together.

    t tokens in chunks of c, H value heads with keys of width K and values of width V: t*H*(5K + 5V + 3c + 5) for
    queries, keys, values and their products, H*(K*V + 2c*V) for the state and the last chunk.
    """
    padded = ceil_div(tokens, DELTA_CHUNK_TOKENS) * DELTA_CHUNK_TOKENS
    key, value = mixer.key_dim, mixer.value_dim
    along = 5 * (key + value) + 3 * DELTA_CHUNK_TOKENS + 5
    return mixer.value_heads * (padded * along + key * value + 2 * DELTA_CHUNK_TOKENS * value)
