"""config.json of a model on this disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fmkit.errors import ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.document import MAX_BYTES, parse_object


def read_config(path: Path) -> dict[str, Any]:
    """The config.json that `path` is, or that lies in the folder `path`."""
    if path.suffix == ".gguf":
        raise UsageError(
            "this version sizes GGUF files, but does not run them", where=str(path), next_command=f"fmkit vram {path}"
        )
    if not path.exists():
        raise ModelNotFoundError(f"no such file or folder: {path}", where=str(path))
    file = path / "config.json" if path.is_dir() else path
    if file.exists() and not file.is_file():
        raise UnsafeInputError("not a file: a config.json is read from a regular file only", where=str(file))
    if not file.is_file():
        files = sorted(path.glob("*.gguf"))
        if files:
            raise UsageError(
                "the folder has GGUF files and no config.json: name one of them",
                where=str(path),
                next_command=f"fmkit vram {files[0]}",
            )
        raise ModelNotFoundError("the folder has no config.json", where=str(path))
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnsafeInputError(f"can't read the file: {error.strerror}", where=str(file)) from error
    return parse_object(data, where=str(file))
