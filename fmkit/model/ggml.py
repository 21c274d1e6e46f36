"""ggml's tensor types, and the file types of GGUF files: numbers, names, blocks, bytes.

A row of a tensor (its first, fastest dimension) is cut into blocks of `block_weights` weights, each stored in
`block_bytes` bytes, scales included. Source: ggml.h and ggml-common.h of llama.cpp, as the gguf package 0.19 lists
them.
"""

from __future__ import annotations

from math import prod

import msgspec


class GgmlType(msgspec.Struct, frozen=True):
    """A type of ggml: `number` is what files say, `block_weights` weights take `block_bytes` bytes."""

    number: int
    name: str
    block_weights: int
    block_bytes: int

    @property
    def bits(self) -> float:
        """Bits per weight.

        >>> TYPES["Q4_K"].bits, TYPES["Q6_K"].bits
        (4.5, 6.5625)
        """
        return 8 * self.block_bytes / self.block_weights

    def tensor_bytes(self, dims: tuple[int, ...]) -> int:
        """Bytes of a tensor of these dimensions, the fastest first: rows * row length / block_weights * block_bytes.

        >>> TYPES["Q4_K"].tensor_bytes((4096, 14336))  # one ffn_up of Llama-3.1-8B
        33030144
        """
        return prod(dims) // self.block_weights * self.block_bytes

    def holds(self, row_weights: int) -> bool:
        """Whether a row of that length can be cut into whole blocks."""
        return row_weights % self.block_weights == 0


_TABLE = (
    (0, "F32", 1, 4), (1, "F16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22), (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 40), (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110), (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210), (15, "Q8_K", 256, 292), (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98), (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136), (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4), (27, "I64", 1, 8), (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56), (30, "BF16", 1, 2), (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66), (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36), (41, "Q1_0", 128, 18),
)  # fmt: skip

TYPES = {name: GgmlType(number, name, weights, size) for number, name, weights, size in _TABLE}
"""Types by name. Numbers 4, 5, 31 to 33 and 36 to 38 are retired."""

TYPES_BY_NUMBER = {kind.number: kind for kind in TYPES.values()}

FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13,
    "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22,
    "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31,
    "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38, "NVFP4": 39, "Q1_0": 40,
}  # fmt: skip
"""`general.file_type` by the name people use. Other numbers are other programs' own."""

FILE_TYPE_NAMES = {number: name for name, number in FILE_TYPES.items()}

BASE_TYPES = {
    "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K", "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K",
    "Q2_K_S": "Q2_K", "IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "MXFP4_MOE": "MXFP4",
}  # fmt: skip
"""The type most tensors of a file type get, where the two have not the same name."""

_FALLBACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip


def base_type(file_type: str) -> GgmlType:
    """The type that most tensors of a file of that type get.

    >>> base_type("Q4_K_M").name, base_type("Q8_0").name
    ('Q4_K', 'Q8_0')
    """
    return TYPES[BASE_TYPES.get(file_type, file_type)]


def fitting_type(kind: GgmlType, row_weights: int) -> GgmlType:
    """What a quantiser stores in place of `kind` where a row is not a whole number of blocks.

    Source: llama-quant.cpp, `tensor_type_fallback`. F16 where nothing else fits.

    >>> fitting_type(TYPES["Q4_K"], 1152).name, fitting_type(TYPES["Q4_K"], 2048).name  # gemma-3-1b; a multiple of 256
    ('Q5_0', 'Q4_K')
    """
    if kind.holds(row_weights):
        return kind
    other = TYPES.get(_FALLBACKS.get(kind.name, ""), TYPES["F16"])
    return other if other.holds(row_weights) else TYPES["F16"]
