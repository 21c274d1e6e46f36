"""What an engine's rules say of one model and workload: the lines beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from fmkit.model.attention import CrossAttention
from fmkit.sizing.drafts import Line
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.forward import encoder_of, images_per_sequence

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload


class Plan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Memory of one model in one engine, without the engine's runtime.

    `weights`, `cache` and `decode` are held while decoding; `prefill` is what processing the input holds beyond that.
    `runtime` replaces the catalog's figure where the engine's rules know better; `warnings` is what its rules have to
    say. `budget_fraction` is set for an engine that fills a share of each device: it may use that much of it, and takes
    all of that; `budget_option` is its option for it. `host` lies in main memory, `disk` on disk. `droppable_bytes` of the weights
    are pages of a mapped file that nothing reads again: they count while there is room, and the system drops them where there is none.
    """

    cache_dtype: str
    encoder_tokens: int
    weights: tuple[MemoryLine, ...]
    cache: tuple[Line, ...]
    decode: tuple[Line, ...]
    prefill: tuple[Line, ...]
    runtime: tuple[MemoryLine, ...] | None = None
    budget_fraction: float | None = None
    budget_option: str = ""
    warnings: tuple[str, ...] = ()
    host: tuple[MemoryLine, ...] = ()
    disk: tuple[MemoryLine, ...] = ()
    droppable_bytes: int = 0


class DevicePlan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one device holds of a model, or each of `count` devices that hold as much; `holds` says which part it is."""

    plan: Plan
    count: int = 1
    holds: str = "the whole model"


class Placement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model over devices: what each of them holds, and by how many it was divided in which way.

    `refused` says why the engine does not load it so, whatever room there is. `backend` is what llama.cpp is built with there,
    `flash_attention` whether it is on, None where that was not said.
    """

    devices: tuple[DevicePlan, ...]
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: int = 1
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    backend: str | None = None
    flash_attention: bool | None = None


class EngineWeights(Protocol):
    """A model at one layout in one engine: what does not depend on the work or the machine is worked out once, and kept.

    `beside` is what the bytes beside the weights depend on of the layout: equal where they are.
    """

    @property
    def beside(self) -> tuple[object, ...]:
        """Equal for layouts that differ in their weights only."""
        ...


class EngineModel(Protocol):
    """A model in one engine, whatever its layout."""

    def at(self, layout: Layout, /) -> EngineWeights:
        """The model with its weights in a layout."""
        ...


class EngineRules(NamedTuple):
    """The memory rules of an engine: what it makes of a model, and what it holds of that on which device, as lines."""

    model: Callable[[ModelSpec], EngineModel]
    place: Callable[[Any, Workload, Machine | None], Placement]


def total(lines: Iterable[Line]) -> int:
    """Bytes of all lines."""
    return sum([line.bytes for line in lines])


def is_cpu(machine: Machine | None) -> bool:
    """Whether the model runs on a CPU: a machine without an accelerator. A bare size of memory is taken for a card's."""
    return (
        machine is not None
        and (machine.device is None or machine.device.device_class == "cpu")
        and machine.origin != "memory"
    )


def is_one_memory(machine: Machine | None) -> bool:
    """Whether host and device have one memory."""
    return is_cpu(machine) or (machine is not None and machine.device is not None and machine.device.unified_memory)


def cache_dtype(spec: ModelSpec, layout: Layout) -> str:
    """The type of activations and cache: the layout's compute type, or the 16-bit type the config names."""
    if layout.compute_dtype != "auto":
        return layout.compute_dtype
    return layout.rest_dtype_for(spec.config_dtype)


def encoder_tokens_for(spec: ModelSpec, workload: Workload) -> int:
    """Tokens the decoder's cross-attention keeps: what the model fixes (Whisper 1500), else what was asked or the context.

    Where the decoder attends to an image tower (Llama 3.2 Vision), they are the tower's tokens of all images.
    """
    if spec.cached_stack is None:
        return 0
    encoder = encoder_of(spec)
    if encoder is None:
        vision = spec.stack("vision")
        attends = any(isinstance(block.mixer, CrossAttention) for block in spec.cached_stack.blocks)
        return images_per_sequence(spec, workload) * (vision.fixed_tokens or 0) if attends and vision is not None else 0
    if encoder.fixed_tokens is not None:
        return encoder.fixed_tokens
    return workload.encoder_tokens if workload.encoder_tokens is not None else workload.context_tokens
