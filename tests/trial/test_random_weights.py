"""Random weights: true size, the same on every run, buffers as a real model has them."""

from __future__ import annotations

import pytest
import torch
import transformers

from fmkit.trial.random_weights import BLOCK_ELEMENTS, SPREAD, build_random, fill
from tests.trial.tiny import CONFIGS


def test_same_weights_every_time() -> None:
    _, config = CONFIGS["llama"]
    first, second = (build_random(transformers.LlamaForCausalLM, config, "float32", "cpu") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.model.layers[0].mlp.up_proj.weight.std() > SPREAD / 4


def test_buffers_are_computed_not_random() -> None:
    _, config = CONFIGS["llama"]
    built = build_random(transformers.LlamaForCausalLM, config, "bfloat16", "cpu")
    real = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    assert torch.equal(built.model.rotary_emb.inv_freq, real.model.rotary_emb.inv_freq)
    assert built.model.rotary_emb.inv_freq.dtype == torch.float32


def test_tied_weights_stay_tied() -> None:
    _, config = CONFIGS["gpt2"]
    built = build_random(transformers.GPT2LMHeadModel, config, "float32", "cpu")
    assert built.lm_head.weight is built.transformer.wte.weight


@pytest.mark.parametrize(("dtype", "kept"), [("float16", torch.float32), ("bfloat16", torch.bfloat16)])
def test_what_stays_in_float32(dtype: str, kept: torch.dtype) -> None:
    """T5 keeps `wo` in float32 when it is loaded in float16, and only then."""
    _, config = CONFIGS["t5"]
    built = build_random(transformers.T5ForConditionalGeneration, config, dtype, "cpu")
    assert built.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == kept
    assert built.encoder.block[0].layer[1].DenseReluDense.wi.weight.dtype == getattr(torch, dtype)


def test_fill_covers_more_than_one_block() -> None:
    source = torch.arange(1, BLOCK_ELEMENTS + 1, dtype=torch.float32)
    big = torch.zeros(3, BLOCK_ELEMENTS // 2)
    fill(big, "weight", source)
    flat = big.view(-1)
    assert (flat != 0).all()
    assert flat[BLOCK_ELEMENTS] == source[0]


def test_vectors_are_scales_and_biases() -> None:
    source = torch.ones(1)
    scale, bias = torch.empty(4), torch.empty(4)
    fill(scale, "norm.weight", source)
    fill(bias, "norm.bias", source)
    assert scale.tolist() == [1.0] * 4
    assert bias.tolist() == [0.0] * 4


def test_unknown_model_type() -> None:
    with pytest.raises(ValueError, match="does not know the model type 'no-such'"):
        build_random(transformers.LlamaForCausalLM, {"model_type": "no-such"}, "float32", "cpu")
