"""Where llama.cpp puts the tensors of a file: on the device, with the host, and a second time where it repacks them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from fmkit.sizing.engines.llama_cpp_cache import SOURCE, Layers
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.weights import PART_NAMES, whole_line
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.model.gguf_mix import MixedTensor
    from fmkit.model.spec import Part

REPACKED_TYPES = frozenset(("Q4_0", "Q4_K", "IQ4_NL"))
"""Types whose matrices are held a second time, repacked for AVX2, on an x86 CPU. Source: buffers logged by llama.cpp
b11549 on an AVX2 machine for 11 file types; other processors repack others."""


EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
"""Tensors of routed experts, biases among them, by name. Source: llama.cpp common/common.h, the pattern of --n-cpu-moe; shared experts are none."""


class HostWeights(NamedTuple):
    """Bytes of weights in main memory: of the embedding and whole layers, and of experts alone, whose layers are on a device."""

    layers: int
    experts: int


def weight_lines(
    tensors: tuple[MixedTensor, ...],
    layers: Layers,
    *,
    cpu_experts: int,
    shared: bool,
    from_file: bool,
    causal: bool,
) -> tuple[tuple[MemoryLine, ...], HostWeights]:
    """A line per part of the model for what lies on the device, and the bytes that stay with the host.

    The experts of the first `cpu_experts` layers stay there too. `shared` is where host and device have one memory: then nothing is left
    out. `causal`: an encoder has no output matrix.
    """
    by_part: dict[Part, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    host_bytes = expert_bytes = 0
    for entry in tensors:
        each = entry.bytes // entry.tensor.count
        if not shared:
            expert_bytes += each * _experts_kept(entry, layers.first, cpu_experts)
        host_bytes += each * _count_on_host(entry, layers)
        counted = entry.bytes if shared else each * _count_on_device(entry, layers, cpu_experts)
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
    return lines, HostWeights(host_bytes, expert_bytes)


def _count_on_host(entry: MixedTensor, layers: Layers) -> int:
    """How many of the tensors come before the layers of the device: the embedding, and layers that were not off-loaded."""
    tensor = entry.tensor
    if tensor.is_input:
        return 1
    if not tensor.layers:
        return int(not layers.has_output and layers.first == layers.total)
    return layers.count_before(tensor.layers)


def _count_on_device(entry: MixedTensor, layers: Layers, cpu_experts: int) -> int:
    tensor = entry.tensor
    if tensor.is_input:
        return 0
    if not tensor.layers:
        return int(layers.has_output)
    return layers.count_of(tensor.layers) - _experts_kept(entry, layers.first, min(cpu_experts, layers.end))


def _experts_kept(entry: MixedTensor, first: int, end: int) -> int:
    """How many of the tensors are experts of the layers `first` up to, but without, `end`, which `n_cpu_moe` keeps with the host."""
    if not EXPERTS.search(entry.tensor.name):
        return 0
    return max(0, bisect_left(entry.tensor.layers, end) - bisect_left(entry.tensor.layers, first))


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


def brought_in_lines(tensors: tuple[MixedTensor, ...], layers: Layers, cpu_experts: int) -> list[MemoryLine]:
    """Prompts are computed on the device also for layers and experts of the host, whose matrices are copied over one at a time."""
    largest = max(
        (
            entry.bytes // entry.tensor.count
            for entry in tensors
            if not entry.tensor.is_input
            and len(entry.tensor.dims) > 1
            and (_count_on_host(entry, layers) or _experts_kept(entry, layers.first, min(cpu_experts, layers.end)))
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


def repacked_lines(tensors: tuple[MixedTensor, ...]) -> tuple[MemoryLine, ...]:
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
