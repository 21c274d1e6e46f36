"""llama.cpp (b11549): everything is allocated at the start, for the context that was asked for.

Weights as the GGUF file has them, keys and values in whole cells of 256 tokens, one compute buffer for the worst
micro-batch. On an accelerator the token embedding stays in the host's memory; on a CPU some types are held twice, the
second time repacked.

Options (`--engine-option`): `cache_type_k`, `cache_type_v`, `ubatch`, `swa_full`, `kv_unified`, `gpu_layers` (a number,
all, auto), `flash_attention` (on, off), `outputs` (last, all), `imatrix`, `repack`. Names and defaults are those of
llama-server.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.model.gguf_mix import STORED, mixed
from fmkit.model.gguf_tensors import lineage_of
from fmkit.sizing.engines.llama_cpp_cache import SOURCE, Layers, cache_lines, device_layers, micro_batch
from fmkit.sizing.engines.llama_cpp_compute import PIPELINE_COPIES, compute_lines, mask_cells
from fmkit.sizing.engines.llama_cpp_options import AUTO, Settings, settings_from
from fmkit.sizing.engines.plan import Plan, is_cpu, is_one_memory
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.weights import PART_NAMES, whole_line
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Machine
    from fmkit.model.gguf_mix import MixedTensor
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, Part
    from fmkit.sizing.estimate import Workload

REPACKED_TYPES = frozenset(("Q4_0", "Q4_K", "IQ4_NL"))
"""Types whose matrices are held a second time, repacked for AVX2, on an x86 CPU. Source: buffers logged by llama.cpp
b11549 on an AVX2 machine for 11 file types; other processors repack others."""


def plan(
    spec: ModelSpec,
    layout: Layout,
    workload: Workload,
    machine: Machine | None,
    layers: Layers | None = None,
    devices: int | None = None,
) -> Plan:
    """What llama.cpp allocates for the model: nothing grows afterwards, so that prefill needs no more than decoding.

    `layers` are those of one of `devices` devices; what comes before them, and the embedding, is the host's. None: all
    that `gpu_layers` asks for, on one device.
    """
    if layout.file_type is None:
        raise UsageError(f"{layout.name} is no layout of llama.cpp", where="--precision")
    settings = settings_from(workload.options)
    on_cpu = is_cpu(machine)
    shared = is_one_memory(machine)
    stack = spec.cached_stack or spec.stacks[0]
    if layers is None:
        asked = None if shared or settings.gpu_layers == AUTO else settings.gpu_layers
        layers = device_layers(stack.layers, asked)[0]
    tensors = mixed(spec, layout.file_type, imatrix=settings.imatrix)
    weights, host_weights = _weight_lines(
        tensors, layers, shared=shared, from_file=layout.file_type == STORED, causal=lineage_of(spec).causal
    )
    if on_cpu and settings.repack:
        weights = (*weights, *_repacked_lines(tensors))
    cache, host_cache = cache_lines(spec, workload, settings, layers)
    if devices is None:
        devices = machine.count if machine is not None else 1
    decode = compute_lines(spec, workload, settings, on_cpu=on_cpu, devices=devices)
    if layers.first and not shared:
        decode.extend(_brought_in_lines(tensors, layers))
    names = (settings.key_type.name.lower(), settings.value_type.name.lower())
    return Plan(
        cache_dtype="float16" if names == ("f16", "f16") else names[0] if names[0] == names[1] else "/".join(names),
        encoder_tokens=0,
        weights=weights,
        cache=cache,
        decode=tuple(decode),
        prefill=(),
        warnings=_warnings(spec, workload),
        host=() if shared else host_lines(spec, workload, settings, host_weights, host_cache, devices=devices),
    )


def _warnings(spec: ModelSpec, workload: Workload) -> tuple[str, ...]:
    if not lineage_of(spec).causal:
        return (
            "the pooler or classifier that a converted encoder may have is not counted; an input longer than ubatch needs --ubatch",
        )
    if not workload.images and any(stack.role == "vision" for stack in spec.stacks):
        return ("images need an mmproj file beside the model's, which is not counted here: --images 1 does",)
    return ()


def _weight_lines(
    tensors: tuple[MixedTensor, ...], layers: Layers, *, shared: bool, from_file: bool, causal: bool
) -> tuple[tuple[MemoryLine, ...], int]:
    """A line per part of the model for what lies on the device, and the bytes that stay with the host.

    `shared` is where host and device have one memory: then nothing is left out. `causal`: an encoder has no output
    matrix.
    """
    by_part: dict[Part, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    host_bytes = 0
    for entry in tensors:
        each = entry.bytes // entry.tensor.count
        host_bytes += each * _count_on_host(entry, layers)
        counted = entry.bytes if shared else each * _count_on_device(entry, layers)
        if counted:
            by_part[entry.tensor.part][entry.kind.name] += counted
    tied = _tied_embedding(tensors) if causal else None
    if tied is not None and layers.has_output and not shared:
        by_part["head"][tied.kind.name] += tied.bytes
    lines = tuple(
        _part_line(part, by_part[part], tied=tied is not None, from_file=from_file)
        for part in PART_NAMES
        if part in by_part
    )
    return lines, host_bytes


def _count_on_host(entry: MixedTensor, layers: Layers) -> int:
    """How many of the tensors come before the layers of the device: the embedding, and layers that were not off-loaded."""
    tensor = entry.tensor
    if tensor.is_input:
        return 1
    if not tensor.layers:
        return int(not layers.has_output and layers.first == layers.total)
    return sum(layer < layers.first for layer in tensor.layers)


def _count_on_device(entry: MixedTensor, layers: Layers) -> int:
    tensor = entry.tensor
    if tensor.is_input:
        return 0
    if not tensor.layers:
        return int(layers.has_output)
    return sum(layers.holds(layer) for layer in tensor.layers)


def _tied_embedding(tensors: tuple[MixedTensor, ...]) -> MixedTensor | None:
    """The token embedding where it is the output matrix too: the device gets a copy of it."""
    if any(entry.tensor.name == "output.weight" for entry in tensors):
        return None
    return next((entry for entry in tensors if entry.tensor.name == "token_embd.weight"), None)


def _part_line(part: Part, by_type: Mapping[str, int], *, tied: bool, from_file: bool) -> MemoryLine:
    total = sum(by_type.values())
    if part == "whole":
        return whole_line(total)
    share = ", ".join(
        f"{name} {format_bytes(count)}" for name, count in sorted(by_type.items(), key=lambda item: -item[1])
    )
    copied = "; a copy of the embedding, which is the output matrix too" if part == "head" and tied else ""
    return MemoryLine(
        part=f"weights: {PART_NAMES[part]}",
        bytes=total,
        phase="steady",
        basis="header" if from_file else "formula",
        reason=f"{share}{copied}",
        source=(
            "tensors listed in the file's header"
            if from_file
            else "tensors as llama.cpp converts and quantises them (llama-quant.cpp); 13 published files equal to the byte"
        ),
        formula=f"sum of rows x row length / block x bytes per block = {total:,} B",
    )


def host_lines(
    spec: ModelSpec, workload: Workload, settings: Settings, weights: int, cache: int, *, devices: int
) -> tuple[MemoryLine, ...]:
    """What stays in main memory: weights and cache that are not on a device, the inputs of each step, the logits.

    Inputs = 4 bytes * micro-batch * (width + cells of each mask), a mask for each copy of the pipeline. Llama-3-8B at
    8192 tokens without flash attention: 512 * 4 * (4096 + 8192) = 24 MiB (logged: 24.01).
    """
    ubatch = micro_batch(workload, settings, causal=lineage_of(spec).causal)
    stack = spec.cached_stack or spec.stacks[0]
    rows = sum(mask_cells(spec, workload, settings).values())
    copies = PIPELINE_COPIES if devices > 1 else 1
    inputs = 4 * ubatch * (stack.hidden_dim + copies * rows)
    outputs = workload.sequences * (spec.vocab_size or 0) * 4
    found = (
        ("weights: left with the host", weights, "the token embedding, which is looked up there, and layers that are not on a device",
         "llama.cpp src/llama-model.cpp: the input layer is always on the CPU", f"{weights:,} B of the file"),
        ("cache: left with the host", cache, "the cache of layers that are not on a device lies with their weights", SOURCE, f"{cache:,} B"),
        ("activations: inputs", inputs, "embeddings and masks of a micro-batch, written by the host",
         "host compute buffers of published logs: 9.01, 15.01, 24.01 and 72.02 MiB",
         f"4 B x {ubatch} x ({stack.hidden_dim:,} + {copies} x {rows:,}) = {inputs:,} B"),
        ("activations: outputs", outputs, "logits of one token per sequence, in float32", SOURCE,
         f"{workload.sequences} x {spec.vocab_size or 0:,} x 4 B = {outputs:,} B"),
    )  # fmt: skip
    return tuple(
        MemoryLine(
            part=part, bytes=size, phase="steady", basis="formula", reason=reason, source=source, formula=formula
        )
        for part, size, reason, source, formula in found
        if size
    )


def _brought_in_lines(tensors: tuple[MixedTensor, ...], layers: Layers) -> list[MemoryLine]:
    """Prompts are computed on the device also for layers of the host, whose matrices are copied over one at a time."""
    largest = max(
        (
            entry.bytes // entry.tensor.count
            for entry in tensors
            if _count_on_host(entry, layers) and not entry.tensor.is_input and len(entry.tensor.dims) > 1
        ),
        default=0,
    )
    if not largest:
        return []
    return [
        MemoryLine(
            part="activations: matrix brought in",
            bytes=largest,
            phase="steady",
            basis="assumed",
            reason="for a prompt the largest matrix of the host's layers is copied into the compute buffer, at worst at its fullest moment",
            source="ggml-backend.cpp: operations on weights of the host are off-loaded for 32 tokens or more, one weight per split",
            formula=f"largest matrix of a layer of the host = {largest:,} B",
        )
    ]


def _repacked_lines(tensors: tuple[MixedTensor, ...]) -> tuple[MemoryLine, ...]:
    """Matrices held a second time on a CPU. Row lookups (the token embedding) are not repacked, nor the output tied to it."""
    total = sum(
        entry.bytes
        for entry in tensors
        if entry.kind.name in REPACKED_TYPES and entry.tensor.name != "token_embd.weight"
    )
    if not total:
        return ()
    return (
        MemoryLine(
            part="weights: repacked copies",
            bytes=total,
            phase="steady",
            basis="formula",
            reason=f"{', '.join(sorted(REPACKED_TYPES))} are held twice on an AVX2 CPU; the pages of the file may be dropped again",
            source=SOURCE,
            formula=f"bytes of the repacked matrices = {total:,} B",
        ),
    )
