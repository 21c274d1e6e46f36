"""GGUF files on this disk: the header of one file, or of all parts of a model; of the tensors not a byte is read."""

from __future__ import annotations

import re
from pathlib import Path

from fmkit.errors import ModelNotFoundError, UnsafeInputError
from fmkit.hub.gguf_header import MAX_HEADER_BYTES, GgufHeader, HeaderTooLongError, parse_gguf
from fmkit.model.stored import StoredFile, StoredWeights

MAX_PARTS = 1000

_PART_NAME = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")
_FIRST_READ = 16 * 1024**2


def read_gguf(path: Path) -> GgufHeader:
    """The header of the file at `path`; of the data section not a byte is read."""
    if path.exists() and not path.is_file():
        raise UnsafeInputError("not a regular file", where=str(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            data = b""
            while True:
                data += stream.read(max(_FIRST_READ, len(data)))
                try:
                    return parse_gguf(data, file_bytes=size, where=str(path))
                except HeaderTooLongError:
                    if len(data) >= min(size, MAX_HEADER_BYTES):
                        raise _cut(path, size, len(data)) from None
    except FileNotFoundError:
        raise ModelNotFoundError.on_this_disk(f"no such file: {path}", path) from None
    except OSError as error:
        raise UnsafeInputError(f"can't read the file: {error.strerror}", where=str(path)) from error


def read_gguf_set(path: Path) -> tuple[GgufHeader, StoredWeights]:
    """The header of the first part of a file, and the weights of all its parts (`-00001-of-00003.gguf`)."""
    parts = _parts(path)
    headers = [read_gguf(part) for part in parts]
    weights = StoredWeights(
        format="gguf",
        files=tuple(StoredFile(part.name, part.stat().st_size) for part in parts),
        tensors=tuple(tensor for header in headers for tensor in header.tensors),
    )
    return headers[0], weights


def _parts(path: Path) -> list[Path]:
    found = _PART_NAME.fullmatch(path.name)
    if found is None:
        return [path]
    count = int(found["count"])
    if not 1 <= count <= MAX_PARTS:
        raise UnsafeInputError(f"{count:,} parts", where=str(path))
    parts = [path.with_name(f"{found['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    for part in parts:
        if not part.is_file():
            raise ModelNotFoundError.on_this_disk(f"a part of the model is missing: {part.name}", path)
    return parts


def _cut(path: Path, size: int, read: int) -> UnsafeInputError:
    if read >= size:
        return UnsafeInputError(
            "the file ends inside its header: the download is incomplete, or it is no GGUF", where=str(path)
        )
    return UnsafeInputError(f"the header is longer than {MAX_HEADER_BYTES // 1024**2} MiB", where=str(path))
