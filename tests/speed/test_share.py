"""The share of attention, against PyTorch's own count of floating-point operations."""

from __future__ import annotations

import pytest

from fmkit.api.vram import vram
from fmkit.model.architectures import read
from fmkit.speed.attention import attention_operations
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
