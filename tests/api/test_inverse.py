"""The inverse over all axes: what is given back fits when sized again, and where memory is the limit one step more does not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmkit.api.inverse import counted, find_inverse
from fmkit.api.model_sizer import ModelSizer
from fmkit.catalog.load import load_catalog
from fmkit.machine import Machine, catalog_machine, memory_machine
from fmkit.sizing.estimate import Fit, Workload
from fmkit.units import GIB, MIB

CASES = [
    ("llama-3.1-8b", "transformers"), ("llama-3.1-8b", "vllm"), ("llama-3.1-8b", "llama.cpp"), ("gemma-3-27b-it", "transformers"),
    ("gemma-3-27b-it", "llama.cpp"), ("deepseek-v3", "vllm"), ("mamba-2.8b-hf", "transformers"), ("whisper-large-v3", "transformers"),
    ("mistral-7b-v0.1", "vllm"), ("bert-base-uncased", "transformers"),
]  # fmt: skip
PRECISIONS = ("fp16", "int8", "int4")


def sizer_of(model: str, engine: str, **options: object) -> ModelSizer:
    catalog = load_catalog()
    spec = catalog.model(model).spec
    assert spec is not None
    return ModelSizer(spec, catalog, engine, Workload(**{"context_tokens": 1, **options}))  # type: ignore[arg-type]


def inverse(sizer: ModelSizer, machine: Machine, context: int = 4096, sequences: int = 1) -> Fit:
    return find_inverse(sizer, PRECISIONS, context, sequences, machine)


class FewDevices(ModelSizer):
    """The search over the catalog's devices left out: it is tested apart."""

    def devices(self) -> list[Machine]:
        return []


@settings(max_examples=25, deadline=None)
@given(case=st.sampled_from(CASES), budget_mib=st.integers(200, 1_500_000), context=st.sampled_from([1, 448, 4096]))
def test_what_is_given_back_fits_and_one_step_more_does_not(
    case: tuple[str, str], budget_mib: int, context: int
) -> None:
    base = sizer_of(*case)
    sizer = FewDevices(base.spec, base.catalog, base.engine, base.workload)
    machine = memory_machine(budget_mib * MIB)
    found = inverse(sizer, machine, context)
    limit = sizer.spec.max_context_tokens
    for each in found.precisions:
        assert each.fits == sizer(each.precision, context, 1, machine).fits
        longest, most = each.max_context_tokens, each.max_sequences
        if longest is not None:
            assert sizer(each.precision, longest, 1, machine).fits
            if each.limited_by == "memory" and longest < 2**24:
                assert not sizer(each.precision, longest + 1, 1, machine).fits
            else:
                assert longest in (limit, 2**24)
        if most is not None and most < 65_536:
            assert sizer(each.precision, context, most, machine).fits
            assert not sizer(each.precision, context, most + 1, machine).fits
        for cut in each.cuts:
            assert cut.saves_bytes >= 0
    best = [each.precision for each in found.precisions if each.fits]
    assert found.best_precision == (best[0] if best else None)


@settings(max_examples=12, deadline=None)
@given(
    budget_gib=st.integers(4, 40),
    context=st.integers(1, 60_000),
    model=st.sampled_from(["llama-3.1-8b", "gemma-3-27b-it"]),
)
def test_most_gpu_layers_fit_and_one_more_does_not(budget_gib: int, context: int, model: str) -> None:
    sizer = sizer_of(model, "llama.cpp")
    machine = memory_machine(budget_gib * GIB)
    machine = msgspec.structs.replace(
        catalog_machine(sizer.catalog.devices["rtx-4090"], 1), usable_bytes=machine.usable_bytes
    )
    few = FewDevices(sizer.spec, sizer.catalog, sizer.engine, sizer.workload)
    for each in inverse(few, machine, context).precisions:
        layers = each.max_gpu_layers
        whole = sizer.spec.stacks[0].layers + 1

        def fits(count: int, precision: str = each.precision) -> bool | None:
            options = sizer_of(model, "llama.cpp", options={"gpu_layers": str(count)})
            return options(precision, context, 1, machine).fits

        if layers is None:
            assert not fits(0)
        else:
            assert fits(layers)
            assert layers == whole or not fits(layers + 1)


