"""What people type: models by any of their names, devices by the names that drivers report."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.api.resolve import resolve_machine, resolve_model, this_machine
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Device, Machine
from fmkit.trial.embedded import EMBEDDED, MODEL_PATH
from fmkit.units import GIB


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("llama-3.1-8b", "llama-3.1-8b"), ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"), ("meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"),
        ("Llama 3.1 8B", "llama-3.1-8b"), ("GPT-4o", "gpt-4o"), ("Claude 3.5", "claude-3-5-sonnet"), ("gemini-1.5", "gemini-1.5-pro"),
        ("openai-community/gpt2", "gpt2"), ("Qwen2 14B", "qwen2.5-14b"),
    ],
)  # fmt: skip
def test_a_model_answers_to_its_names(name: str, model_id: str) -> None:
    assert resolve_model(name, load_catalog(), offline=True).id == model_id


@pytest.mark.parametrize(
    ("reported", "gib", "device_id"),
    [
        # as nvidia-smi, rocm-smi and sysctl print them
        ("NVIDIA H100 80GB HBM3", 80, "h100-sxm5-80gb"), ("NVIDIA A100-SXM4-80GB", 80, "a100-sxm4-80gb"), ("Tesla T4", 15, "t4"),
        ("NVIDIA GeForce RTX 4090", 24, "rtx-4090"), ("NVIDIA GeForce RTX 3060", 12, "rtx-3060-12gb"), ("NVIDIA A10G", 23, "a10g"),
        ("AMD Instinct MI300X", 192, "mi300x"), ("Apple M2 Max", 64, "apple-m2-max-64gb"),
    ],
)  # fmt: skip
def test_a_detected_device_is_found_in_the_catalog(
    monkeypatch: pytest.MonkeyPatch, reported: str, gib: int, device_id: str
) -> None:
    device = Device(
        id="this-machine", name=reported, vendor="nvidia", device_class="consumer", memory_bytes=gib * GIB,
        bandwidth_bytes_per_s=None,
    )  # fmt: skip
    machine = Machine(
        name=reported, origin="detected", device=device, count=1, memory_bytes=gib * GIB, usable_bytes=gib * GIB
    )
    monkeypatch.setattr("fmkit.hardware.detect", lambda: machine)
    found = this_machine(load_catalog()).device
    assert found is not None
    assert found.id == device_id


def test_a_device_nobody_knows_keeps_its_own_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(
        id="this-machine", name="NVIDIA XQ-17", vendor="nvidia", device_class="consumer", memory_bytes=GIB,
        bandwidth_bytes_per_s=None,
    )  # fmt: skip
    machine = Machine(name="x", origin="detected", device=device, count=1, memory_bytes=GIB, usable_bytes=GIB)
    monkeypatch.setattr("fmkit.hardware.detect", lambda: machine)
    assert this_machine(load_catalog()).device == device


@pytest.mark.parametrize("gpu", ["rtx-4090:0", "rtx-4090:x", "rtx-4090:-1", "rtx-4090:99999", "rtx-9999"])
def test_a_silly_device_is_refused(gpu: str) -> None:
    with pytest.raises(UsageError):
        resolve_machine(gpu, None, load_catalog())


def test_a_device_like_none_is_answered_with_some_of_each_vendor() -> None:
    catalog = load_catalog()
    with pytest.raises(UsageError) as caught:
        resolve_machine("banana", None, catalog)
    named = [device for device in catalog.devices.values() if f" {device.id}" in caught.value.message]
    assert {device.vendor for device in named} == {device.vendor for device in catalog.devices.values()}
    assert caught.value.next_command == "fmkit hardware list"
    with pytest.raises(UsageError, match="nearest: rtx-4090"):
        resolve_machine("rtx-4091", None, catalog)


def test_the_folder_one_is_in_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="name a model"):
        resolve_model("", load_catalog())


def test_a_count_multiplies_the_budget_not_the_device() -> None:
    machine = resolve_machine("h100-sxm5-80gb:8", None, load_catalog())
    assert machine.count == 8
    assert machine.memory_bytes == 80 * GIB


def test_the_embedded_model_has_a_name() -> None:
    found, by_path = (resolve_model(name, load_catalog(), offline=True) for name in (EMBEDDED, str(MODEL_PATH)))
    assert (found.ref, found.id, found.path) == (EMBEDDED, EMBEDDED, MODEL_PATH)
    assert found.spec == by_path.spec
