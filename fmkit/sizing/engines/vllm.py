"""vLLM 0.20: a pool of cache blocks fills its share of the card, beside weights, one profiled batch and CUDA graphs.

At start vLLM loads the weights, runs one batch of `max_num_batched_tokens` tokens and samples for `max_num_seqs`
sequences to see what activations take, and gives what is left of `gpu_memory_utilization` to the cache. Need is what it
can't start without: weights, that profile, graphs, what lies outside of PyTorch, and the blocks of the sequences asked
for.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.engines.plan import Plan, cache_dtype, encoder_tokens_for, is_cpu
from fmkit.sizing.engines.vllm_cache import cache_lines, groups_of
from fmkit.sizing.engines.vllm_options import settings_from
from fmkit.sizing.engines.vllm_profile import profile_line, worst_profile
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.weights import rotary_frequencies, weight_lines
from fmkit.units import GIB, ceil_div, format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engines.vllm_options import Settings
    from fmkit.sizing.estimate import Workload


GRAPH_BYTES = 386_547_057
"""0.36 GiB: the median of the CUDA graph pools that logs name (0.10, 0.19, 0.36, 0.39, 0.69 GiB)."""

EXPERT_PAD = 256
"""In MXFP4 the inner width of an expert is rounded up to a multiple of this (gpt-oss: 2880 becomes 3072)."""

NOT_RUN = (
    "biogpt", "deberta", "deberta-v2", "instructblip", "mllama", "mpnet", "multi_modality", "rwkv", "rwkv5", "rwkv7", "wav2vec2",
)  # fmt: skip
"""Model types that vLLM 0.20 does not run: neither in its registry (vllm/model_executor/models/registry.py) nor, by what
transformers says of attention and processor, through transformers' own classes."""


class VllmModel:
    """A model as vLLM runs it, whatever its layout."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def at(self, layout: Layout) -> VllmWeights:
        """The model with its weights in a layout."""
        return VllmWeights(self.spec, layout)


class VllmWeights:
    """A model at one layout in vLLM, sized at any workload and on any machine."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self.spec = spec
        self.layout = layout
        self.dtype = cache_dtype(spec, layout)

    @property
    def beside(self) -> tuple[object, ...]:
        """What the bytes beside the weights depend on; equal for layouts that differ in their weights only."""
        return (self.dtype,)

    @cached_property
    def weights(self) -> tuple[MemoryLine, ...]:
        """The lines of the weights and the rotary table."""
        loaded = weight_lines(as_loaded(self.spec, self.layout), self.layout)
        return (*loaded, *rotary_lines(self.spec, DTYPE_BYTES[self.dtype]))

    @cached_property
    def _layout_warnings(self) -> tuple[str, ...]:
        spec, layout = self.spec, self.layout
        in_files = any(group.from_header for group in spec.tensors)
        if layout.weight_bits is None or in_files or any(layout.touches(group) for group in spec.tensors):
            return ()
        return (f"{layout.name} touches no tensor of this model: it stays as large as in 16 bit",)

    def plan(self, workload: Workload, machine: Machine | None) -> Plan:
        """What vLLM needs for a model: weights and rotary table, the cache blocks of all sequences, graphs, and the profiled batch."""
        settings = settings_from(workload.options, self.dtype, machine)
        encoder_tokens = encoder_tokens_for(self.spec, workload)
        groups = groups_of(self.spec, settings, workload.context_tokens, encoder_tokens)
        profile = worst_profile(self.spec, settings, workload)
        return Plan(
            cache_dtype=self.dtype if settings.cache_type == "auto" else settings.cache_type,
            encoder_tokens=encoder_tokens,
            weights=self.weights,
            cache=tuple(cache_lines(groups, workload.sequences)),
            decode=_graph_lines(settings, machine),
            prefill=(profile_line(profile),) if profile.bytes else (),
            budget_fraction=settings.utilisation,
            budget_option="gpu_memory_utilization",
            warnings=(*_warnings(machine), *self._layout_warnings),
        )


def why_not_run(spec: ModelSpec) -> str | None:
    """Why vLLM does not load a model, whatever room there is: decoders that attend to an encoder of text went with its first engine."""
    of_text = spec.cached_stack is not None and spec.stack("encoder") is not None
    if spec.model_type not in NOT_RUN and not of_text:
        return None
    kind = f"{spec.model_type} models with an encoder of text" if of_text else f"{spec.model_type} models"
    return f"vLLM has no implementation of {kind}; the figures are arithmetic only"