@pytest.mark.parametrize(
    ("model", "engine", "gpu"),
    [
        ("llama-3.1-70b", "vllm", "h100-sxm5-80gb"),
        ("llama-3.1-70b", "transformers", "a100-sxm4-80gb"),
        ("mixtral-8x7b-v0.1", "llama.cpp", "rtx-4090"),
    ],
)
def test_the_fewest_devices_hold_it_and_one_less_does_not(model: str, engine: str, gpu: str) -> None:
    sizer = sizer_of(model, engine)
    one = catalog_machine(sizer.catalog.devices[gpu], 1)
    for each in inverse(sizer, one).precisions:
        fewest = each.fewest_devices
        assert fewest is not None

        def fits(count: int, precision: str = each.precision) -> bool | None:
            machine = counted(one, count)
            assert machine is not None
            options = {"tensor_parallel": count} if engine == "vllm" else {}
            return sizer_of(model, engine, **options)(precision, 4096, 1, machine).fits

        assert fits(fewest)
        smaller = {"vllm": [1, 2, 4, 8]}.get(engine, range(1, fewest))
        assert not any(fits(count) for count in smaller if count < fewest)


def test_the_smallest_device_holds_it_and_no_smaller_one_does() -> None:
    sizer = sizer_of("llama-3.1-8b", "transformers")
    found = inverse(sizer, memory_machine(2 * GIB)).precisions[0].smallest_device
    assert found is not None
    chosen = catalog_machine(sizer.catalog.devices[found], 1)
    assert sizer("fp16", 4096, 1, chosen).fits
    own = [each for each in sizer.devices() if each.device is not None and not each.device.unified_memory]
    assert not any(sizer("fp16", 4096, 1, each).fits for each in own if each.usable_bytes < chosen.usable_bytes)


def test_several_devices_are_proposed_where_none_alone_is_enough() -> None:
    found = inverse(sizer_of("deepseek-v3", "vllm"), memory_machine(80 * GIB)).precisions[0]
    assert found.smallest_device is None
    assert found.smallest_devices is None or found.smallest_devices.endswith(":8")
    of_405b = inverse(sizer_of("llama-3.1-405b", "vllm"), memory_machine(80 * GIB)).precisions[0]
    device, _, count = str(of_405b.smallest_devices).partition(":")
    sizer = sizer_of("llama-3.1-405b", "vllm", tensor_parallel=int(count))
    assert sizer("fp16", 4096, 1, catalog_machine(sizer.catalog.devices[device], int(count))).fits


def test_each_cut_that_is_enough_is_enough_when_asked_for() -> None:
    sizer = sizer_of("llama-3.1-8b", "llama.cpp")
    card = catalog_machine(sizer.catalog.devices["rtx-4060"], 1)
    found = find_inverse(sizer, ("q8_0", "q4_k_m"), 16384, 2, card)
    cuts = {cut.option.split()[0]: cut for cut in found.precisions[0].cuts}
    assert set(cuts) == {"--context", "--precision", "--kv-dtype", "--offload", "--sequences"}
    assert cuts["--offload"].fits
    offloaded = sizer_of("llama-3.1-8b", "llama.cpp", offload="cpu")("q8_0", 16384, 2, card)
    assert offloaded.fits
    assert offloaded.per_device_bytes + cuts["--offload"].saves_bytes == sizer("q8_0", 16384, 2, card).per_device_bytes
    saved = cuts["--precision"].saves_bytes
    assert saved == sizer("q8_0", 16384, 2, card).per_device_bytes - sizer("q4_k_m", 16384, 2, card).per_device_bytes
