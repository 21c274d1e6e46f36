"""llama.cpp (b11549): everything is allocated at the start, for the context that was asked for.

Weights as the GGUF file has them, keys and values in whole cells of 256 tokens, one compute buffer for the worst
micro-batch. On an accelerator the token embedding stays in the host's memory; on a CPU some types are held twice, the
second time repacked.

Options (`--engine-option`): `cache_type_k`, `cache_type_v`, `ubatch`, `swa_full`, `kv_unified`, `gpu_layers` (a number,
all, auto), `n_cpu_moe` (a number, all, auto), `flash_attention` (on, off), `outputs` (last, all), `imatrix`, `repack`. Names and defaults are those of
llama-server. `backend` (cuda, vulkan, hip, rocwmma, metal, sycl, cpu) changes speed alone.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.model.gguf_lineages import lineage_of
from fmkit.model.gguf_mix import STORED, GgufMix
from fmkit.sizing.engines.llama_cpp_cache import SOURCE, Layers, LlamaCppCache, device_layers, micro_batch
from fmkit.sizing.engines.llama_cpp_compute import PIPELINE_COPIES, ComputeBuffer, mask_rows
from fmkit.sizing.engines.llama_cpp_options import AUTO, Settings, settings_from
from fmkit.sizing.engines.llama_cpp_weights import HostWeights, brought_in_lines, repacked_lines, weight_lines
from fmkit.sizing.engines.plan import Plan, is_cpu, is_one_memory, total
from fmkit.sizing.estimate import EXPERTS_WITH_HOST, MemoryLine

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.gguf_lineages import Lineage
    from fmkit.model.gguf_mix import MixedTensor
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engines.llama_cpp_cache import Kept
    from fmkit.sizing.estimate import Workload


class LlamaCppModel:
    """A model as llama.cpp runs it, whatever its file type."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.gguf = GgufMix(spec)

    def at(self, layout: Layout) -> LlamaCppWeights:
        """The model with its weights in a file type."""
        return LlamaCppWeights(self, layout)

    @property
    def layers(self) -> int:
        """Layers that may lie on a device or with the host."""
        return (self.spec.cached_stack or self.spec.stacks[0]).layers

    @cached_property
    def lineage(self) -> Lineage:
        """How llama.cpp reads the model; ArchitectureUnknownError where that is not known."""
        return lineage_of(self.spec)

    @cached_property
    def cache(self) -> LlamaCppCache:
        """What its layers keep."""
        return LlamaCppCache(self.spec)

    @cached_property
    def compute_on_cpu(self) -> ComputeBuffer:
        """Its compute buffer on a CPU."""
        return ComputeBuffer(self.spec, self.cache, on_cpu=True)

    @cached_property
    def compute(self) -> ComputeBuffer:
        """Its compute buffer on an accelerator."""
        return ComputeBuffer(self.spec, self.cache, on_cpu=False)


