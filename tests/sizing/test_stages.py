"""Pipeline stages: vLLM's own ranges, shares that add up, the ends of the model where they belong."""

from __future__ import annotations

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.model.tensor_layers import layers_with
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.sizing.stages import split_stack, stage_spec, stages_of, vllm_stages
from fmkit.sizing.weights import weight_bytes


def spec_of(model: str) -> ModelSpec:
    spec = load_catalog().model(model).spec
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("layers", "ranges"),
    [
        # the cases of vLLM's tests/distributed/test_pipeline_partition.py at 2758bed7fb2f
        (2, [(0, 1), (1, 2)]), (3, [(0, 2), (2, 3)]), (3, [(0, 1), (1, 2), (2, 3)]), (4, [(0, 1), (1, 3), (3, 4)]),
        (5, [(0, 2), (2, 4), (4, 5)]),
    ],
)  # fmt: skip
def test_layers_are_divided_as_vllm_divides_them(layers: int, ranges: list[tuple[int, int]]) -> None:
    assert [(stage.start, stage.stop) for stage in vllm_stages(layers, len(ranges))] == ranges


@pytest.mark.parametrize(
    "model",
    ["llama-3.1-8b", "qwen2.5-0.5b", "deepseek-v3", "gpt-oss-20b", "gemma-3-27b-it", "mixtral-8x7b-v0.1", "mamba-2.8b-hf", "falcon-7b"],
)  # fmt: skip
def test_stages_add_up_to_the_model_and_a_second_tied_embedding(model: str) -> None:
    spec, layout = spec_of(model), load_catalog().layouts["plain-16"]
    stages = stages_of(spec, vllm_stages(split_stack(spec).layers, 3), towers_everywhere=False)
    parts = [stage_spec(spec, stage) for stage in stages]
    table = next(
        group for group in spec.tensors if group.part == "embedding" and group.shape[0] >= (spec.vocab_size or 0)
    )
    again = layout.tensor_group_bytes(table, spec.config_dtype) if spec.tied_head else 0
    buffers = sum(
        layout.tensor_group_bytes(group, spec.config_dtype)
        for group in spec.tensors
        if group.part == "buffer" and "*" not in group.name
    )
    assert sum(weight_bytes(part, layout) for part in parts) == weight_bytes(spec, layout) + again + 2 * buffers
    assert sum(split_stack(part).layers for part in parts) == split_stack(spec).layers


def test_the_first_layers_of_deepseek_v3_are_dense() -> None:
    spec = spec_of("deepseek-v3")
    stack = split_stack(spec)
    dense = next(group for group in spec.tensors if group.name == "model.layers.*.mlp.gate_proj.weight")
    experts = next(group for group in spec.tensors if group.part == "experts")
    assert layers_with(dense, stack) == (0, 1, 2)
    assert layers_with(experts, stack) == tuple(range(3, 61))


def sized(model: str, gpu: str, count: int, precision: str = "fp16", **options: int) -> MemoryEstimate:
    catalog = load_catalog()
    engine = catalog.engines["vllm"]
    workload = Workload(context_tokens=8192, **options)  # type: ignore[arg-type]
    machine = catalog_machine(catalog.devices[gpu], count)
    return estimate(spec_of(model), engine, catalog.layouts[engine.layouts[precision]], precision, workload, machine)


def test_pipeline_and_tensor_parallel_multiply() -> None:
    found = sized("llama-3.1-70b", "h100-sxm5-80gb", 8, tensor_parallel=4, pipeline_parallel=2)
    assert [(each.count, each.holds) for each in found.devices] == [
        (4, "1/4 of layers 0-39, embedding"), (4, "1/4 of layers 40-79, head"),
    ]  # fmt: skip
    assert found.cache_bytes == sized("llama-3.1-70b", "h200-sxm-141gb", 2, tensor_parallel=2).cache_bytes
    assert sum(each.count * each.peak_bytes for each in found.devices) == found.peak_bytes
    assert sum(line.bytes for line in found.lines) == found.peak_bytes
    assert found.per_device_bytes == max(each.peak_bytes for each in found.devices)


def test_experts_are_spread_and_attention_is_copied() -> None:
    by_experts = sized("deepseek-v3", "h200-sxm-141gb", 8, "fp8", expert_parallel=8, sequences=12)
    by_width = sized("deepseek-v3", "h200-sxm-141gb", 8, "fp8", tensor_parallel=8, sequences=12)

    def part(found: MemoryEstimate, name: str) -> int:
        return sum(line.bytes for line in found.lines if line.part == name)

    assert part(by_experts, "weights: experts") == pytest.approx(part(by_width, "weights: experts"), rel=0.01)
    assert part(by_experts, "weights: attention") > 3 * part(by_width, "weights: attention")
    assert by_experts.cache_bytes * 8 == by_width.cache_bytes  # a latent is whole on each tensor-parallel rank
    assert [each.count for each in by_experts.devices] == [4, 4]  # two sequences on four ranks, one on the others


def test_experts_that_do_not_divide_are_on_the_first_ranks() -> None:
    alone = sized("mixtral-8x7b-v0.1", "h200-sxm-141gb", 1)
    three = sized("mixtral-8x7b-v0.1", "h200-sxm-141gb", 3, expert_parallel=3)

    def experts(found: MemoryEstimate) -> int:
        return sum(line.bytes for line in found.lines if line.part == "weights: experts")

    assert experts(three) == experts(alone) * 9 // 8  # the ranks with three of eight count for all


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("llama-3.1-8b", {"expert_parallel": 2}, "has no experts"), ("mixtral-8x7b-v0.1", {"expert_parallel": 16}, "8 experts are fewer"),
        ("mixtral-8x7b-v0.1", {"expert_parallel": 4, "tensor_parallel": 3}, "no multiple of 3"),
        ("whisper-large-v3", {"pipeline_parallel": 2}, "decoders only"), ("llama-3.1-8b", {"pipeline_parallel": 33}, "at most 32"),
    ],
)  # fmt: skip
def test_divisions_that_are_impossible(model: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sized(model, "h200-sxm-141gb", 16, "fp16", **options)
