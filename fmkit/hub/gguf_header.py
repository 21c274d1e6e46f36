"""The header of a GGUF file: keys and tensors, read without the tensors themselves, and safe against hostile files.

Arrays of strings (a vocabulary) are stepped over; the header of an 8B model is 9 MB long and takes about 60 ms. Counts and lengths are
believed only as far as there are bytes for them.
Format: ggml docs/gguf.md, versions 2 and 3, both byte orders.
"""

from __future__ import annotations

import struct
from math import prod

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.model.ggml import TYPES_BY_NUMBER
from fmkit.model.stored import StoredTensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 64 * 1024**2
"""Where reading stops: the longest header seen was 11 MB (a vocabulary of 248,000)."""

MAX_COUNT = 100_000
"""More keys or tensors than any real file has: experts of one layer are one tensor."""

MAX_DIMS = 4
MAX_ELEMENTS = 2**53
MAX_LIST = 4096
"""Longest array of numbers that is decoded; of longer ones only the length is kept."""

MAX_LISTED = 1_000_000
"""Numbers that are decoded out of all arrays: a byte of the file becomes eight of memory."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9

Scalar = str | int | float | bool


class SkippedArray(msgspec.Struct, frozen=True):
    """An array that was stepped over: strings, or too many numbers."""

    length: int


Value = Scalar | tuple[int | float | bool, ...] | SkippedArray


class GgufHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a GGUF file says of itself. `data_offset` is where the data section begins."""

    version: int
    keys: dict[str, Value]
    tensors: tuple[StoredTensor, ...]
    alignment: int
    data_offset: int

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def vocabulary_tokens(self) -> int | None:
        """How many words its tokenizer has; None where the header has none."""
        words = self.keys.get("tokenizer.ggml.tokens")
        return words.length if isinstance(words, SkippedArray) else None


class HeaderTooLongError(Exception):
    """The bytes at hand end inside the header: read more of the file."""


def parse_gguf(data: bytes, *, file_bytes: int, where: str) -> GgufHeader:
    """The header that `data` begins with; UnsafeInputError for what no honest file holds, HeaderTooLongError for more than `data`.

    `file_bytes` is the size of the whole file: every tensor has to lie inside.
    """
    return _Parser(data, where).header(file_bytes)


