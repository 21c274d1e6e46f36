"""Models over devices, as asked for in `fmkit vram`: shares that add up, defaults of each engine, refusals."""

from __future__ import annotations

import pytest

from fmkit.api.division import divisions
from fmkit.api.model_sizer import ModelSizer
from fmkit.api.vram import vram
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import catalog_machine
from fmkit.sizing.estimate import MemoryEstimate, Workload


def sized(model: str, engine: str, devices: int, precision: str = "fp16") -> MemoryEstimate:
    catalog = load_catalog()
    spec = catalog.model(model).spec
    assert spec is not None
    sizer = ModelSizer(spec, catalog, engine, Workload(context_tokens=448))
    return sizer(precision, 448, 2, catalog_machine(catalog.devices["rtx-4090"], devices))


def check_shares(model: str, engine: str, devices: int, precision: str = "fp16") -> None:
    """What the devices and the host hold together is what one device and the host hold."""
    whole, split = sized(model, engine, 1, precision), sized(model, engine, devices, precision)
    assert sum(each.count * each.peak_bytes for each in split.devices) == split.peak_bytes
    assert sum(line.bytes for line in split.lines) == split.peak_bytes
    assert split.peak_bytes >= split.steady_bytes >= split.weights_bytes + split.cache_bytes
    assert split.cache_bytes == whole.cache_bytes
    assert split.weights_bytes == pytest.approx(
        whole.weights_bytes, abs=10**6
    )  # buffers outside of the layers are on each


@pytest.mark.parametrize("devices", [2, 5])
@pytest.mark.parametrize(
    "model",
    [
        "llama-3.1-8b",
        "gpt2",
        "whisper-small",
        "t5-base",
        "gemma-3-4b-it",
        "mamba-2.8b-hf",
        "bert-base-uncased",
        "deepseek-v3",
    ],
)
def test_device_map_loses_nothing(model: str, devices: int) -> None:
    check_shares(model, "transformers", devices)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-4b-it", "gpt-oss-20b", "bert-base-uncased"])
def test_layer_split_of_llama_cpp_loses_nothing(model: str) -> None:
    check_shares(model, "llama.cpp", 3)


@pytest.mark.slow
def test_nothing_is_lost_of_any_model_of_the_catalog() -> None:
    catalog = load_catalog()
    models = [name for name in catalog.model_ids() if catalog.model(name).spec is not None]
    assert len(models) > 180
    for place, model in enumerate(models):
        check_shares(model, "transformers", 3, "int4" if place % 2 else "fp16")


def test_what_each_engine_does_with_two_devices_by_default() -> None:
    used = {
        engine: len(
            vram("llama-3.1-8b", engine=engine, precision="fp16", context="4k", gpu="rtx-4090:2").estimates[0].devices
        )
        for engine in ("transformers", "llama.cpp", "vllm")
    }
    assert used == {"transformers": 2, "llama.cpp": 2, "vllm": 1}
    one = vram("llama-3.1-8b", engine="vllm", precision="fp16", context="4k", gpu="rtx-4090:2").estimates[0]
    assert any("--tensor-parallel 2" in warning for warning in one.warnings)


def test_degrees_come_with_their_reasons() -> None:
    found = vram("llama-3.1-8b", engine="vllm", precision="fp16", context="4k", gpu="rtx-4090:2", tensor_parallel=2)
    by_degree = {each.tensor_parallel: each for each in found.degrees}
    assert [count for count, each in by_degree.items() if each.possible] == [1, 2, 4, 8, 16]
    assert by_degree[3].reason == "32 attention heads do not divide by 3"
    assert vram("llama-3.1-8b", precision="fp16", context="4k", gpu="rtx-4090").degrees == ()


def test_main_memory_is_said_beside_the_device() -> None:
    found = vram("llama-3.1-70b", precision="fp16", context="4k", gpu="rtx-4090", memory="256GiB", offload=True)
    host = found.estimates[0].host
    assert host is not None
    assert host.budget_bytes == 252 * 2**30  # less what the system keeps
    assert found.estimates[0].fits
    speed = found.estimates[0].speed
    assert speed is None or (speed.decode_tokens_per_s is not None and speed.decode_tokens_per_s.high < 3)
    assert "fits" in found.verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tensor_parallel": 2, "engine": "llama.cpp"}, "llama.cpp is not sized in tensor parallel"),
        ({"expert_parallel": 2}, "sized for vllm"), ({"pipeline_parallel": 0}, "from 1 to 1,024"), ({"pipeline_parallel": 10**9}, "1,024"),
        ({"offload": "cloud"}, "cpu, disk|cpu"), ({"offload": True, "engine": "vllm"}, "vLLM"),
        ({"tensor_parallel": 4, "engine": "vllm", "gpu": "rtx-4090:2"}, "that takes 4 devices"),
        ({"memory": "64GiB"}, "exclude each other"),
    ],
)  # fmt: skip
def test_silly_divisions_are_refused(options: dict[str, object], message: str) -> None:
    asked = {"gpu": "rtx-4090", "precision": "fp16", "context": "4k"} | options
    with pytest.raises(UsageError, match=message) as caught:
        vram("llama-3.1-8b", **asked)  # type: ignore[arg-type]
    assert caught.value.where


def test_what_does_not_divide_by_heads_is_divided_by_layers_too() -> None:
    catalog = load_catalog()
    spec = catalog.model("qwen2.5-7b-instruct").spec  # 28 heads
    assert spec is not None
    found = divisions(catalog_machine(catalog.devices["rtx-4090"], 8), "vllm", spec)
    assert [(way.machine.count, way.tensor_parallel, way.pipeline_parallel) for way in found] == [
        (1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 4, 2),
    ]  # fmt: skip
    assert [
        way.machine.count for way in divisions(catalog_machine(catalog.devices["rtx-4090"], 6), "llama.cpp", spec)
    ] == [1, 2, 4, 6]
