"""What a process on a CPU holds because weights were quantised there: the library, free heap, weights packed anew.

Quantising a matrix makes copies of it in 16 and 32 bit. glibc takes copies of up to 32 MiB from the heap, the packed
matrix ends up among them, and what is free around it stays with the process. The pass uses it again for its own small
tensors. How much it is varies from run to run: mostly 0.3 to 1.6 times these figures, in some runs next to nothing.

Source: mallinfo2 after loading, glibc 2.36, bitsandbytes 0.50.2, torchao 0.18.0, optimum-quanto 0.2.7: 22 loads of 9
models, and `from_pretrained` of GPT-2 and of 6 layers of Qwen2.5-0.5B, which left 209 and 268 MiB with LLM.int8, where
loads of trials left 199 and 297.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from fmkit.sizing.estimate import MemoryLine
from fmkit.units import MIB

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.forward import Pass

HEAP_COPY_BYTES = 32 * MIB
"""The largest block that glibc takes from the heap on 64 bit (mallopt(3), M_MMAP_THRESHOLD)."""

BLOCK_ELEMENTS = 64
"""Weights of a 4-bit matrix that share a scale."""

TABLE_BYTES = 16 * 4 + 4
"""What a matrix packed anew keeps beside weights and scales: the 16 values in float32, and the offset of the scales."""

FOUR_BIT = ("bnb-nf4-dq", "bnb-nf4", "bnb-fp4")

LEFT = {
    "bnb-llm-int8": (2.3, 1.0),
    **dict.fromkeys(FOUR_BIT, (0.8, 0.7)),
    "torchao-int8": (3.5, 0.5),
    "quanto-int8": (4.3, 4.3),
}
"""Bytes of heap left per quantised weight, by layout: of a matrix whose copies in 16 and 32 bit come from the heap, and of one whose
copy in 16 bit alone does."""

LEFT_FOUR_BIT_FLOAT16 = (2.0, 0.7)
"""The same of bitsandbytes' 4 bit where the model computes in float16 or float32: packing anew for the CPU makes more copies."""

LIBRARY_BYTES = {"bnb": 38 * MIB, "quanto": 5 * MIB}
"""What a process holds more with the quantiser's library imported, by the first word of the layout; torchao comes with transformers."""

PRODUCT_BYTES = 16
"""LLM.int8 on a CPU: bytes per element of a product, its int32 and three float32 tensors of scaling (bitsandbytes 0.50 int8_mm_dequant)."""

SOURCE = "mallinfo2 and resident memory after 22 loads of 9 models, glibc 2.36 (2026-11-28); from next to nothing to 1.6 times of it"


def left_bytes(spec: ModelSpec, layout: Layout, dtype: str) -> int:
    """Bytes of heap that quantising the model's matrices on a CPU leaves free.

    Bytes = sum over quantised matrices of their elements x a share by layout and size; a matrix of more than 16 Mi elements
    leaves nothing, for its copies are mapped and given back.
    """
    shares = LEFT.get(layout.id)
    if shares is None:
        return 0
    if layout.id in FOUR_BIT and dtype != "bfloat16":
        shares = LEFT_FOUR_BIT_FLOAT16
    return round(sum(_share(prod(group.shape), shares) * layout.touched_elements(group) for group in spec.tensors))


def _share(elements: int, shares: tuple[float, float]) -> float:
    """Bytes left per element of a matrix of so many.

    >>> _share(768 * 3072, (2.7, 1.0)), _share(2048 * 5632, (2.7, 1.0)), _share(4096 * 14336, (2.7, 1.0))
    (2.7, 1.0, 0.0)
    """
    small, large = shares
    if 4 * elements <= HEAP_COPY_BYTES:
        return small
    return large if 2 * elements <= HEAP_COPY_BYTES else 0.0