class LlamaCppWeights:
    """A model at one file type in llama.cpp, sized at any workload and on any machine."""

    def __init__(self, model: LlamaCppModel, layout: Layout) -> None:
        self.model = model
        self.spec = model.spec
        self.layout = layout
        self._tensors: dict[bool, tuple[MixedTensor, ...]] = {}
        self._lines: dict[tuple[bool, Layers, int, bool], tuple[tuple[MemoryLine, ...], HostWeights]] = {}

    @property
    def beside(self) -> tuple[object, ...]:
        """What the bytes beside the weights depend on: nothing of the layout, all tensors are computed with as they are."""
        return ()

    def tensors(self, *, imatrix: bool) -> tuple[MixedTensor, ...]:
        """The tensors of the file."""
        found = self._tensors.get(imatrix)
        if found is None:
            found = self._tensors[imatrix] = self.model.gguf.of(self.layout.file_type or "", imatrix=imatrix)
        return found

    def plan(
        self, workload: Workload, machine: Machine | None, layers: Layers | None = None, devices: int | None = None
    ) -> Plan:
        """What llama.cpp allocates for the model: nothing grows afterwards, so that prefill needs no more than decoding.

        `layers` are those of one of `devices` devices; what comes before them, and the embedding, is the host's. None: all
        that `gpu_layers` asks for, on one device.
        """
        model, layout = self.model, self.layout
        if layout.file_type is None:
            raise UsageError(f"{layout.name} is no layout of llama.cpp", where="--precision")
        settings = settings_from(workload.options)
        on_cpu = is_cpu(machine)
        shared = is_one_memory(machine)
        if layers is None:
            asked = None if shared or settings.gpu_layers == AUTO else settings.gpu_layers
            layers = device_layers(model.layers, asked)[0]
        weights, host_weights = self._weight_lines(settings, layers, shared=shared)
        repacked = repacked_lines(self.tensors(imatrix=settings.imatrix)) if on_cpu and settings.repack else ()
        kept = model.cache.kept(workload, settings)
        cache, host_cache = model.cache.lines(kept, settings, layers)
        if devices is None:
            devices = machine.count if machine is not None else 1
        compute = model.compute_on_cpu if on_cpu else model.compute
        decode = compute.lines(kept, workload, settings, devices=devices)
        if (layers.first or settings.n_cpu_moe) and not shared:
            tensors = self.tensors(imatrix=settings.imatrix)
            decode = (*decode, *brought_in_lines(tensors, layers, settings.n_cpu_moe))
        host = () if shared else self._host_lines(kept, workload, settings, host_weights, host_cache, devices=devices)
        return Plan(
            cache_dtype=_cache_type(settings),
            encoder_tokens=0,
            weights=(*weights, *repacked),
            cache=cache,
            decode=decode,
            prefill=(),
            warnings=_warnings(self.spec, workload, causal=model.lineage.causal),
            host=host,
            droppable_bytes=total(repacked),
        )

    def _weight_lines(
        self, settings: Settings, layers: Layers, *, shared: bool
    ) -> tuple[tuple[MemoryLine, ...], HostWeights]:
        """The lines of the weights on those layers' device, and the bytes that stay with the host."""
        key = settings.imatrix, layers, settings.n_cpu_moe, shared
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = weight_lines(
                self.tensors(imatrix=settings.imatrix),
                layers,
                cpu_experts=settings.n_cpu_moe,
                shared=shared,
                from_file=self.layout.file_type == STORED,
                causal=self.model.lineage.causal,
            )
        return found

    def _host_lines(
        self,
        kept: list[Kept],
        workload: Workload,
        settings: Settings,
        weights: HostWeights,
        cache: int,
        *,
        devices: int,
    ) -> tuple[MemoryLine, ...]:
        """What stays in main memory: weights and cache that are not on a device, the inputs of each step, the logits.

        Inputs = 4 bytes * micro-batch * (width + cells of each mask), a mask for each copy of the pipeline. Llama-3-8B at
        8192 tokens without flash attention: 512 * 4 * (4096 + 8192) = 24 MiB (logged: 24.01).
        """
        ubatch = micro_batch(workload, settings, causal=self.model.lineage.causal)
        width = (self.spec.cached_stack or self.spec.stacks[0]).hidden_dim
        vocab = self.spec.vocab_size or 0
        rows = mask_rows(kept)
        copies = PIPELINE_COPIES if devices > 1 else 1
        inputs = 4 * ubatch * (width + copies * rows)
        outputs = workload.sequences * vocab * 4
        found = (
            ("weights: left with the host", weights.layers, "the token embedding, which is looked up there, and layers that are not on a device",
             "llama.cpp src/llama-model.cpp: the input layer is always on the CPU", f"{weights.layers:,} B of the file"),
            (EXPERTS_WITH_HOST, weights.experts, "experts of the first layers, as n_cpu_moe asks; all else of these layers is on the device",
             "llama.cpp common/arg.cpp: --n-cpu-moe overrides the place of tensors named ffn_*_exps", f"{weights.experts:,} B of the file"),
            ("cache: left with the host", cache, "the cache of layers that are not on a device lies with their weights", SOURCE, f"{cache:,} B"),
            ("activations: inputs", inputs, "embeddings and masks of a micro-batch, written by the host",
             "host compute buffers of published logs: 9.01, 15.01, 24.01 and 72.02 MiB",
             f"4 B x {ubatch} x ({width:,} + {copies} x {rows:,}) = {inputs:,} B"),
            ("activations: outputs", outputs, "logits of one token per sequence, in float32", SOURCE,
             f"{workload.sequences} x {vocab:,} x 4 B = {outputs:,} B"),
        )  # fmt: skip
        return tuple(
            [
                MemoryLine(
                    part=part,
                    bytes=size,
                    phase="steady",
                    basis="formula",
                    reason=reason,
                    source=source,
                    formula=formula,
                )
                for part, size, reason, source, formula in found
                if size
            ]
        )


def _cache_type(settings: Settings) -> str:
    """The type of the cache as it is shown, of keys and values where they differ."""
    keys, values = settings.key_type.name.lower(), settings.value_type.name.lower()
    if keys != values:
        return f"{keys}/{values}"
    return "float16" if keys == "f16" else keys


def _warnings(spec: ModelSpec, workload: Workload, *, causal: bool) -> tuple[str, ...]:
    if not causal:
        return (
            "the pooler or classifier that a converted encoder may have is not counted; an input longer than ubatch needs --ubatch",
        )
    if not workload.images and any(stack.role == "vision" for stack in spec.stacks):
        return ("images need an mmproj file beside the model's, which is not counted here: --images 1 does",)
    return ()
