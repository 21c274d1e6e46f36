"""Operations of attention and its share, against PyTorch's own count of floating-point operations."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.api.vram import vram
from fmkit.model.architectures import read
from fmkit.model.attention import LatentAttention
from fmkit.model.precision import Layout
from fmkit.model.spec import Block, Stack
from fmkit.speed.attention import attention_operations, step_attention
from fmkit.speed.operations import decode_pass
from tests.sizing.test_activations import inputs_for, shortened

torch = pytest.importorskip("torch", reason="the witness is PyTorch: pip install 'fmkit[try]'")
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402  needs torch
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.sizing import tracing  # noqa: E402


@pytest.mark.parametrize(
    ("name", "counted_twice"),
    [
        # PyTorch counts all pairs of tokens, also those that a causal mask excludes
        ("meta-llama--Llama-3.2-1B-Instruct", 2),
        ("Qwen--Qwen3-0.6B", 2),
        ("google-bert--bert-base-uncased", 1),
    ],
)
def test_attention_operations_are_those_that_pytorch_counts(name: str, counted_twice: int) -> None:
    config = shortened(name)
    inputs = inputs_for(config, 1, 512, torch.bfloat16)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), FlopCounterMode(display=False) as counter:
        tracing.build(config, torch.bfloat16, "eager")(**inputs)
    # eager attention is two batched products per layer; the only other one makes the rotary angles
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    spec = read(config, where="test")
    assert attention_operations(spec.stacks[0], 512) * counted_twice == pytest.approx(counted, rel=1e-4)


PLAIN = Layout(name="16 bit", weight_bits=None, rest_dtype="bfloat16", source="as published")


def counted_step(config: dict[str, Any], held: int) -> int:
    """Operations of a decode step of transformers with `held` tokens, the new one included."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model = tracing.build(config, torch.bfloat16, "eager")
        prompt = model(**inputs_for(config, 1, held - 1, torch.bfloat16), use_cache=True)
        with FlopCounterMode(display=False) as counter:
            model(torch.ones(1, 1, dtype=torch.long), past_key_values=prompt.past_key_values, use_cache=True)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", ["meta-llama--Llama-3.2-1B-Instruct", "openbmb--MiniCPM3-4B"])
def test_a_step_costs_what_pytorch_counts_for_each_token_held(name: str) -> None:
    """transformers expands the latents of every token held anew: 205 times what attention to them takes in MiniCPM 3."""
    config = shortened(name, 1)
    spec = read(config, where="test")
    steps = [decode_pass(spec, PLAIN, held, 1, 0, "transformers") for held in (64, 128)]
    found = [step.operations for step in steps if step is not None]
    assert found[1] - found[0] == counted_step(config, 128) - counted_step(config, 64)


def test_heads_that_share_a_latent_cost_what_pytorch_counts() -> None:
    """The keys' matrix taken into the queries gives the same scores; counted are scores and sums over 100 latents of 4 heads."""
    heads, latent, nope, rope, held = 4, 32, 16, 8, 100
    draw = torch.Generator().manual_seed(0)
    matrix, query, turned, kept, keys = (
        torch.randn(shape, generator=draw, dtype=torch.float64)
        for shape in ((heads, nope, latent), (heads, 1, nope), (heads, 1, rope), (held, latent), (held, rope))
    )
    expanded = query @ (matrix @ kept.T) + turned @ keys.T
    queries = torch.cat([query @ matrix, turned], dim=-1).squeeze(1)
    with FlopCounterMode(display=False) as counter:
        scores = queries @ torch.cat([kept, keys], dim=-1).T
        scores.softmax(-1) @ kept
    assert torch.allclose(scores, expanded.squeeze(1))
    mixer = LatentAttention(query_heads=heads, latent_dim=latent, rope_dim=rope, nope_dim=nope, value_dim=16)
    stack = Stack(role="decoder", hidden_dim=64, blocks=(Block(count=1, mixer=mixer),))
    found = step_attention(stack, held, "vllm")
    assert found.attention == found.shared == counter.get_total_flops()


def test_the_share_grows_with_the_context_unless_nothing_attends() -> None:
    shares = [share.prefill_share for share in vram("llama-3.1-8b", precision="fp16").attention]
    assert shares == sorted(shares)
    assert 0.05 < shares[0] < 0.10
    assert shares[-1] > 0.7
    assert {share.prefill_share for share in vram("mamba-130m-hf", precision="fp16").attention} == {0.0}


def test_scores_are_in_memory_without_a_fused_kernel_only() -> None:
    fused, eager = (
        vram("llama-3.1-8b", precision="fp16", context="4k", attention=kind).attention[0] for kind in ("sdpa", "eager")
    )
    assert fused.score_bytes == 0
    assert eager.score_bytes == 32 * 4096**2 * (2 + 4 + 4)
