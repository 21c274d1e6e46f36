"""The headers of weight files on the Hub: all in one answer where the Hub offers that, else by ranges, several files at a time.

What all files together may hold is bounded, and one long header is read at a time: what several threads hold would add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from threading import Lock

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.hub.contents import dense_files, unique
from fmkit.hub.gguf_header import MAX_HEADER_BYTES as MAX_GGUF_BYTES
from fmkit.hub.gguf_header import GgufHeader, HeaderTooLongError, parse_gguf
from fmkit.hub.remote_files import RemoteFiles
from fmkit.hub.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, header_bytes, parse_header
from fmkit.hub.weight_files import INDEX, Selected
from fmkit.model.stored import StoredFile, StoredTensor, StoredWeights

MAX_ALL_HEADERS_BYTES = 32_000_000
MOST_COMBINED = 500
"""Files whose headers are asked for in one answer; the most seen are 191."""

MAX_ALL_TENSORS = 160_000
"""Tensors of all files together; the most seen are 140,000."""

_FIRST_RANGE = 100_000
"""Bytes of a shard that are asked for first: a header is seldom longer."""

_LONG_HEADER_BYTES = 2_000_000
"""Headers from this length on are read one at a time."""

_GGUF_STEPS = (2 * 1024**2, 10 * 1024**2, 18 * 1024**2, 34 * 1024**2, 50 * 1024**2)
"""Where the growing ranges of a GGUF header end: 8 MB is usual, 11 MB the longest seen."""


class RemoteHeaders:
    """Reads the headers of one repository's weight files; `on_main` says that its commit is that of `main`."""

    def __init__(self, files: RemoteFiles, *, on_main: bool) -> None:
        self._files = files
        self._on_main = on_main
        self._tensor_count = 0
        self._lock = Lock()
        self._one_long_header = Lock()

    def safetensors(self, selected: Selected) -> StoredWeights:
        """The weights of these files, and of the dense layers that sentence-transformers keeps beside them."""
        dense = dense_files(self._files.repository.sizes)
        files = (*selected.files, *dense)
        one_answer = self._on_main and 1 < len(files) <= MOST_COMBINED and not dense
        combined = self._all_headers(files) if one_answer else None
        headers = combined or self._files.client.get_all(self.of_file, files, self._files.where)
        tensors = unique([tensor for header in headers for tensor in header], self._files.where)
        return StoredWeights(format="safetensors", files=files, tensors=tensors)

    def _all_headers(self, files: tuple[StoredFile, ...]) -> list[tuple[StoredTensor, ...]] | None:
        """All headers in one request, where the Hub has that route (it answers for `main` only); None where not, or where it disagrees."""
        path = f"/api/models/{self._files.repository.hub_id}/safetensors-metadata/{INDEX}"
        answer = self._files.client.get(path, limit=MAX_ALL_HEADERS_BYTES, where=self._files.where)
        if answer.status != 200:
            return None
        found = _named_headers(answer.body, [file.name for file in files])
        if found is None:
            return None
        try:
            headers = [
                self._parsed(header, None, self._files.place(file.name))
                for header, file in zip(found, files, strict=True)
            ]
        except UnsafeInputError:  # a mirror may have another idea of this route; the files decide
            headers = []
        if not headers or any(not _plausible(header, file) for header, file in zip(headers, files, strict=True)):
            self._tensor_count = 0
            return None
        return headers

    def of_file(self, file: StoredFile) -> tuple[StoredTensor, ...]:
        """The header of one file, in one range, or two if it is long. What it claims is held against the size the Hub gave."""
        where = self._files.place(file.name)
        if file.bytes < LENGTH_BYTES:
            raise UnsafeInputError(f"{file.bytes} bytes are no safetensors file", where=where)
        data = self._files.part(file, 0, min(_FIRST_RANGE, file.bytes) - 1)
        length = header_bytes(data[:LENGTH_BYTES], file_bytes=file.bytes, where=where)
        end = LENGTH_BYTES + length
        with self._one_long_header if end > _LONG_HEADER_BYTES else nullcontext():
            header = data[LENGTH_BYTES:end]
            if end > len(data):
                header += self._files.part(file, len(data), end - 1)
            return self._parsed(header, file.bytes - end, where)

    def _parsed(self, header: bytes, data_bytes: int | None, where: str) -> tuple[StoredTensor, ...]:
        """The tensors of one header; one header at a time, and counted before they become objects."""
        with self._lock:
            self._tensor_count += header.count(b'"data_offsets"')
            if self._tensor_count > MAX_ALL_TENSORS:
                raise UnsafeInputError(
                    f"the model lists more than {MAX_ALL_TENSORS:,} tensors", where=self._files.where
                )
            return parse_header(header, data_bytes=data_bytes, where=where)

    def gguf(self, selected: Selected) -> tuple[GgufHeader, StoredWeights]:
        """The header of the first of these parts, and the weights of all."""
        headers = self._files.client.get_all(self._gguf_header, selected.files, self._files.where)
        tensors = unique([tensor for header in headers for tensor in header.tensors], self._files.where)
        return headers[0], StoredWeights(format="gguf", files=selected.files, tensors=tensors)

    def _gguf_header(self, file: StoredFile) -> GgufHeader:
        """The header of one file, read in growing ranges: nobody knows beforehand how long a vocabulary is."""
        where = self._files.place(file.name)
        first = self._files.part(file, 0, min(_GGUF_STEPS[0], file.bytes) - 1)
        try:
            return parse_gguf(first, file_bytes=file.bytes, where=where)
        except HeaderTooLongError:
            with self._one_long_header:
                return self._long_gguf_header(file, first, where)

    def _long_gguf_header(self, file: StoredFile, data: bytes, where: str) -> GgufHeader:
        for step in _GGUF_STEPS[1:]:
            end = min(step, file.bytes, MAX_GGUF_BYTES)
            if end <= len(data):
                break
            data += self._files.part(file, len(data), end - 1)
            try:
                return parse_gguf(data, file_bytes=file.bytes, where=where)
            except HeaderTooLongError:
                continue
        raise UnsafeInputError("the header does not end within the file, or within 50 MiB", where=where)


def _named_headers(body: bytes, names: Sequence[str]) -> list[bytes] | None:
    """The headers of these files in an answer that has all of them, each still JSON; None where one is missing.

    What else the answer names is stepped over: of a few bytes for each name, millions would fit into it.
    """
    fields = {f"file_{number}": name for number, name in enumerate(names)}
    headers = msgspec.defstruct("Headers", [(field, msgspec.Raw) for field in fields], rename=fields)
    combined = msgspec.defstruct("Combined", [("headers", headers)])
    try:
        found = msgspec.json.decode(body, type=combined).headers  # type: ignore[attr-defined]
    except (ValueError, RecursionError):
        return None
    return [bytes(getattr(found, field)) for field in fields]


def _plausible(header: tuple[StoredTensor, ...], file: StoredFile) -> bool:
    """Whether a header that came without its file can belong to it: the tensors fill the file but for the header itself."""
    return LENGTH_BYTES < file.bytes - sum(tensor.bytes for tensor in header) <= MAX_HEADER_BYTES
