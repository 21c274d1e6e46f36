"""What a model folder offers, looked at without opening a weight file. No torch."""

from __future__ import annotations

import json
from pathlib import Path

from fmkit.errors import UnsafeInputError, UsageError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"


def require_safetensors(folder: Path) -> None:
    """Refuse a folder whose weights are absent, incomplete, or pickled (a pickle runs code when it is loaded)."""
    hint = f"fmkit try {folder} --random-weights"
    if any(folder.glob("*.safetensors")):
        missing = missing_shards(folder)
        if missing:
            raise UsageError(
                f"{len(missing)} of the weight files that {INDEX} names are missing, among them {missing[0]}",
                where=str(folder),
                next_command=hint,
            )
        return
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickled:
        raise UnsafeInputError(
            f"the weights are pickled ({pickled[0]}), and loading a pickle can run any code: fmkit loads safetensors only",
            where=str(folder),
            next_command=hint,
        )
    raise UsageError("no weights in the folder", where=str(folder), next_command=hint)


def missing_shards(folder: Path) -> list[str]:
    """The weight files that the folder's index names and that are not there; UnsafeInputError for an index of another form."""
    index = folder / INDEX
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return []
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsafeInputError("the index of the weight files can't be read", where=str(index)) from error
    outside = sorted(name for name in names if Path(name).name != name)
    if outside:
        raise UnsafeInputError(f"the index names a file outside the folder: {outside[0]!r}", where=str(index))
    return sorted(name for name in names if not (folder / name).is_file())
