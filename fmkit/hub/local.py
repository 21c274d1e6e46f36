"""config.json of a model on this disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fmkit.errors import ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.document import MAX_BYTES, parse_object


def read_config(path: Path) -> dict[str, Any]:
    """The config.json that `path` is, or that lies in the folder `path`."""
    if path.suffix == ".gguf":
        raise _gguf(path)
    if not path.exists():
        raise ModelNotFoundError(f"no such file or folder: {path}", where=str(path))
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        if any(path.glob("*.gguf")):
            raise _gguf(path)
        raise ModelNotFoundError("the folder has no config.json", where=str(path))
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnsafeInputError(f"can't read the file: {error.strerror}", where=str(file)) from error
    return parse_object(data, where=str(file))


def _gguf(path: Path) -> UsageError:
    return UsageError(
        "this version sizes models with a config.json only; GGUF files come with a later one",
        where=str(path),
        next_command="fmkit vram ORG/NAME of the model that the file was made from",
    )
