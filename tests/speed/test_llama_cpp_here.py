"""Speed of llama.cpp from kernels that were timed on the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.api.layouts import layout_for
from fmkit.catalog.load import Catalog
from fmkit.machine import Machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.speed.llama_cpp_here import llama_cpp_here
from fmkit.speed.operations import TowerPass
from fmkit.speed.rates import LayerPoint, LlamaCppRates, MachineRates, RatePoint
from fmkit.speed.roofline import estimate

SpecOf = Callable[[str], ModelSpec]
Predictions = list[tuple[dict[str, Any], SpeedEstimate]]
RESULT = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "speed_llama_cpp.json"


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


def test_without_attention_timed_there_is_no_speed_from_them(spec_of: SpecOf, catalog: Catalog) -> None:
    spec = spec_of("smollm2-135m-instruct")
    deaf = msgspec.structs.replace(rates("F16"), attention_macs=())
    assert llama_cpp_here(spec, layout_for("llama.cpp", "fp16", catalog, spec), deaf, 1) is None


@pytest.fixture(scope="module")
def on_two_cores(catalog: Catalog, machine_of: Callable[[str], Machine]) -> Predictions:
    """Each cell of benchmarks/speed_llama_cpp.py, measured, and what the kernels that were timed before it predict today."""
    kept = json.loads(RESULT.read_text())
    timed = msgspec.convert(kept["rates"], LlamaCppRates)
    bare = MachineRates(
        machine="", date="", seconds=0, cores=2, read_bytes_per_s=0, copy_bytes_per_s=0, llama_cpp=timed
    )
    machine, found = machine_of("two-cores"), []
    for cell in kept["cells"]:
        spec = catalog.model(cell["model"]).spec
        assert spec is not None
        precision = {"F16": "fp16", "Q8_0": "int8", "Q4_K_M": "int4"}[cell["file_type"]]
        layout = layout_for("llama.cpp", precision, catalog, spec)
        # steps were timed over the sixteen tokens after the prompt
        workload = Workload(context_tokens=cell["prompt_tokens"] + 8, sequences=cell["sequences"])
        memory = estimate_memory(spec, catalog.engines["llama.cpp"], layout, precision, workload, machine)
        speed = estimate(spec, memory, layout, machine, catalog.speed, cell["prompt_tokens"], rates=bare)
        assert speed is not None
        assert speed.basis == "measured-here"
        found.append((cell, speed))
    return found


def ranges_of(found: Predictions, quantity: str) -> list[tuple[float, Range]]:
    """Measured tokens per second, each with its predicted range."""
    pairs = []
    for cell, speed in found:
        predicted = {"prefill": speed.prefill_tokens_per_s, "decode": speed.decode_tokens_per_s}[quantity]
        assert predicted is not None
        pairs.append((cell[f"{quantity}_per_s"], predicted))
    return pairs


@pytest.mark.parametrize("quantity", ["prefill", "decode"])
def test_a_processor_is_as_fast_as_its_timed_kernels_say(quantity: str, on_two_cores: Predictions) -> None:
    """Three models in three types on two cores, 64 and 512 tokens, one and four sequences: half within 12 %."""
    assert len(on_two_cores) == 36
    found = [abs(predicted.median / measured - 1) for measured, predicted in ranges_of(on_two_cores, quantity)]
    assert sorted(found)[len(found) // 2] < 0.12


@pytest.mark.parametrize("quantity", ["prefill", "decode"])
def test_three_of_four_figures_lie_in_their_range(quantity: str, on_two_cores: Predictions) -> None:
    inside = [predicted.low <= measured <= predicted.high for measured, predicted in ranges_of(on_two_cores, quantity)]
    assert 0.75 <= sum(inside) / len(inside) <= 0.9
