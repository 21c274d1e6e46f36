"""The benchmark of torch calls, on shapes so small that it takes a moment."""

from __future__ import annotations

import itertools
from typing import get_args

import msgspec
import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel

from fmkit.speed.rates import Call
from fmkit.trial.drift import Clock
from fmkit.trial.narrow_layer import NarrowLayer
from fmkit.trial.rates import CPU_SHAPES, Bench, measure_torch, torch_devices
from fmkit.trial.small_llama import LAYER_MATRICES, LlamaShape, SmallLlama

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


def test_every_rate_is_measured_in_every_type() -> None:
    heard: list[str] = []
    rates = measure_torch("cpu", 0.05, heard.append, SMALL)
    for points, tokens in ((rates.weight_bytes, [1]), (rates.operations, [8]), (rates.attention_macs, [1, 8])):
        assert [(point.dtype, point.tokens) for point in points] == [
            (dtype, count) for dtype in SMALL.dtypes for count in tokens
        ]
        assert all(point.per_s > 0 for point in points)
    assert rates.layer_s > 0
    assert [(point.dtype, point.tokens) for point in rates.in_model] == [
        (dtype, tokens) for dtype in SMALL.dtypes for tokens in (1, 8)
    ]
    assert all(point.per_s > 0 and point.beside_s > 0 for point in rates.in_model)
    assert {point.call for point in rates.calls} == set(get_args(Call))
    assert all(point.per_s > 0 for point in rates.calls)
    assert (rates.device, rates.host_to_device_bytes_per_s) == ("cpu", None)
    assert len(heard) == 5
    assert "cpu" in torch_devices()


@pytest.mark.parametrize("failure", [RuntimeError("no kernel"), NotImplementedError()])
def test_a_call_without_a_kernel_leaves_its_rate_out(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refuse)
    rates = Bench("cpu", SMALL, 0.001)
    assert list(rates.attention("float32")) == []


def test_a_type_that_is_too_slow_is_not_tried_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmkit.trial.rates.TOO_SLOW_S", 0.0)
    assert [point.tokens for point in Bench("cpu", SMALL, 0.001).linear("float32")] == [1]


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
    llama = SmallLlama("float32", (), 0.0, SMALL_LLAMA)
    matrices = [
        module.weight.shape
        for module in LlamaModel(LlamaConfig(**SMALL_LLAMA.config())).modules()
        if isinstance(module, torch.nn.Linear)
    ]
    assert sum(shape.numel() for shape in matrices) == SMALL_LLAMA.layers * SMALL_LLAMA.layer_weights
    assert len(matrices) == SMALL_LLAMA.layers * LAYER_MATRICES
    narrowing = sum(shape.numel() for shape in matrices if shape[0] <= shape[1])
    (point,) = llama.points([1])
    assert point.narrowing == pytest.approx(narrowing / sum(shape.numel() for shape in matrices))
    assert (point.hidden_dim, point.tokens) == (32, 1)


def test_what_is_beside_the_matrices_is_the_rest_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by one second whenever it is read: one second for each matrix, one between each two."""
    seconds = itertools.count()
    monkeypatch.setattr("fmkit.trial.small_llama.time.perf_counter", lambda: float(next(seconds)))
    (point,) = SmallLlama("float32", (), 0.0, SMALL_LLAMA).points([1])
    assert SMALL_LLAMA.layer_weights / point.per_s == pytest.approx(7)
    assert point.beside_s == pytest.approx(7 + 1 / SMALL_LLAMA.layers)


def test_a_machine_that_was_twice_as_fast_when_it_was_measured_has_drifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drift is seconds now over seconds then: rates twice as high mean half the seconds."""
    monkeypatch.setattr("fmkit.trial.drift.MANY", 8)
    rates = measure_torch("cpu", 0.05, lambda _: None, SMALL)
    clock = Clock(rates, "float32", SMALL_LLAMA)
    known = {point.tokens: point for point in rates.in_model if point.dtype == "float32"}
    half = {
        at: msgspec.structs.replace(one, per_s=one.per_s / 2, beside_s=one.beside_s * 2) for at, one in known.items()
    }
    monkeypatch.setattr(clock._llama, "points", lambda tokens, **_: [half[count] for count in tokens])
    found = clock.drift()
    assert (found.decode, found.prefill) == pytest.approx((2.0, 2.0))
