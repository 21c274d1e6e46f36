"""Speed of llama.cpp from kernels that were timed on the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fmkit.api.sizing import layout_for
from fmkit.catalog.load import Catalog
from fmkit.model.spec import ModelSpec
from fmkit.speed.llama_cpp_here import llama_cpp_here
from fmkit.speed.operations import TowerPass
from fmkit.speed.rates import LayerPoint, LlamaCppRates, RatePoint

SpecOf = Callable[[str], ModelSpec]


def rates(*kinds: str) -> LlamaCppRates:
    """A processor that multiplies 1e9 weights a second over one token, and takes a hundred times as long over 128."""
    return LlamaCppRates(
        version="0", threads=2, layers=(LayerPoint(tokens=1, seconds=1e-6), LayerPoint(tokens=128, seconds=1e-4)), token_s=0.001, vocabulary_s=0.0,
        weights=tuple(
            RatePoint(dtype=kind, tokens=tokens, per_s=per_s) for kind in kinds for tokens, per_s in ((1, 1e9), (128, 1e7))
        ),
        attention_macs=(RatePoint(dtype="F16", tokens=1, per_s=1e9),),
    )  # fmt: skip


def test_a_step_multiplies_every_weight_and_a_prompt_the_head_once(spec_of: SpecOf, catalog: Catalog) -> None:
    """SmolLM2-135M: 134,515,008 parameters of which 35,136 are norms; 28,311,552 in the tied head."""
    spec = spec_of("smollm2-135m-instruct")
    found = llama_cpp_here(spec, layout_for("llama.cpp", "fp16", catalog, spec), rates("F16"), 1)
    assert found is not None
    every, head = 134_515_008 - 35_136, 49_152 * 576
    assert sum(found.layer_weights.values()) == every - head
    assert found.head_weights == {"F16": head}

    def pass_s(tokens: int, *, decoding: bool) -> float:
        tower = TowerPass(role="decoder", layers=30, operations=0.0, weight_bytes=0, tokens=tokens)
        return found.pass_s(tower, decoding=decoding)

    assert pass_s(1, decoding=True) == pytest.approx(every / 1e9 + 0.001 + 30e-6)
    assert pass_s(128, decoding=False) == pytest.approx((every - head) / 1e7 + head / 1e9 + 0.001 + 30e-4)
    # two steps of 512 tokens; beyond what was timed the time is in proportion
    assert pass_s(1024, decoding=False) == pytest.approx((every - head) * 8 / 1e7 + head / 1e9 + 0.002 + 240e-4)


def test_a_type_that_was_not_timed_is_left_to_the_fit(spec_of: SpecOf, catalog: Catalog) -> None:
    spec = spec_of("smollm2-135m-instruct")
    layout = layout_for(
        "llama.cpp", "int4", catalog, spec
    )  # rows of 576 are no whole blocks of 256: Q5_0 and Q8_0 beside Q4_K
    assert llama_cpp_here(spec, layout, rates("F16"), 1) is None
    assert llama_cpp_here(spec, layout, rates("Q4_K", "Q5_0", "Q6_K", "Q8_0"), 1) is not None


def test_mixtures_are_left_to_the_fit(spec_of: SpecOf, catalog: Catalog) -> None:
    spec = spec_of("qwen3-30b-a3b")
    assert llama_cpp_here(spec, layout_for("llama.cpp", "fp16", catalog, spec), rates("F16"), 1) is None
