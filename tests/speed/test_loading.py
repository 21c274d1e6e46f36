"""The first load of the weights: what is read from disk, at which rate, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from fmkit.catalog.load import Catalog
from fmkit.machine import catalog_machine
from fmkit.speed.estimate import LoadEstimate
from fmkit.speed.loading import load_estimate
from fmkit.speed.rates import DiskKind, MachineRates
from tests.speed.conftest import MemoryOf, SpecOf

Loaded = Callable[..., LoadEstimate]
RTX_4090 = "rtx-4090"


@pytest.fixture(scope="module")
def loaded(catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf) -> Loaded:
    def loaded(
        layout_id: str, precision: str, engine: str, disk: DiskKind | None = None, measured: float | None = None
    ) -> LoadEstimate:
        machine = msgspec.structs.replace(catalog_machine(catalog.devices[RTX_4090], 1), disk=disk)
        memory = memory_of("llama-3.1-8b", RTX_4090, precision=precision, engine=engine)
        rates = None
        if measured is not None:
            rates = MachineRates(
                machine="x", date="2026-11-28", seconds=1, cores=2, read_bytes_per_s=1, copy_bytes_per_s=1,
                disk_read_bytes_per_s=measured,
            )  # fmt: skip
        found = load_estimate(spec_of("llama-3.1-8b"), memory, catalog.layouts[layout_id], machine, rates)
        assert found is not None
        return found

    return loaded


def test_what_is_quantised_while_it_loads_is_read_whole(loaded: Loaded) -> None:
    """The published repository has 16.06 GB; nf4 is made of it, an AWQ repository of 5.7 GB is read as it is."""
    whole, made = loaded("plain-16", "fp16", "transformers"), loaded("bnb-nf4-dq", "int4", "transformers")
    stored = loaded("awq-g128", "int4", "vllm")
    assert whole.file_bytes == made.file_bytes == pytest.approx(16.06e9, rel=0.001)
    assert stored.file_bytes == pytest.approx(5.73e9, rel=0.02)
    assert made.seconds.median > whole.seconds.median > stored.seconds.median


def test_the_kind_of_disk_decides_and_an_unknown_one_may_be_any(loaded: Loaded) -> None:
    kinds: tuple[DiskKind | None, ...] = ("nvme", "ssd", "disk", None)
    found = {kind: loaded("plain-16", "fp16", "transformers", kind).seconds for kind in kinds}
    assert found["nvme"].high < found["ssd"].low < found["ssd"].high < found["disk"].low
    assert found[None].low <= found["nvme"].low
    assert found[None].high >= found["ssd"].high


def test_a_load_that_vllm_logged_lies_in_the_range_of_its_disk(loaded: Loaded) -> None:
    """vLLM 0.15: "Loading weights took 4.75 seconds" for 14.99 GiB (tests/fixtures/logs/vllm-0.15-llama-3.1-8b.log)."""
    seconds = loaded("plain-16", "fp16", "vllm", "nvme").seconds
    assert seconds.low < 4.75 < seconds.high


def test_a_measured_disk_goes_before_its_kind(loaded: Loaded) -> None:
    found = loaded("plain-16", "fp16", "transformers", "disk", 3.2e9)
    assert found.basis == "measured"
    assert found.seconds.low < 16.06e9 / 3.2e9 <= found.seconds.median * 1.001 < found.seconds.high
