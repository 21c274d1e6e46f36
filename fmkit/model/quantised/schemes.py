"""The formats weights are stored in, as layouts: what one matrix takes in each."""

from __future__ import annotations

from math import gcd

from fmkit.model.matrices import ScaleLevel
from fmkit.model.precision import Layout

TEXT_PARTS = ("attention", "mlp", "experts", "state")
"""The blocks of a language model: all that a quantiser of text models sees."""

ALL_PARTS = (*TEXT_PARTS, "vision", "audio", "qformer", "projector", "head")
"""Every part with linear layers but routers, which none quantises."""

_MODULES = ("linear", "conv1d", "parameter")


def scheme(
    layout_id: str,
    name: str,
    bits: int,
    *scales: ScaleLevel,
    matrix_bytes: int = 0,
    word_bytes: int = 0,
    modules: tuple[str, ...] = _MODULES,
    parts: tuple[str, ...] = ALL_PARTS,
    keeps_float32: bool = True,
) -> Layout:
    """A layout for the weights of a repository; `read` says which method it belongs to and what is left alone."""
    return Layout(
        id=layout_id,
        name=name,
        weight_bits=bits,
        rest_dtype="auto",
        source="quantization_config of the repository",
        modules=modules,
        parts=parts,
        keeps_float32=keeps_float32,
        word_bytes=word_bytes,
        scales=scales,
        matrix_bytes=matrix_bytes,
    )


def per_row(count: int) -> ScaleLevel:
    """`count` bytes for each output row."""
    return ScaleLevel(outputs=1, bytes=count)


def per_group(group: int, count: int) -> ScaleLevel:
    """`count` bytes for each group of inputs of each row; one group a row where `group` is -1 or 0."""
    return ScaleLevel(inputs=max(0, group), outputs=1, bytes=count)


def packed_zeros(group: int, bits: int) -> ScaleLevel:
    """Zero points of `bits` bits, one for each group and row, packed over the rows into words of 32 bits.

    >>> packed_zeros(128, 4).matrix_bytes(4096, 4096), packed_zeros(128, 3).matrix_bytes(4096, 4096)
    (65536, 49152)
    """
    words = bits // gcd(bits, 32)
    return ScaleLevel(inputs=max(0, group), outputs=32 * words // bits, bytes=4 * words)


def group_name(group: int) -> str:
    """How a group size is written in a layout's id."""
    return f"g{group}" if group > 0 else "row"


def gptq(bits: int, group: int, *, order: bool = True) -> Layout:
    """GPTQ: qweight and qzeros in int32, scales in float16, and `order` for g_idx, an int32 for each input."""
    index = (ScaleLevel(inputs=1, bytes=4),) if order else ()
    return scheme(
        f"gptq-int{bits}-{group_name(group)}",
        f"GPTQ {bits} bit, {_groups(group)}",
        bits,
        per_group(group, 2),
        packed_zeros(group, bits),
        *index,
        word_bytes=4,
        parts=TEXT_PARTS,
    )


def awq(bits: int, group: int) -> Layout:
    """AWQ: qweight and qzeros in int32, scales in float16."""
    return scheme(
        f"awq-{group_name(group)}",
        f"AWQ {bits} bit, {_groups(group)}",
        bits,
        per_group(group, 2),
        packed_zeros(group, bits),
    )


def fp8_tensor(inputs: int) -> Layout:
    """One float32 scale for a matrix, and `inputs` more where the scale of its input is fixed."""
    return scheme("fp8-tensor", "FP8, one scale per tensor", 8, matrix_bytes=4 + 4 * inputs)


def fp8_block(outputs: int, inputs: int, scale_bytes: int = 4) -> Layout:
    """One scale for each block of a matrix."""
    layout_id = "fp8-block" if (outputs, inputs) == (128, 128) else f"fp8-block-{outputs}x{inputs}"
    return scheme(
        layout_id,
        f"FP8 in blocks of {outputs} x {inputs}",
        8,
        ScaleLevel(inputs=inputs, outputs=outputs, bytes=scale_bytes),
    )


def nvfp4(*, inputs: bool = True) -> Layout:
    """Pairs of weights a byte, an FP8 scale for 16 of them, a float32 for the matrix and, with `inputs`, one for its input."""
    name = "NVFP4" if inputs else "NVFP4, weights only"
    return scheme("nvfp4" if inputs else "nvfp4-a16", name, 4, per_group(16, 1), matrix_bytes=8 if inputs else 4)


def mx(bits: int, group: int = 32) -> Layout:
    """Microscaling floats: a byte of scale for each group of inputs."""
    return scheme(f"mxfp{bits}", f"MXFP{bits}", bits, per_group(group, 1))


def _groups(group: int) -> str:
    return f"groups of {group}" if group > 0 else "one scale per row"
