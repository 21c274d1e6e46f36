"""Speed from calls timed on the machine itself, held against models that were run there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from fmkit.api.layouts import layout_for
from fmkit.catalog.load import Catalog
from fmkit.machine import Machine, catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.speed.launches import launch_of
from fmkit.speed.matrices import Matrices, matrices_of
from fmkit.speed.measured_here import Measured
from fmkit.speed.operations import TowerPass
from fmkit.speed.rates import CallPoint, MachineRates, ModelPoint, RatePoint, TorchRates
from fmkit.speed.roofline import estimate

SpecOf = Callable[[str], ModelSpec]
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def h100() -> MachineRates:
    """`fmkit hardware measure --json` on an H100, 2026-11-27."""
    return msgspec.convert(json.loads((RESULTS / "hardware-measure-h100.json").read_text())["rates"], MachineRates)


def trials() -> list[dict[str, Any]]:
    """What `fmkit try` measured on that machine."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / "gpu-trials-h100.json").read_text())["rows"]
    return rows


def predicted(row: dict[str, Any], rates: MachineRates | None, catalog: Catalog) -> SpeedEstimate:
    spec = catalog.model(row["model"]).spec
    assert spec is not None
    work, precision, engine = row["workload"], row["precision"], catalog.engines["transformers"]
    layout = layout_for("transformers", precision, catalog, spec)
    machine = catalog_machine(catalog.devices["h100-sxm5-80gb"], 1)
    workload = Workload(context_tokens=work["context_tokens"], sequences=work["sequences"])
    memory = estimate_memory(spec, engine, layout, precision, workload, machine)
    found = estimate(spec, memory, layout, machine, catalog.speed, work["timed_prompt_tokens"], rates=rates)
    assert found is not None
    return found


def errors(h100: MachineRates, catalog: Catalog, quantity: str) -> list[float]:
    found = []
    for row in trials():
        measured = row["speed"][quantity]
        speed = predicted(row, h100, catalog)
        if measured is not None and speed.basis == "measured-here":
            rate = getattr(speed, quantity)
            found.append(abs(rate.median / measured["mean"] - 1))
    return sorted(found)


