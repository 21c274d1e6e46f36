"""vLLM 0.20 over several devices: tensor, pipeline and expert parallel, and copies of the attention (data parallel).

Each pipeline stage holds whole layers, each of its ranks a share of every layer. With expert parallel the experts are
spread over all ranks of a stage, in whole; beyond the tensor-parallel ranks there are copies of the rest of the model,
each with its own part of the sequences. Without any of these vLLM uses one device, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.sizing.engines.plan import DevicePlan, Placement
from fmkit.sizing.engines.vllm import VllmModel, VllmWeights, rank_runtime_line, why_not_run
from fmkit.sizing.parallel import rank_spec
from fmkit.sizing.stages import Stage, split_stack, stage_spec, stages_of, vllm_stages
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload


def place(whole: VllmWeights, workload: Workload, machine: Machine | None) -> Placement:
    """What each rank of each stage holds; UsageError where the model can't be divided so."""
    spec = whole.spec
    if workload.offload is not None:
        raise UsageError("vLLM is not sized with weights off-loaded by this version", where="--offload")
    tensor, pipeline, expert = workload.tensor_parallel, workload.pipeline_parallel, workload.expert_parallel
    copies = attention_copies(tensor, expert)
    ranks = tensor * copies
    devices = []
    for stage in _stages(spec, pipeline):
        part = whole
        if max(tensor, pipeline, expert) > 1:
            cut = stage_spec(spec, stage) if pipeline > 1 else spec
            part = VllmModel(rank_spec(cut, tensor, expert)).at(whole.layout)
        for sequences, alike in _sequences_of_copies(workload.sequences, copies):
            own = workload if copies == 1 else msgspec.structs.replace(workload, sequences=sequences)
            found = part.plan(own, machine)
            if ranks * pipeline > 1:
                found = msgspec.structs.replace(found, runtime=(rank_runtime_line(ranks * pipeline),))
            devices.append(DevicePlan(plan=found, count=tensor * alike, holds=_holds(stage, pipeline, tensor, expert)))
    return Placement(
        devices=tuple(devices),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        expert_parallel=expert,
        warnings=_warnings(spec, workload, machine, copies, ranks * pipeline),
        refused=why_not_run(spec),
    )


def attention_copies(tensor: int, expert: int) -> int:
    """How often the attention is there (data parallel): expert-parallel ranks = tensor-parallel ranks x copies.

    >>> attention_copies(1, 8), attention_copies(4, 8), attention_copies(8, 1)
    (8, 2, 1)
    """
    if expert == 1:
        return 1
    if expert % tensor:
        raise UsageError(
            f"vLLM spreads experts over all ranks: {expert} is no multiple of {tensor} tensor-parallel ranks",
            where="--expert-parallel",
        )
    return expert // tensor


def _sequences_of_copies(sequences: int, copies: int) -> list[tuple[int, int]]:
    """Sequences that a copy of the attention serves, and how many copies serve as many.

    >>> _sequences_of_copies(10, 4), _sequences_of_copies(8, 4)
    ([(3, 2), (2, 2)], [(2, 4)])
    """
    each, more = divmod(sequences, copies)
    return [(number, alike) for number, alike in ((each + 1, more), (each, copies - more)) if alike]


def _stages(spec: ModelSpec, count: int) -> list[Stage]:
    stack = split_stack(spec)
    if count == 1:
        return [Stage(first=0, end=stack.layers, has_embedding=True, has_head=True, has_towers=True)]
    if not divides_layers(spec):
        raise UsageError(
            f"vLLM divides the layers of decoders only; {spec.model_type} is none", where="--pipeline-parallel"
        )
    return stages_of(spec, vllm_stages(stack.layers, count), towers_everywhere=True)


def divides_layers(spec: ModelSpec) -> bool:
    """Whether vLLM makes pipeline stages of the model's layers: of decoders alone."""
    crossed = any(block.cross for block in split_stack(spec).blocks)
    return spec.cached_stack is not None and spec.stack("encoder") is None and not crossed


def _holds(stage: Stage, pipeline: int, tensor: int, expert: int) -> str:
    """The part of the model that a rank holds, in words."""
    ends = [*(["embedding"] if stage.has_embedding else []), *(["head"] if stage.has_head else [])]
    what = "the whole model" if pipeline == 1 else ", ".join([stage.name, *ends])
    rest = f"1/{tensor} of " if tensor > 1 else ""
    return f"{rest}{what}" if expert == 1 else f"{rest}{what}, 1/{expert} of the experts"


def _warnings(spec: ModelSpec, workload: Workload, machine: Machine | None, copies: int, used: int) -> tuple[str, ...]:
    found = []
    if machine is not None and machine.count > used:
        found.append(
            f"vLLM uses {used} of the {machine.count} devices: --tensor-parallel {machine.count} or --pipeline-parallel uses all"
        )
    if copies > 1:
        found.append(
            f"{copies} copies of the attention, at most {ceil_div(workload.sequences, copies)} sequences each; the experts once; "
            "redundant experts are not counted"
        )
    if workload.pipeline_parallel > 1 and len(spec.stacks) > 1:
        found.append("every stage is taken to load the towers of other modalities")
    return tuple(found)
