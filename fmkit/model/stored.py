"""Weights as files hold them: every tensor with its type and bytes, read from headers (safetensors, GGUF), or file sizes alone."""

from __future__ import annotations

from math import prod
from typing import Literal

import msgspec

WeightFormat = Literal["safetensors", "gguf", "pickle"]
"""How the weights are written. A pickle is never opened, for loading one can run any code: of it only the size is known."""


class StoredTensor(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a file: its shape in PyTorch's order, its type, and the `bytes` it takes in the file.

    `dtype` is PyTorch's name of the type (`bfloat16`), or ggml's (`Q4_K`). `offset` is where the bytes begin, counted
    from the start of the file's data.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    offset: int = 0

    @property
    def elements(self) -> int:
        """Elements of the tensor; 1 for a scalar.

        >>> StoredTensor("w", (4096, 14336), "bfloat16", 117_440_512).elements
        58720256
        """
        return prod(self.shape)


class StoredFile(msgspec.Struct, frozen=True, array_like=True):
    """A file with weights and its size."""

    name: str
    bytes: int


class StoredWeights(msgspec.Struct, frozen=True, kw_only=True):
    """The weights of one model: its files, and what their headers list (nothing, of a pickle)."""

    format: WeightFormat
    files: tuple[StoredFile, ...]
    tensors: tuple[StoredTensor, ...] = ()

    @property
    def file_bytes(self) -> int:
        """Bytes of all files, headers included."""
        return sum(file.bytes for file in self.files)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors; of weights whose inside is not known, the size of the files."""
        return sum(tensor.bytes for tensor in self.tensors) if self.tensors else self.file_bytes

    def bytes_by_dtype(self) -> dict[str, int]:
        """Bytes per type, the largest first."""
        found: dict[str, int] = {}
        for tensor in self.tensors:
            found[tensor.dtype] = found.get(tensor.dtype, 0) + tensor.bytes
        return dict(sorted(found.items(), key=lambda item: -item[1]))
