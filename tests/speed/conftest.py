"""Speeds of catalog models on catalog devices, and on the two CPU cores that the reference times were taken on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from fmkit.catalog.load import Catalog, load_catalog
from fmkit.machine import Device, Machine, catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.estimate import SpeedEstimate
from fmkit.speed.roofline import estimate
from fmkit.units import GIB

SpeedOf = Callable[..., SpeedEstimate]
SpecOf = Callable[[str], ModelSpec]
MachineOf = Callable[[str], Machine]
MemoryOf = Callable[..., MemoryEstimate]

A100 = "a100-sxm4-80gb"
EPYC = Device(
    id="two-cores", name="two cores", vendor="cpu", device_class="cpu", memory_bytes=None,
    bandwidth_bytes_per_s=44_000_000_000, flops_per_s={"bfloat16": 0.86e12, "float32": 0.18e12},
)  # fmt: skip
"""The copy bandwidth and matrix rates measured on the machine that the CPU rows come from."""


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def spec_of(catalog: Catalog) -> Callable[[str], ModelSpec]:
    def spec_of(name: str) -> ModelSpec:
        model = catalog.resolve(name)
        assert model is not None, name
        spec = catalog.model(model).spec
        assert spec is not None, name
        return spec

    return spec_of


@pytest.fixture(scope="session")
def machine_of(catalog: Catalog) -> Callable[[str], Machine]:
    def machine_of(device: str) -> Machine:
        return (
            catalog_machine(EPYC, 1, 64 * GIB) if device == "two-cores" else catalog_machine(catalog.devices[device], 1)
        )

    return machine_of


@pytest.fixture(scope="session")
def memory_of(catalog: Catalog, spec_of: SpecOf, machine_of: MachineOf) -> Callable[..., MemoryEstimate]:
    def memory_of(
        model: str,
        device: str = A100,
        precision: str = "fp16",
        context: int = 512,
        engine: str = "transformers",
        sequences: int = 1,
    ) -> MemoryEstimate:
        spec, facts = spec_of(model), catalog.engines[engine]
        workload = Workload(context_tokens=min(context, spec.max_context_tokens or context), sequences=sequences)
        layout = catalog.layouts[facts.layouts[precision]]
        return estimate_memory(spec, facts, layout, precision, workload, machine_of(device))

    return memory_of


@pytest.fixture(scope="session")
def speed_of(
    catalog: Catalog,
    spec_of: SpecOf,
    machine_of: MachineOf,
    memory_of: MemoryOf,
) -> SpeedOf:
    @cache
    def speed_of(
        model: str,
        device: str = A100,
        precision: str | None = None,
        context: int = 512,
        engine: str = "transformers",
        *,
        sequences: int = 1,
        prompt: int | None = None,
        images: int | None = None,
    ) -> SpeedEstimate:
        precision = precision or ("fp32" if device == "two-cores" else "fp16")  # float16 on a CPU has no speed
        facts = catalog.engines[engine]
        memory = memory_of(model, device, precision, context, engine, sequences)
        layout = catalog.layouts[facts.layouts[precision]]
        found = estimate(spec_of(model), memory, layout, machine_of(device), catalog.speed, prompt, images)
        assert found is not None
        return found

    return speed_of
