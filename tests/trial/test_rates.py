"""The benchmark of torch calls, on shapes so small that it takes a moment."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
import torch
from transformers.activations import NewGELUActivation
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel
from transformers.models.mamba.configuration_mamba import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaModel

from fmkit.speed.rates import Call, ModelPoint
from fmkit.trial.device_calls import DeviceCalls
from fmkit.trial.drift import Clock
from fmkit.trial.narrow_layer import NarrowLayer
from fmkit.trial.processor_calls import _new_gelu
from fmkit.trial.rates import CPU_SHAPES, Bench, Found, measure_torch, torch_devices
from fmkit.trial.small_models import LlamaShape, MambaShape, Passes, SmallModel
from fmkit.trial.small_models import points as points_of
from fmkit.trial.turns import in_turns

SMALL = msgspec.structs.replace(
    CPU_SHAPES,
    hidden=64,
    inner=128,
    weights=2,
    few_tokens=(1,),
    many_tokens=(8,),
    cached=16,
    dtypes=("float32", "bfloat16"),
)

SMALL_LLAMA = LlamaShape(layers=2, hidden=32, inner=64, heads=4, kv_heads=2)
SMALL_MAMBA = MambaShape(hidden=32)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models that are smaller still, with short prompts."""
    monkeypatch.setattr("fmkit.trial.small_models.LlamaShape", lambda: SMALL_LLAMA)
    monkeypatch.setattr("fmkit.trial.small_models.MambaShape", lambda: SMALL_MAMBA)
    monkeypatch.setattr("fmkit.trial.small_models.MOST_SEQUENCES", 4)
    monkeypatch.setattr("fmkit.trial.rates.SCANNED", ((1, 8), (2, 8)))


@pytest.mark.usefixtures("small")
def test_every_rate_is_measured_in_every_type() -> None:
    heard: list[str] = []
    rates = measure_torch("cpu", heard.append, thorough=True, shapes=SMALL, slice_s=0.001)
    for points, tokens in ((rates.weight_bytes, [1]), (rates.operations, [8]), (rates.attention_macs, [1, 8])):
        assert [(point.dtype, point.tokens) for point in points] == [
            (dtype, count) for dtype in (*SMALL.dtypes, "float16") for count in tokens
        ]
        assert all(point.per_s > 0 for point in points)
    assert rates.layer_s > 0
    assert [(point.dtype, point.model, point.tokens, point.sequences) for point in rates.in_model] == [
        (dtype, *of)
        for dtype in SMALL.dtypes
        for of in (
            ("llama", 1, 1), ("llama", 8, 1), ("mamba", 1, 1), ("mamba", 2, 2), ("mamba", 8, 1), ("mamba", 16, 2),
        )
    ]  # fmt: skip
    assert all(point.per_s > 0 and point.beside_s > 0 for point in rates.in_model)
    assert {point.call for point in rates.calls} == set(get_args(Call))
    assert all(point.per_s > 0 for point in rates.calls)
    assert (rates.device, rates.host_to_device_bytes_per_s) == ("cpu", None)
    assert len(heard) == 4
    assert "cpu" in torch_devices()


@pytest.mark.usefixtures("small")
def test_a_short_measurement_leaves_out_what_few_models_do() -> None:
    rates = measure_torch("cpu", lambda _: None, shapes=SMALL, slice_s=0.001)
    assert {point.dtype for point in rates.weight_bytes} == set(SMALL.dtypes)
    assert {point.call for point in rates.calls} == {"narrowing", "last-token"}
    assert {point.model for point in rates.in_model} == {"llama"}


@pytest.mark.parametrize("failure", [RuntimeError("no kernel"), NotImplementedError()])
def test_a_call_without_a_kernel_leaves_its_rate_out(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refuse)
    bench, found = Bench("cpu", SMALL, 0.001), Found()
    calls = DeviceCalls("cpu", SMALL, "float32")
    bench.time_calls([*calls.linear(), *calls.attention()], found)
    assert found.rates("attention-macs") == []
    assert [point.tokens for point in found.rates("weight-bytes")] == [1]


def test_calls_take_turns_and_the_first_rounds_do_not_count() -> None:
    order: list[str] = []

    def call(name: str, seconds: float) -> Callable[[], tuple[float]]:
        def once() -> tuple[float]:
            order.append(name)
            return (seconds,)

        return once

    rounds = in_turns([call("short", 0.0), call("medium", 0.2), call("slow", 1.0)], 0.0, visits=2)
    assert [len(found) for found in rounds] == [2, 2, 1]
    assert "".join(name[0] for name in order) == "ssmms" + "ssms" + "ssm"


