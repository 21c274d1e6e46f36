"""Operations of attention for every kind of layer, and of whole towers against worked numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from fmkit.catalog.load import Catalog
from fmkit.model import attention, layers, recurrent
from fmkit.model.attention import CrossAttention, FullAttention
from fmkit.model.layers import Mixer
from fmkit.model.spec import Block, ModelSpec, Stack
from fmkit.speed.attention import attention_operations
from fmkit.speed.operations import Reading, decode_weight_bytes, reading_passes, tower_operations

HEADS = {"query_heads": 8, "kv_heads": 2, "key_dim": 64, "value_dim": 64}
MAMBA_2 = recurrent.Mamba2(heads=4, head_dim=64, groups=1, state_dim=16, conv_kernel=4)
EXAMPLES: dict[type, Any] = {
    attention.FullAttention: FullAttention(**HEADS),
    attention.SlidingAttention: attention.SlidingAttention(**HEADS, window_tokens=128),
    attention.ChunkedAttention: attention.ChunkedAttention(**HEADS, window_tokens=128),
    attention.SharedAttention: attention.SharedAttention(**HEADS),
    attention.BlockSparseAttention: attention.BlockSparseAttention(
        **HEADS, index_dim=64, block_tokens=128, chosen_blocks=4
    ),
    attention.LatentAttention: attention.LatentAttention(
        query_heads=8, latent_dim=512, rope_dim=64, nope_dim=128, value_dim=128
    ),
    attention.CompressedAttention: attention.CompressedAttention(
        query_heads=8, head_dim=64, window_tokens=128, ratio=4
    ),
    recurrent.StateSpace: recurrent.StateSpace(inner_dim=128, state_dim=16, conv_kernel=4, dt_rank=8),
    attention.CrossAttention: CrossAttention(**HEADS),
    attention.EncoderAttention: attention.EncoderAttention(**HEADS),
    layers.Parallel: layers.Parallel(attention=FullAttention(**HEADS), state=MAMBA_2),
    recurrent.Mamba2: MAMBA_2,
    recurrent.DeltaAttention: recurrent.DeltaAttention(
        key_heads=2, value_heads=4, key_dim=64, value_dim=64, conv_kernel=4
    ),
    recurrent.LinearAttention: recurrent.LinearAttention(heads=4, head_dim=64),
    recurrent.Rwkv: recurrent.Rwkv(hidden_dim=128, attention_dim=128),
    recurrent.RwkvMatrix: recurrent.RwkvMatrix(hidden_dim=128, heads=2, key_dim=64, value_dim=64),
    recurrent.ShortConvolution: recurrent.ShortConvolution(hidden_dim=128, conv_kernel=3),
    recurrent.NoMixer: recurrent.NoMixer(),
}


def stack(mixer: Any, **changes: Any) -> Stack:
    return Stack(role="decoder", hidden_dim=512, blocks=(Block(count=2, mixer=mixer, **changes),))


@pytest.mark.parametrize("kind", get_args(Mixer), ids=lambda kind: kind.__name__)
def test_every_kind_that_attends_costs_operations(kind: type) -> None:
    mixer = EXAMPLES[kind]  # a new kind needs an example here
    attends = isinstance(mixer, CrossAttention) or mixer.attended_tokens(1000) > 0
    assert (attention_operations(stack(mixer), 1000, 300) > 0) == attends


def test_an_unknown_kind_is_an_error_and_not_free() -> None:
    class Odd:
        def attended_tokens(self, tokens: int) -> int:
            return tokens

    with pytest.raises(AssertionError):
        attention_operations(stack(Odd()), 10)


def test_windows_and_chunks_bound_the_square() -> None:
    full, sliding, chunked = (
        attention_operations(stack(EXAMPLES[kind]), 1024)
        for kind in (attention.FullAttention, attention.SlidingAttention, attention.ChunkedAttention)
    )
    width = 2 * 2 * 8 * 128
    assert full == width * 1024**2 / 2
    assert sliding == width * (1024 * 128 - 128**2 / 2)
    assert chunked == width * 1024 * 128 / 2


def test_cross_attention_beside_a_layer_counts_the_other_tower() -> None:
    alone, both = stack(FullAttention(**HEADS)), stack(FullAttention(**HEADS), cross=CrossAttention(**HEADS))
    difference = attention_operations(both, 4, 1500) - attention_operations(alone, 4)
    assert difference == 2 * 2 * 8 * 128 * 4 * 1500


def test_a_decoder_computes_two_operations_per_weight_and_token(spec_of: Callable[[str], ModelSpec]) -> None:
    """Llama-3-8B, 512 tokens: 16.06 GFLOP a token by parameters; less 1.05G of embedding and head, 13.96 and attention."""
    spec = spec_of("llama-3-8b")
    found = tower_operations(spec, spec.stacks[0], 512) / 512
    weights = 2 * (spec.params - 2 * 128256 * 4096)
    assert found == pytest.approx(weights + 32 * 2 * 32 * 256 * 512 / 2, rel=1e-4)


def test_whisper_encodes_1500_frames_and_projects_them_once(
    spec_of: Callable[[str], ModelSpec], catalog: Catalog
) -> None:
    spec, layout = spec_of("whisper-large-v3"), catalog.layouts["plain-16"]
    found = {one.role: one for one in reading_passes(spec, layout, Reading(prompt_tokens=1, encoder_tokens=1500))}
    assert set(found) == {"decoder", "audio"}
    encoder = 32 * 12 * 1280**2  # attention and feed-forward, without convolutions
    attention = 32 * 4 * 1280 * 1500**2
    assert found["audio"].operations == pytest.approx(2 * encoder * 1500 + attention, rel=0.02)
    keys_and_values = 2 * 32 * 2 * 1280**2 * 1500
    assert keys_and_values < found["decoder"].operations < 1.02 * keys_and_values


def test_clips_towers_are_told_apart(spec_of: Callable[[str], ModelSpec], catalog: Catalog) -> None:
    spec, layout = spec_of("clip-vit-base-patch32"), catalog.layouts["plain-16"]
    found = {one.role: one for one in reading_passes(spec, layout, Reading(prompt_tokens=77, images=3))}
    assert found["vision"].operations == pytest.approx(3 * (2 * 87.4e6 * 50 + 12 * 4 * 768 * 50**2), rel=0.01)
    assert found["encoder"].operations == pytest.approx(2 * 37.8e6 * 77 + 12 * 4 * 512 * 77**2, rel=0.02)
    assert found["vision"].weight_bytes == pytest.approx(2 * 87.46e6, rel=0.001)


def test_a_decode_step_reads_the_experts_it_is_routed_to(spec_of: Callable[[str], ModelSpec], catalog: Catalog) -> None:
    spec, layout = spec_of("mixtral-8x7b-v0.1"), catalog.layouts["plain-16"]
    one, many = decode_weight_bytes(spec, layout, 1), decode_weight_bytes(spec, layout, 64)
    assert one == pytest.approx(2 * (spec.active_params - 32000 * 4096), rel=0.001)
    assert many == pytest.approx(2 * (spec.params - 32000 * 4096), rel=0.001)


def test_a_tied_head_is_the_decoders_own_table(spec_of: Callable[[str], ModelSpec], catalog: Catalog) -> None:
    """Gemma 4 E2B: 2.35B of its 5.1B parameters are embeddings for each layer, of which a step looks up a row."""
    spec, layout = spec_of("gemma-4-e2b-it"), catalog.layouts["plain-16"]
    per_layer = 262_144 * 35 * 256
    assert decode_weight_bytes(spec, layout, 1) < 2 * (spec.params - per_layer)
