"""Weights in main memory or on disk: what stays on the device, what is brought in, what both have to offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Machine, catalog_machine
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.units import GIB


def card(host_bytes: int | None = None, name: str = "rtx-4090") -> Machine:
    machine = catalog_machine(load_catalog().devices[name], 1)
    return msgspec.structs.replace(machine, host_memory_bytes=host_bytes)


def sized(
    model: str, machine: Machine, engine: str = "transformers", precision: str = "fp16", **options: Any
) -> MemoryEstimate:
    catalog = load_catalog()
    spec = catalog.model(model).spec
    assert spec is not None
    facts = catalog.engines[engine]
    workload = Workload(**{"context_tokens": 4096, **options})
    return estimate(spec, facts, catalog.layouts[facts.layouts[precision]], precision, workload, machine)


def test_weights_are_on_the_device_or_beside_it_and_the_cache_stays() -> None:
    whole, split = sized("llama-3.1-70b", card()), sized("llama-3.1-70b", card(256 * GIB), offload="cpu")
    assert split.host is not None
    brought_in = next(line.bytes for line in split.lines if line.part == "weights: module brought in")
    assert split.weights_bytes - brought_in + split.host.bytes == whole.weights_bytes
    assert split.cache_bytes == whole.cache_bytes
    assert split.fits
    assert brought_in == 128256 * 8192 * 2  # lm_head is the largest module of those that are off-loaded


def test_main_memory_is_judged_and_what_it_cannot_take_goes_to_disk() -> None:
    small = sized("llama-3.1-70b", card(64 * GIB), offload="cpu")
    assert small.host is not None
    assert small.host.disk_bytes > 40 * GIB
    assert small.host.bytes <= 0.9 * (small.host.budget_bytes or 0)
    assert small.fits
    disk = sized("llama-3.1-70b", card(64 * GIB), offload="disk")
    assert disk.host is not None
    assert disk.host.bytes == 0
    assert disk.host.disk_bytes == small.host.disk_bytes + small.host.bytes


def test_max_memory_leaves_room_for_a_long_context() -> None:
    default = sized("llama-3.1-70b", card(256 * GIB), offload="cpu", context_tokens=16384)
    less = sized("llama-3.1-70b", card(256 * GIB), offload="cpu", context_tokens=16384, options={"max_memory": "10GiB"})
    assert (default.fits, less.fits) == (False, True)
    assert less.weights_bytes < 12.5 * GIB  # ten, and the module that is brought in


def test_llama_cpp_judges_both() -> None:
    enough = sized("llama-3.1-70b", card(64 * GIB), "llama.cpp", "int4", offload="cpu")
    short = sized("llama-3.1-70b", card(16 * GIB), "llama.cpp", "int4", offload="cpu")
    assert enough.fits
    assert enough.host_is_used
    assert short.fits is False
    assert short.host is not None
    assert short.host.short_bytes == short.short_bytes > 4 * GIB
    embedding = sized("llama-3.1-8b", card(64 * GIB), "llama.cpp", "int4")
    assert embedding.host is not None
    assert not embedding.host_is_used


@pytest.mark.parametrize(
    ("engine", "name", "message"),
    [("vllm", "rtx-4090", "vLLM is not sized"), ("transformers", "apple-m2-ultra-64gb", "nothing to off-load")],
)
def test_where_nothing_can_be_off_loaded(engine: str, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sized("llama-3.1-8b", card(name=name), engine, offload="cpu")


def test_accelerate_brings_in_one_module_at_a_time() -> None:
    """A real model off-loaded by accelerate: of its weights no more than the largest module's are there at any moment."""
    torch = pytest.importorskip("torch")
    accelerate = pytest.importorskip("accelerate")
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415  heavy, and an extra

    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
    )
    model = LlamaForCausalLM(config).eval()
    leaves = [module for module in model.modules() if list(module.parameters(recurse=False))]
    largest = max(sum(p.numel() * p.element_size() for p in leaf.parameters(recurse=False)) for leaf in leaves)
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    seen: list[int] = []

    def count() -> None:
        seen.append(sum(p.numel() * p.element_size() for p in model.parameters() if p.device.type != "meta"))

    def counting(inner: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            count()
            return inner(*args, **kwargs)

        return run

    for leaf in leaves:
        leaf._old_forward = counting(leaf._old_forward)  # what accelerate's hook calls once the weights are there
    with torch.no_grad():
        model(torch.arange(8)[None])
    assert max(seen) == largest
    assert len(seen) == len(leaves)