@pytest.mark.parametrize("quantity", ["ttft_s", "decode_tokens_per_s"])
def test_an_h100_is_as_fast_as_its_timed_calls_say(quantity: str, h100: MachineRates, catalog: Catalog) -> None:
    """Four models, 512 to 65,536 tokens, 1 to 16 sequences, in bfloat16: half within 15 %, nine of ten within 45 %."""
    found = errors(h100, catalog, quantity)
    assert len(found) >= 14
    assert found[len(found) // 2] < 0.15
    assert found[int(len(found) * 0.9)] < 0.45


def test_a_type_that_was_not_timed_is_not_predicted_from_it(h100: MachineRates, catalog: Catalog) -> None:
    row = next(row for row in trials() if row["precision"] == "int4")
    assert predicted(row, h100, catalog).basis != "measured-here"


def test_another_engine_makes_other_calls(h100: MachineRates, catalog: Catalog, spec_of: SpecOf) -> None:
    spec, machine = spec_of("llama-3.1-8b"), catalog_machine(catalog.devices["h100-sxm5-80gb"], 1)
    layout = layout_for("vllm", "fp16", catalog, spec)
    memory = estimate_memory(spec, catalog.engines["vllm"], layout, "fp16", Workload(context_tokens=512), machine)
    found = estimate(spec, memory, layout, machine, catalog.speed, rates=h100)
    assert found is not None
    assert found.basis == "measured-device"


def test_seconds_per_weight_lie_between_the_timed_ones_and_grow_beyond(h100: MachineRates) -> None:
    torch = h100.on(cpu=False)
    assert torch is not None
    found = Measured(rates=torch, dtype="bfloat16")
    one, sixteen, many, twice = (found.weight_s(tokens) for tokens in (1, 16, 2048, 4096))
    assert one == pytest.approx(2 / 2598.5e9, rel=0.001)
    assert one <= found.weight_s(8) <= sixteen < many
    assert twice == pytest.approx(2 * many)


@pytest.mark.parametrize(
    ("model", "layers"), [("llama-3.1-8b", 2.0), ("qwen3-0.6b", 2.4), ("gemma-3-1b-it", 2.8), ("qwen3-30b-a3b", 3.6)]
)
def test_launching_counts_the_norms_of_a_layer(model: str, layers: float, spec_of: SpecOf) -> None:
    assert launch_of(spec_of(model)) == pytest.approx(layers, abs=0.05)


@pytest.mark.parametrize("quantity", ["ttft_s", "decode_tokens_per_s"])
def test_three_of_four_figures_lie_in_their_range(quantity: str, h100: MachineRates, catalog: Catalog) -> None:
    inside = []
    for row in trials():
        measured, speed = row["speed"][quantity], predicted(row, h100, catalog)
        if measured is not None and speed.basis == "measured-here":
            found = getattr(speed, quantity)
            inside.append(found.low <= measured["mean"] <= found.high)
    assert sum(inside) >= 0.75 * len(inside)


Predictions = list[tuple[dict[str, Any], SpeedEstimate]]


@pytest.fixture(scope="module")
def on_two_cores(catalog: Catalog, machine_of: Callable[[str], Machine]) -> Predictions:
    """Each cell of benchmarks/speed_cpu.py, measured, and what the rates that were timed before it predict today."""
    kept = json.loads((RESULTS / "speed_cpu.json").read_text())
    timed = {(run["model"], run["dtype"]): msgspec.convert(run["rates"], MachineRates) for run in kept["runs"]}
    engine, found = catalog.engines["transformers"], []
    for cell in kept["cells"]:
        spec = catalog.model(cell["model"]).spec
        assert spec is not None
        precision = {"bfloat16": "fp16", "float32": "fp32"}[cell["dtype"]]
        layout = msgspec.structs.replace(catalog.layouts[engine.layouts[precision]], rest_dtype=cell["dtype"])
        # steps were timed over the eight tokens after the prompt
        workload = Workload(context_tokens=cell["prompt_tokens"] + 4, sequences=cell["sequences"])
        machine = machine_of("two-cores")
        memory = estimate_memory(spec, engine, layout, precision, workload, machine)
        speed = estimate(
            spec,
            memory,
            layout,
            machine,
            catalog.speed,
            cell["prompt_tokens"],
            rates=timed[cell["model"], cell["dtype"]],
        )
        assert speed is not None
        assert speed.basis == "measured-here"
        found.append((cell, speed))
    return found


def ranges_on_two_cores(found: Predictions, quantity: str) -> list[tuple[float, Range]]:
    """Measured seconds to the first token, or tokens per second, each with its predicted range."""
    pairs = []
    for cell, speed in found:
        measured = cell["ttft_s"] if quantity == "ttft_s" else 1 / cell["step_s"]
        predicted = getattr(speed, quantity)
        assert predicted is not None
        pairs.append((measured, predicted))
    return pairs


@pytest.mark.parametrize("quantity", ["ttft_s", "decode_tokens_per_s"])
def test_a_processor_is_as_fast_as_its_timed_calls_say(quantity: str, on_two_cores: Predictions) -> None:
    """Ten architectures in transformers on two cores, 32 to 512 tokens, one and four sequences, two types: half within 8 %."""
    assert sum(count == 12 for count in Counter(cell["model"] for cell, _ in on_two_cores).values()) >= 7
    found = [
        abs(predicted.median / measured - 1) for measured, predicted in ranges_on_two_cores(on_two_cores, quantity)
    ]
    assert sorted(found)[len(found) // 2] < 0.08


@pytest.mark.parametrize("quantity", ["ttft_s", "decode_tokens_per_s"])
def test_three_of_four_figures_on_a_processor_lie_in_their_range(quantity: str, on_two_cores: Predictions) -> None:
    inside = [
        predicted.low <= measured <= predicted.high
        for measured, predicted in ranges_on_two_cores(on_two_cores, quantity)
    ]
    assert 0.75 <= sum(inside) / len(inside) <= 0.9


def test_matrices_are_told_apart_by_shape_and_place(spec_of: SpecOf) -> None:
    """Llama 3.2 1B: of 2048 x (2 x 2048 + 2 x 512 + 3 x 8192) in a layer queries, keys, values, output and down are no wider than long."""
    llama = matrices_of(spec_of("llama-3.2-1b"), "decoder")
    assert llama.narrowing == pytest.approx((2 * 2048 + 2 * 512 + 8192) / (2 * 2048 + 2 * 512 + 3 * 8192))
    assert llama.head_weights == 128256 * 2048
    assert llama.calls in (16 * 7, 16 * 7 + 1)
    gpt2 = matrices_of(spec_of("gpt2"), "decoder")
    assert (gpt2.transposed, gpt2.narrowing) == (1.0, 0.0)
    mamba = matrices_of(spec_of("mamba-370m-hf"), "decoder")
    assert (mamba.scans, mamba.scanned, mamba.activated) == (48, 48 * 2048 * 16, 0)


@pytest.mark.parametrize(
    ("model", "elements"), [("gpt2", 12 * 4 * 768), ("phi-1_5", 24 * 8192), ("opt-1.3b", 0), ("llama-3.2-1b", 0)]
)
def test_a_gelu_spelt_out_is_told_from_an_activation_of_one_call(model: str, elements: int, spec_of: SpecOf) -> None:
    """`gelu_new` in config.json: a module of eight operations in transformers, over the inner width of every layer."""
    assert matrices_of(spec_of(model), "decoder").activated == elements


def on_a_processor(**further: Any) -> TorchRates:
    """Rates of a made-up processor: 1e9 weights a second over one token, 1e11 operations over many."""
    return TorchRates(
        device="cpu", device_name="cpu", version="2.13.0", threads=2, layer_s=1e-4, copy_bytes_per_s=1e10,
        weight_bytes=(RatePoint(dtype="bfloat16", tokens=1, per_s=2e9),),
        operations=(RatePoint(dtype="bfloat16", tokens=64, per_s=1e11),),
        attention_macs=(RatePoint(dtype="bfloat16", tokens=1, per_s=1e9), RatePoint(dtype="bfloat16", tokens=64, per_s=1e10)),
        **further,
    )  # fmt: skip


def mamba_point(*, tokens: int, sequences: int, beside_s: float) -> ModelPoint:
    """A layer with 1000 elements of state."""
    return ModelPoint(
        model="mamba", dtype="bfloat16", tokens=tokens, sequences=sequences, beside_s=beside_s, state_elements=1000,
        per_s=1e9, layer_matrices=3, layer_weights=1, hidden_dim=0, narrowing=0.0,
    )  # fmt: skip


def test_the_head_sees_the_last_token_of_each_prompt_and_an_activation_every_token() -> None:
    """The head at 1e8 weights a second takes 10 s for 1e9 weights over one prompt; 1e6 elements a second are activated."""
    calls = (
        CallPoint(call="last-token", dtype="bfloat16", tokens=1, per_s=1e8),
        CallPoint(call="new-gelu", dtype="bfloat16", tokens=64, per_s=1e6),
    )
    tower = TowerPass(
        role="decoder", layers=0, operations=0.0, weight_bytes=2 * 1_000_000_000, hidden_dim=0, tokens=128
    )
    found = {"decoder": Matrices(head_weights=1_000_000_000, activated=1000)}
    measured = Measured(rates=on_a_processor(calls=calls), dtype="bfloat16", sequences=1, matrices=cast("Any", found))
    assert measured.pass_s(tower, decoding=False) == pytest.approx(10 + 128 * 1000 / 1e6)


def test_a_scan_takes_what_it_took_in_the_mamba_that_was_timed() -> None:
    """64 steps took 0.4 s with one sequence and 0.7 s with four: a step 4.7 ms, and 1.6 ms more for each sequence of 1000 elements."""
    points = (
        mamba_point(tokens=64, sequences=1, beside_s=0.4),
        mamba_point(tokens=256, sequences=4, beside_s=0.7),
        mamba_point(tokens=1, sequences=1, beside_s=0.002),
        mamba_point(tokens=4, sequences=4, beside_s=0.005),
    )
    tower = TowerPass(role="decoder", layers=2, operations=0.0, weight_bytes=0, hidden_dim=64, tokens=4 * 64)
    measured = Measured(
        rates=on_a_processor(in_model=points),
        dtype="bfloat16",
        launch=0.0,
        sequences=4,
        matrices={"decoder": Matrices(scans=2, scanned=2000)},
    )
    assert measured.pass_s(tower, decoding=False) == pytest.approx(2 * 0.7)
    step = msgspec.structs.replace(tower, tokens=4)
    assert measured.pass_s(step, decoding=True) == pytest.approx(2 * (0.005 - 0.002))


def test_a_pass_of_the_llama_that_was_timed_takes_what_it_took() -> None:
    """2 layers of 1e6 weights in 7 matrices, timed at 5e8 weights a second and 3 ms beside them, where matrices alone reach 1e9."""
    point = ModelPoint(
        dtype="bfloat16", tokens=1, per_s=5e8, beside_s=0.003, layer_matrices=7, layer_weights=1_000_000, hidden_dim=64, narrowing=0.4,
    )  # fmt: skip
    measured = Measured(
        rates=on_a_processor(in_model=(point,)),
        dtype="bfloat16",
        matrices={"decoder": Matrices(calls=14, narrowing=0.4)},
    )
    tower = TowerPass(role="decoder", layers=2, operations=4e6, weight_bytes=4_000_000, hidden_dim=64, tokens=1)
    assert measured.pass_s(tower, decoding=True) == pytest.approx(2 * (1_000_000 / 5e8 + 0.003))


def test_no_first_token_is_told_of_a_scan_that_was_not_timed(
    catalog: Catalog, spec_of: SpecOf, machine_of: Callable[[str], Machine]
) -> None:
    """Most of a Mamba's prompt is its scan (benchmarks/results/speed_cpu.json): steps can be told without it, prompts can't."""
    kept = json.loads((RESULTS / "speed_cpu.json").read_text())["runs"]
    run = next(run for run in kept if (run["model"], run["dtype"]) == ("mamba-370m-hf", "bfloat16"))
    thorough = msgspec.convert(run["rates"], MachineRates)
    torch = msgspec.structs.replace(
        thorough.torch[0], in_model=tuple(point for point in thorough.torch[0].in_model if point.model == "llama")
    )
    short = msgspec.structs.replace(thorough, torch=(torch,))
    spec, machine, engine = spec_of("mamba-370m-hf"), machine_of("two-cores"), catalog.engines["transformers"]
    layout = msgspec.structs.replace(layout_for("transformers", "fp16", catalog, spec), rest_dtype="bfloat16")
    memory = estimate_memory(spec, engine, layout, "fp16", Workload(context_tokens=512), machine)
    for rates, told in ((thorough, True), (short, False), (None, False)):
        found = estimate(spec, memory, layout, machine, catalog.speed, 512, rates=rates)
        assert found is not None
        assert (found.ttft_s is not None) == told
        assert found.decode_tokens_per_s is not None
        assert ("fmkit hardware measure --thorough" in found.reason) != told


def test_latents_are_expanded_at_the_rate_of_a_prompt() -> None:
    """1e11 operations a second over 64 tokens: 2e9 of a step's operations take 20 ms more, whatever else it does."""
    tower = TowerPass(role="decoder", layers=1, operations=2e6, weight_bytes=2_000_000, hidden_dim=64)
    measured = Measured(rates=on_a_processor(), dtype="bfloat16")
    plain, expanding = (
        measured.pass_s(
            msgspec.structs.replace(tower, operations=2e6 + operations, expanding_operations=operations), decoding=True
        )
        for operations in (0.0, 2e9)
    )
    assert expanding - plain == pytest.approx(0.02)


def test_a_call_costs_a_large_matrix_as_much_as_a_small_one() -> None:
    point = ModelPoint(
        dtype="bfloat16", tokens=1, per_s=5e8, beside_s=0.0, layer_matrices=7, layer_weights=1_000_000, hidden_dim=64, narrowing=0.0,
    )  # fmt: skip
    measured = Measured(
        rates=on_a_processor(in_model=(point,)), dtype="bfloat16", matrices={"decoder": Matrices(calls=7)}
    )
    tower = TowerPass(role="decoder", layers=1, operations=2e8, weight_bytes=200_000_000, hidden_dim=64, tokens=1)
    assert measured.pass_s(tower, decoding=True) == pytest.approx(100_000_000 / 1e9 + 0.001)
