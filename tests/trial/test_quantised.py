"""Quantised trials: the bytes that are loaded are those that `fmkit vram` states, at every precision that a CPU runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.api import trial_request
from fmkit.api.quantisers import QUANTISERS
from fmkit.api.sizing import estimate_for
from fmkit.api.trial_result import predicted_parts
from fmkit.catalog.load import load_catalog
from fmkit.errors import ExitCode, MissingExtraError, UsageError
from fmkit.machine import memory_machine
from fmkit.model.architectures import read
from fmkit.sizing.estimate import Workload
from fmkit.trial.quantised import REPACKED_ON_CPU
from fmkit.units import GIB
from tests.trial.tiny import TOKENS, request

torch = pytest.importorskip("torch", reason="models are quantised with torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own deprecations

PRECISIONS = ("int8", "nf4", "nf4-single", "fp4", "int8-torchao", "int8-quanto")
LIBRARIES = {"bnb": "bitsandbytes", "torchao": "torchao", "quanto": "optimum.quanto"}


def engine_of(name: str, quantiser: Any, dtype: str = "bfloat16", **changes: Any) -> Any:
    from fmkit.trial.engines.transformers import TransformersEngine  # noqa: PLC0415  imports transformers

    engine = TransformersEngine(request(name, dtype=dtype, quantiser=quantiser, repeat=0, checks=(), **changes))
    engine.load()
    return engine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("llama", "bfloat16"), ("gpt2", "bfloat16"), ("bert", "bfloat16"), ("mixtral", "bfloat16"),
        ("t5", "float16"), ("t5", "bfloat16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("precision", PRECISIONS)
def test_loaded_bytes_are_the_predicted_ones(precision: str, name: str, dtype: str) -> None:
    """T5's `wo` is float32 beside float16 alone; torchao packs it beside either type, the others beside neither."""
    catalog = load_catalog()
    layout = catalog.layouts[catalog.engines["transformers"].layouts[precision]]
    quantiser = QUANTISERS[layout.id]
    assert quantiser is not None
    pytest.importorskip(LIBRARIES[quantiser.partition("-")[0]])
    given = request(name)
    spec = read({**given.config, "dtype": dtype}, where=name)
    predicted = estimate_for(spec, precision, Workload(context_tokens=TOKENS), None, catalog)
    engine = engine_of(name, quantiser, dtype)
    measured = engine.prefill_memory()
    assert measured["weights"] == predicted.weights_bytes
    assert bool(engine._repacked_bytes) <= (quantiser in REPACKED_ON_CPU)


@pytest.mark.parametrize("quantiser", ["bnb-int8", "torchao-int8", "quanto-int8"])
def test_transformers_fails_at_a_quantised_mamba(quantiser: str) -> None:
    """What `try` refuses and `vram` says of it: where this test fails, transformers runs it, and the refusal goes."""
    pytest.importorskip(LIBRARIES[quantiser.partition("-")[0]])
    engine = engine_of("mamba", quantiser)
    with pytest.raises((RuntimeError, NotImplementedError)):
        engine.prefill_memory()


@pytest.mark.parametrize("quantiser", ["quanto-int4", "quanto-int8"])
def test_quanto_answers(quantiser: str, tmp_path: Path) -> None:
    """A pass with a cache that grows, as an answer makes them; in inference mode PyTorch refuses what quanto does with 4 bits."""
    pytest.importorskip("optimum.quanto")
    if quantiser == "quanto-int4" and shutil.which("c++") is None:
        pytest.skip("optimum-quanto unpacks 4 bits with code that it compiles")
    from tests.trial import scripted  # noqa: PLC0415  imports transformers

    found = scripted.said(tmp_path, ["a", "b", "c"], (), quantiser=quantiser)
    assert found.output == "a b c"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-torchao", "int8-quanto"])
def test_peaks_are_the_predicted_ones(precision: str) -> None:
    """torchao unpacks a matrix for each product, on a CPU too; the others of 8 bit multiply with packed weights there."""
    catalog = load_catalog()
    quantiser = QUANTISERS[catalog.engines["transformers"].layouts[precision]]
    config = {**request("llama").config, "intermediate_size": 2048}
    spec = read({**config, "dtype": "bfloat16"}, where="llama")
    machine = msgspec.structs.replace(memory_machine(16 * GIB), origin="detected")
    predicted = estimate_for(spec, precision, Workload(context_tokens=TOKENS // 2), machine, catalog)
    engine = engine_of("llama", quantiser, config=config, context_tokens=TOKENS // 2)
    measured = engine.prefill_memory()["prefill_peak_bytes"]
    rounding = 200  # bitsandbytes keeps a few numbers of its first call
    assert predicted_parts(predicted)["allocated_peak_bytes"] == pytest.approx(measured, abs=rounding)


@pytest.mark.parametrize(
    ("layout", "installs"),
    [
        ("bnb-nf4-dq", "pip install bitsandbytes"), ("torchao-int8", "pip install 'fmkit[torchao]'"),
        ("quanto-int4", "pip install 'fmkit[quanto]'"),
    ],
)  # fmt: skip
def test_a_missing_library_says_what_installs_it(layout: str, installs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_request, "is_installed", lambda _: False)
    with pytest.raises(MissingExtraError, match="is not installed") as caught:
        trial_request.quantiser_for(load_catalog().layouts[layout], "cpu")
    assert caught.value.exit_code == ExitCode.MISSING_EXTRA
    assert caught.value.next_command == installs


def test_what_no_cpu_makes_is_refused_before_anything_is_loaded() -> None:
    layouts = load_catalog().layouts
    with pytest.raises(UsageError, match="on a GPU only"):
        trial_request.quantiser_for(layouts["torchao-int4-g128"], "cpu")
    with pytest.raises(UsageError, match="can size"):
        trial_request.quantiser_for(layouts["hqq-int4-g64"], "cpu")


def test_four_bits_of_quanto_need_a_compiler_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from fmkit.trial import quantised  # noqa: PLC0415  imports torch

    pytest.importorskip("optimum.quanto")
    monkeypatch.setattr(quantised, "_is_built", lambda: False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"no C\+\+ compiler"):
        quantised.prepare("quanto-int4", "cpu")
    assert quantised.prepare("quanto-int8", "cpu") is None