class _Parser:
    """Walks through the bytes of a header. Where they end too early, HeaderTooLongError says so."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._at = 0
        self._order = "<"
        self._listed = 0

    def header(self, file_bytes: int) -> GgufHeader:
        version = self._version()
        tensor_count = self._count("tensors")
        key_count = self._count("keys")
        keys: dict[str, Value] = {}
        for _ in range(key_count):
            name = self._string()
            if name in keys:
                raise self._fault(f"the key {name[:80]!r} is there twice")
            keys[name] = self._value(self._number("I"))
        alignment = self._alignment(keys)
        tensors = self._tensors(tensor_count)
        data_offset = -(-self._at // alignment) * alignment
        for tensor in tensors:
            self._check_place(tensor, alignment, file_bytes - data_offset)
        return GgufHeader(version=version, keys=keys, tensors=tensors, alignment=alignment, data_offset=data_offset)

    def _version(self) -> int:
        if len(self._data) < len(MAGIC):
            raise HeaderTooLongError
        if self._data[: len(MAGIC)] != MAGIC:
            raise self._fault("not a GGUF file: it does not begin with GGUF")
        self._at = len(MAGIC)
        version = self._number("I")
        if version not in VERSIONS and int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
            self._order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version not in VERSIONS:
            raise self._fault(f"GGUF version {version} is not understood (2 and 3 are)")
        return version

    def _count(self, noun: str) -> int:
        count = self._number("Q")
        if count > MAX_COUNT:
            raise self._fault(f"it claims {count:,} {noun}, more than any real file has")
        return count

    def _tensors(self, count: int) -> tuple[StoredTensor, ...]:
        tensors: list[StoredTensor] = []
        names: set[str] = set()
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in names:
                raise self._fault(f"the tensor {tensor.name[:80]!r} is there twice")
            names.add(tensor.name)
            tensors.append(tensor)
        return tuple(tensors)

    def _tensor(self) -> StoredTensor:
        name = self._string()
        dim_count = self._number("I")
        if dim_count > MAX_DIMS:
            raise self._fault(f"the tensor {name[:80]!r} has {dim_count} dimensions; ggml knows {MAX_DIMS}")
        dims = tuple(self._number("Q") for _ in range(dim_count))
        number = self._number("I")
        offset = self._number("Q")
        kind = TYPES_BY_NUMBER.get(number)
        if kind is None:
            raise self._fault(f"the tensor {name[:80]!r} is of ggml type {number}, which this version does not know")
        if prod(dims) > MAX_ELEMENTS:
            raise self._fault(f"the tensor {name[:80]!r} is larger than any machine")
        if dims and not kind.holds(dims[0]):
            raise self._fault(f"rows of {name[:80]!r} are no whole number of {kind.name} blocks")
        return StoredTensor(name, dims[::-1], kind.name, kind.tensor_bytes(dims), offset)

    def _alignment(self, keys: dict[str, Value]) -> int:
        alignment = keys.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 8 <= alignment <= 2**20 or alignment & (alignment - 1):
            raise self._fault(f"an alignment of {str(alignment)[:20]} is not possible")
        return alignment

    def _check_place(self, tensor: StoredTensor, alignment: int, data_bytes: int) -> None:
        if tensor.offset % alignment:
            raise self._fault(f"the tensor {tensor.name[:80]!r} does not begin at a multiple of {alignment}")
        if tensor.offset + tensor.bytes > data_bytes:
            raise self._fault(
                f"the tensor {tensor.name[:80]!r} lies beyond the end of the file: the download is incomplete"
            )

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        return self._scalar(kind)

    def _scalar(self, kind: int) -> int | float | bool:
        code = _SCALARS.get(kind)
        if code is None:
            raise self._fault(f"a value of type {kind}, which GGUF does not have")
        (value,) = self._unpack(code)
        if not isinstance(value, int | float):  # pragma: no cover  struct gives nothing else for these codes
            raise self._fault("a value that is no number")
        return value

    def _array(self) -> Value:
        kind = self._number("I")
        length = self._number("Q")
        if kind == _STRING:
            self._skip_strings(self._believed(length, 8))
            return SkippedArray(length)
        code = _SCALARS.get(kind)
        if code is None:
            raise self._fault(f"an array of type {kind}, which fmkit does not read")
        width = struct.calcsize(f"<{code}")
        self._believed(length, width)
        self._listed += min(length, MAX_LIST)
        if length > MAX_LIST or self._listed > MAX_LISTED:
            self._step(length * width)
            return SkippedArray(length)
        return tuple(self._unpack(f"{length}{code}"))

    def _skip_strings(self, count: int) -> None:
        """Step over a vocabulary: the only loop that a real header makes long, so that it stays free of calls to our own."""
        at, data, unpack = self._at, self._data, struct.Struct(f"{self._order}Q").unpack_from
        try:
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
        except (struct.error, OverflowError):
            raise HeaderTooLongError from None
        self._step(at - self._at)

    def _believed(self, length: int, width: int) -> int:
        """The length of an array, if a header may be long enough to hold it."""
        if length * width > MAX_HEADER_BYTES:
            raise self._fault(f"an array of {length:,} items can't be in a header")
        if length * width > len(self._data) - self._at:
            raise HeaderTooLongError
        return length

    def _string(self) -> str:
        length = self._number("Q")
        start = self._at
        self._step(length)
        try:
            return self._data[start : self._at].decode()
        except UnicodeDecodeError:
            raise self._fault("a string is not UTF-8") from None

    def _number(self, code: str) -> int:
        (value,) = self._unpack(code)
        return int(value)

    def _unpack(self, codes: str) -> tuple[int | float | bool, ...]:
        width = struct.calcsize(self._order + codes)
        start = self._at
        self._step(width)
        return struct.unpack_from(self._order + codes, self._data, start)

    def _step(self, width: int) -> None:
        if width > MAX_HEADER_BYTES:
            raise self._fault(f"a length of {width:,} bytes inside the header")
        if width > len(self._data) - self._at:
            raise HeaderTooLongError
        self._at += width

    def _fault(self, message: str) -> UnsafeInputError:
        return UnsafeInputError(message, where=self._where)