def test_the_gelu_that_is_timed_is_that_of_transformers() -> None:
    rows = torch.linspace(-3, 3, 64)
    assert torch.allclose(_new_gelu(rows), NewGELUActivation()(rows))


def test_the_narrow_layer_does_what_a_llama_layer_does() -> None:
    config = LlamaConfig(hidden_size=64, intermediate_size=64, num_attention_heads=4, num_key_value_heads=4)
    assert {type(module).__name__ for module in LlamaDecoderLayer(config, 0).modules() if not list(module.children())} == {
        "Linear", "LlamaRMSNorm", "SiLUActivation",
    }  # fmt: skip
    linear = [module for module in NarrowLayer("cpu").modules() if isinstance(module, torch.nn.Linear)]
    assert len(linear) == sum(isinstance(module, torch.nn.Linear) for module in LlamaDecoderLayer(config, 0).modules())
    with torch.inference_mode():
        assert NarrowLayer("cpu")(torch.zeros(1, 1, 64)).shape == (1, 1, 64)


def test_the_small_llama_has_the_matrices_that_its_shape_says() -> None:
    """Against the modules of transformers."""
    llama = SmallModel("float32", SMALL_LLAMA)
    matrices = [
        module.weight.shape
        for module in LlamaModel(LlamaConfig(**SMALL_LLAMA.config())).modules()
        if isinstance(module, torch.nn.Linear)
    ]
    assert sum(shape.numel() for shape in matrices) == SMALL_LLAMA.layers * SMALL_LLAMA.layer_weights
    assert len(matrices) == SMALL_LLAMA.layers * SMALL_LLAMA.layer_matrices
    narrowing = sum(shape.numel() for shape in matrices if shape[0] <= shape[1])
    (point,) = points_of(llama.passes([1]), 0.0)
    assert point.narrowing == pytest.approx(narrowing / sum(shape.numel() for shape in matrices))
    assert (point.hidden_dim, point.tokens) == (32, 1)


def test_the_small_mamba_has_the_matrices_and_the_state_that_its_shape_says() -> None:
    """Against the modules of transformers; the matrix of the time step is multiplied, but not called as a module."""
    config = MambaConfig(**SMALL_MAMBA.config())
    matrices = [
        module.weight.shape
        for name, module in MambaModel(config).named_modules()
        if isinstance(module, torch.nn.Linear) and not name.endswith("dt_proj")
    ]
    assert sum(shape.numel() for shape in matrices) == SMALL_MAMBA.layers * SMALL_MAMBA.layer_weights
    assert len(matrices) == SMALL_MAMBA.layers * SMALL_MAMBA.layer_matrices
    assert sum(shape.numel() for shape in matrices if shape[0] <= shape[1]) == SMALL_MAMBA.narrowing_weights
    assert config.intermediate_size * config.state_size == SMALL_MAMBA.state_elements


def test_what_is_beside_the_matrices_is_the_rest_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by one second whenever it is read: one second for each matrix, one between each two."""
    seconds = itertools.count()
    llama = SmallModel("float32", SMALL_LLAMA)
    passes = llama.steps(1)
    passes()
    monkeypatch.setattr("fmkit.trial.small_models.time.perf_counter", lambda: float(next(seconds)))
    point = passes.point([passes()], ())
    assert SMALL_LLAMA.layer_weights / point.per_s == pytest.approx(7)
    assert point.beside_s == pytest.approx(7 + 1 / SMALL_LLAMA.layers)


@pytest.mark.usefixtures("small")
def test_a_machine_that_was_twice_as_fast_when_it_was_measured_has_drifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drift is seconds now over seconds then: rates twice as high mean half the seconds."""
    monkeypatch.setattr("fmkit.trial.drift.MANY", 8)
    rates = measure_torch("cpu", lambda _: None, shapes=SMALL, slice_s=0.001)
    clock = Clock(rates, "float32", SMALL_LLAMA)
    known = {point.tokens: point for point in rates.in_model if point.dtype == "float32"}
    half = {
        at: msgspec.structs.replace(one, per_s=one.per_s / 2, beside_s=one.beside_s * 2) for at, one in known.items()
    }
    modes = []

    def points_now(passes: list[Passes], *_: object) -> list[ModelPoint]:
        modes.append(torch.is_inference_mode_enabled())
        return [half[each.tokens] for each in passes]

    monkeypatch.setattr("fmkit.trial.drift.points", points_now)
    found = clock.drift()
    assert (found.decode, found.prefill) == pytest.approx((2.0, 2.0))
    assert modes == [True]  # as the rates were timed: gradients cost time
