"""The header of a safetensors file: every tensor's type, shape and place, read without the tensors, and safe against hostile files.

Format: a length n (8 bytes, little-endian), n bytes of JSON, and the data, which the tensors cover without gap or overlap. What the
header claims is believed only as far as the file is long. The JSON is counted before it is parsed, so that a header of the largest size
allowed takes no more than about 100 MB of memory.
Source: the format's README and the checks of its reference implementation (safetensors 0.8).
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import msgspec

from fmkit.errors import ModelNotFoundError, UnsafeInputError
from fmkit.model.stored import StoredTensor

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 25_000_000
"""The limit that the Hub's own tools put on a header."""

MAX_TENSORS = 60_000
"""Tensors of one file. The most seen in a whole repository are 92,000 (DeepSeek-V3, in 163 files)."""

MAX_DIMS = 8
MAX_DIMENSION = 2**32
_MAX_COMMAS = 20 * MAX_TENSORS
_METADATA = "__metadata__"

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "F16": 16, "BF16": 16, "F32": 32,
    "F64": 64, "C64": 64, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6,
    "F4": 4,
}  # fmt: skip
"""Bits of one element by the format's own name of the type."""

_NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32", "U64": "uint64",
    "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F6_E2M3": "float6_e2m3", "F6_E3M2": "float6_e3m2", "F4": "float4_e2m1",
}  # fmt: skip
"""PyTorch's names of the same types, or names in its manner."""


class _Entry(msgspec.Struct, frozen=True):
    """One value of the header's object. The metadata is one too: there none of the fields is set."""

    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    data_offsets: tuple[int, int] | None = None


_ENTRIES = msgspec.json.Decoder(dict[str, _Entry])


def read_safetensors(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors of the file at `path`; of the data not a byte is read."""
    if path.exists() and not path.is_file():
        raise UnsafeInputError("not a regular file", where=str(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = header_bytes(stream.read(LENGTH_BYTES), file_bytes=size, where=str(path))
            data = stream.read(length)
    except FileNotFoundError:
        raise ModelNotFoundError.on_this_disk(f"no such file: {path}", path) from None
    except OSError as error:
        raise UnsafeInputError(f"can't read the file: {error.strerror}", where=str(path)) from error
    return parse_header(data, data_bytes=size - LENGTH_BYTES - length, where=str(path))


def header_bytes(first: bytes, *, file_bytes: int, where: str) -> int:
    """The length of the header that the file's first 8 bytes state, if the file can be so.

    >>> header_bytes(bytes([16, 0, 0, 0, 0, 0, 0, 0]), file_bytes=24, where="model.safetensors")
    16
    """
    if file_bytes < LENGTH_BYTES or len(first) < LENGTH_BYTES:
        raise UnsafeInputError(f"{file_bytes} bytes are no safetensors file: the download is incomplete", where=where)
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise UnsafeInputError(
            f"it claims a header of {length:,} bytes, more than the {MAX_HEADER_BYTES:,} allowed: no safetensors file",
            where=where,
        )
    if length + LENGTH_BYTES > file_bytes:
        raise UnsafeInputError("the file ends inside its header: the download is incomplete", where=where)
    return length


def parse_header(data: bytes, *, data_bytes: int | None, where: str) -> tuple[StoredTensor, ...]:
    """The tensors that a header lists, in the order of their bytes; UnsafeInputError for what no honest file holds.

    `data_bytes` is the length of the data after the header, which the tensors have to cover; None where that is not known.
    """
    tensors = sorted(_tensors(data, where), key=lambda tensor: (tensor.offset, tensor.bytes))
    end = 0
    for tensor in tensors:
        if tensor.offset != end:
            what = (
                "overlaps the one before it"
                if tensor.offset < end
                else f"leaves {tensor.offset - end:,} bytes before it unused"
            )
            raise UnsafeInputError(f"the tensor {_short(tensor.name)} {what}", where=where)
        end += tensor.bytes
    if data_bytes is not None and end > data_bytes:
        raise UnsafeInputError(
            f"the tensors take {end:,} bytes and the file has {data_bytes:,}: the download is incomplete", where=where
        )
    if data_bytes is not None and end < data_bytes:
        raise UnsafeInputError(f"{data_bytes - end:,} bytes of the file belong to no tensor", where=where)
    return tuple(tensors)


def _tensors(data: bytes, where: str) -> list[StoredTensor]:
    entries = _entries(data, where)
    found = [_tensor(name, entry, where) for name, entry in entries.items() if name != _METADATA]
    if data.count(b'"data_offsets"') != len(found):
        raise UnsafeInputError("a tensor is listed twice", where=where)
    return found


def _entries(data: bytes, where: str) -> dict[str, _Entry]:
    """The header's object. Counted first: JSON of 25 MB can make objects of a gigabyte."""
    if not data.startswith(b"{"):
        raise UnsafeInputError("the header is no JSON object: no safetensors file", where=where)
    if data.count(b"{") > MAX_TENSORS + 2 or data.count(b",") > _MAX_COMMAS or data.count(b":") > _MAX_COMMAS:
        raise UnsafeInputError(f"the header lists more than {MAX_TENSORS:,} tensors", where=where)
    try:
        return _ENTRIES.decode(data)
    except RecursionError:
        raise UnsafeInputError("the header is nested too deeply", where=where) from None
    except ValueError as error:  # not JSON, not UTF-8, or of the wrong types: the parser says which
        raise UnsafeInputError(f"the header can't be read: {error}", where=where) from None


def _tensor(name: str, entry: _Entry, where: str) -> StoredTensor:
    shown = _short(name)
    if entry.dtype is None or entry.shape is None or entry.data_offsets is None:
        raise UnsafeInputError(f"the tensor {shown} lacks its type, shape or place", where=where)
    bits = _BITS.get(entry.dtype)
    if bits is None:
        raise UnsafeInputError(
            f"the tensor {shown} has the type {entry.dtype[:20]!r}, which this version does not know", where=where
        )
    if len(entry.shape) > MAX_DIMS or any(not 0 <= length <= MAX_DIMENSION for length in entry.shape):
        raise UnsafeInputError(f"the tensor {shown} has a shape that no tensor has", where=where)
    begin, end = entry.data_offsets
    total_bits = prod(entry.shape) * bits
    if begin < 0 or end < begin or (end - begin) * 8 != total_bits:
        raise UnsafeInputError(
            f"the tensor {shown} takes {end - begin:,} bytes, which is not what its type and shape need", where=where
        )
    return StoredTensor(name, entry.shape, _NAMES[entry.dtype], end - begin, begin)


def _short(name: str) -> str:
    return repr(name[:80])