def repacked_bytes(spec: ModelSpec, layout: Layout) -> int:
    """Bytes that 4-bit weights take more once bitsandbytes has packed them for a CPU that multiplies in bfloat16.

    Bytes = per matrix elements / 2 + 2 * elements / 64 for a scale in 16 bit + its table, less what the layout takes; 0
    where that is more. Source: bitsandbytes 0.50 `_convert_weight_packed_for_cpu`; GPT-2 takes 1,257,216 B more than with scales in 8 bit.
    """
    if layout.id not in FOUR_BIT:
        return 0
    grown = 0
    for group in spec.tensors:
        elements = layout.touched_elements(group)
        if elements:
            grown += elements // 2 + 2 * (elements // BLOCK_ELEMENTS) - layout.quantised_bytes(group) * group.count
            grown += TABLE_BYTES * group.count
    return max(0, grown)


class QuantisedOnCpu:
    """What a model at a layout holds on a CPU because it was quantised there, worked out once; nothing for other layouts."""

    def __init__(self, spec: ModelSpec, layout: Layout, dtype: str) -> None:
        self._spec = spec
        self._layout = layout
        self._library = layout.id.partition("-")[0]
        library_bytes = LIBRARY_BYTES.get(self._library, 0)
        self.sizes = (library_bytes, left_bytes(spec, layout, dtype), repacked_bytes(spec, layout))

    def steady_lines(self, machine: Machine | None) -> tuple[MemoryLine, ...]:
        """The quantiser's library, and the scales that come with the first pass."""
        library_bytes, _, repacked = self.sizes
        lines = []
        if repacked and machine is not None and "bfloat16" in machine.cpu_formats:
            lines.append(_repacked_line(repacked))
        if library_bytes:
            lines.append(
                MemoryLine(
                    part="runtime: quantiser",
                    bytes=library_bytes,
                    phase="steady",
                    basis="measured",
                    reason=f"the library that quantises ({self._library}), imported",
                    source="resident memory before loading, with and without it (benchmarks/trials.py)",
                    formula=f"{library_bytes:,} B",
                )
            )
        return tuple(lines)

    def peak_lines(self, run: Pass, reused_bytes: int) -> tuple[MemoryLine, ...]:
        """Products in 8 bit, and what loading left free on the heap beyond what the pass takes from it.

        `reused_bytes` are cache and activations at the peak.
        """
        _, left, _ = self.sizes
        products = _product_line(self._spec, self._layout, run)
        beyond = left - reused_bytes - sum(line.bytes for line in products)
        if beyond <= 0:
            return products
        return (
            *products,
            MemoryLine(
                part="runtime: heap left by quantising",
                bytes=beyond,
                phase="load",
                basis="measured",
                reason="copies of small matrices made while they were quantised: free, kept by the process, used again by what is computed",
                source=SOURCE,
                formula=f"{left:,} B left - {left - beyond:,} B that the pass uses again",
            ),
        )


def _repacked_line(size: int) -> MemoryLine:
    return MemoryLine(
        part="activations: scales packed anew",
        bytes=size,
        phase="steady",
        basis="formula",
        reason="bitsandbytes packs 4-bit weights anew at the first pass on a CPU with bfloat16, with scales in 16 bit",
        source="bitsandbytes 0.50 _convert_weight_packed_for_cpu",
        formula=f"elements / 2 + 2 x elements / {BLOCK_ELEMENTS} - the weights above = {size:,} B",
    )


def _product_line(spec: ModelSpec, layout: Layout, run: Pass) -> tuple[MemoryLine, ...]:
    """Inside LLM.int8's operation, where no allocation is seen."""
    stack = spec.cached_stack or spec.stacks[0]
    widest = max(
        (block.mlp.ffn_dim for block in stack.blocks if block.mlp is not None and not block.mlp.experts), default=0
    )
    if layout.id != "bnb-llm-int8" or not widest:
        return ()
    rows = run.sequences * run.workload.context_tokens
    return (
        MemoryLine(
            part="runtime: products in 8 bit",
            bytes=rows * widest * PRODUCT_BYTES,
            phase="prefill",
            basis="formula",
            reason="the int32 result of the widest product and its scaling in float32, inside the operation",
            source="bitsandbytes 0.50 int8_mm_dequant, as it runs on a CPU",
            formula=f"{rows:,} tokens x {widest:,} x {PRODUCT_BYTES} B",
        ),
    )