def as_loaded(spec: ModelSpec, layout: Layout) -> ModelSpec:
    """The model as vLLM's kernels want it: MXFP4 experts padded to a multiple of 256 wide.

    gpt-oss-20b takes 13.47 GiB so (start-up log of 0.11.0), where its file has 12.82.
    """
    widths = {
        block.mlp.ffn_dim
        for stack in spec.stacks
        for block in stack.blocks
        if block.mlp is not None and block.mlp.experts
    }
    if layout.id != "mxfp4" or len(widths) != 1:
        return spec
    (width,) = widths
    padded = ceil_div(width, EXPERT_PAD) * EXPERT_PAD

    def pad(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if name.endswith("gate_up_proj"):
            return tuple(2 * padded if size == 2 * width else size for size in shape)
        return (shape[0], padded, *shape[2:]) if shape[1] == width else (*shape[:2], padded)

    tensors = tuple(
        msgspec.structs.replace(group, shape=pad(group.name, group.shape)) if layout.touches(group) else group
        for group in spec.tensors
    )
    return msgspec.structs.replace(spec, tensors=tensors)


def rotary_lines(spec: ModelSpec, element_bytes: int) -> list[MemoryLine]:
    """The table of cosines and sines that vLLM keeps for every position of the model, one per rotary embedding.

    Bytes = positions * rotary width * element_bytes. Llama-3.1-8B: 131072 * 128 * 2 = 33,554,432, which is what its log
    shows beyond the parameters (14.9889 GiB against 14.9577). With linear scaling the table has factor x the model's
    limit, which has the factor applied already (Gemma 3: 8 x 131072 positions; LinearScalingRotaryEmbedding in vLLM).
    """
    positions = spec.max_context_tokens or 0
    scaled = int(positions * spec.linear_rope_factor)
    tables = [
        (positions if "sliding" in group.name else scaled, 2 * group.elements) for group in rotary_frequencies(spec)
    ]
    size = sum(count * width * element_bytes for count, width in tables)
    if not size:
        return []
    terms = " + ".join(f"{count:,} x {width} x {element_bytes} B" for count, width in tables)
    return [
        MemoryLine(
            part="weights: rotary table",
            bytes=size,
            phase="steady",
            basis="formula",
            reason="cosines and sines of every position the model takes",
            source="vLLM model_executor/layers/rotary_embedding; 14.9889 GiB in the log of Llama-3.1-8B (vllm-project/vllm#17122)",
            formula=f"{terms} = {size:,} B",
        )
    ]


def _graph_lines(settings: Settings, machine: Machine | None) -> tuple[MemoryLine, ...]:
    vendor = machine.device.vendor if machine is not None and machine.device is not None else "nvidia"
    if not settings.graphs or vendor not in ("nvidia", "amd"):
        return ()
    return (
        MemoryLine(
            part="runtime: CUDA graphs",
            bytes=GRAPH_BYTES,
            phase="steady",
            basis="measured",
            reason="pool of the captured decode graphs; --engine-option enforce_eager=true does without",
            source=(
                "start-up logs: 0.10 and 0.39 GiB (0.11.0, llm-d-planner at e50305a), 0.69 (0.16, TP 2), 0.19 and 0.36 (0.2x); others showed "
                "no increase. Part of the budget since 0.21"
            ),
            formula=f"median of five logs = {format_bytes(GRAPH_BYTES)}",
        ),
    )


def _warnings(machine: Machine | None) -> tuple[str, ...]:
    warnings = []
    device = machine.device if machine is not None else None
    if is_cpu(machine):
        warnings.append("vLLM is sized as on a GPU; its CPU backend takes its cache from VLLM_CPU_KVCACHE_SPACE")
    if device is not None and device.vendor == "apple":
        warnings.append("vLLM does not use Apple GPUs: the figures are those of another GPU")
    return tuple(warnings)


def rank_runtime_bytes(degree: int) -> tuple[int, int, int]:
    """Bytes outside of PyTorch on one of `degree` devices that work together: as expected, at least, at most.

    Start-up logs: 0.03-0.35 GiB alone (0.13-0.14 on an H100), 0.54-0.55 at two, 0.2 to 2.1 at eight.

    >>> [format_bytes(size) for size in rank_runtime_bytes(2)]
    ['559.1 MiB', '204.8 MiB', '2.10 GiB']
    """
    if degree == 1:
        return round(0.14 * GIB), round(0.03 * GIB), round(0.55 * GIB)
    return round((0.546 if degree == 2 else 1.0) * GIB), round(0.2 * GIB), round(2.1 * GIB)


def rank_runtime_line(degree: int) -> MemoryLine:
    """What one of `degree` devices that work together needs outside of PyTorch: CUDA context and communication buffers."""
    expected, least, most = rank_runtime_bytes(degree)
    return MemoryLine(
        part="runtime",
        bytes=expected,
        phase="steady",
        basis="measured",
        reason="CUDA context and communication buffers of one rank",
        source="vLLM start-up logs: 0.54-0.55 GiB outside of PyTorch at two devices, 0.2 to 2.1 at eight",
        formula=f"between {format_bytes(least)} and {format_bytes(most)}",
    )
