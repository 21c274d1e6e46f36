"""A model on this disk: a folder, one weight file, or a config.json. Headers are read, weights are not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from fmkit.errors import ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.contents import (
    ADAPTER_CONFIG,
    CONFIG,
    PIPELINE_INDEX,
    QUANT_CONFIG,
    adapter_from,
    components,
    dense_files,
    indexed_files,
    missing_note,
    pickle_note,
    shared_keys,
    unique,
    with_quantisation,
)
from fmkit.hub.document import MAX_BYTES, parse_object
from fmkit.hub.files import GgufFacts, Layout, ModelFiles
from fmkit.hub.gguf import read_gguf_set
from fmkit.hub.safetensors import read_safetensors
from fmkit.hub.text_files import gguf_facts, read_text_files
from fmkit.hub.weight_files import INDEX, GgufVariant, pickles_of, safetensors_of, variants_of
from fmkit.model.stored import StoredFile, StoredWeights

_MOST_FILES = 100_000


def read_folder(path: Path) -> ModelFiles:
    """The model in the folder `path`, or beside the config.json that `path` is.

    Raises ModelNotFoundError where there is nothing to size, UnsafeInputError for files that no honest program writes.
    """
    if not path.is_dir():
        return ModelFiles(where=str(path), layout="config-only", config=_config_of_any_name(path))
    sizes = _sizes(path)
    config = read_config(path) if (path / CONFIG).exists() else None
    if ADAPTER_CONFIG in sizes and config is None:
        return _adapter(path, sizes)
    if PIPELINE_INDEX in sizes and config is None:
        return _pipeline(path, sizes)
    weights, notes = _weights(path, sizes)
    text, text_notes = read_text_files(sizes, lambda name: _content(path / name), str(path))
    notes = (*notes, *text_notes)
    if weights is not None:
        layout: Layout = "weights-only" if config is None else "transformers"
        return ModelFiles(where=str(path), layout=layout, config=config, weights=weights, text=text, notes=notes)
    variants = variants_of(sizes)
    if variants and config is None:
        return _gguf(path, variants)
    if config is None:
        raise ModelNotFoundError.on_this_disk("the folder has no config.json and no weights", path)
    return ModelFiles(where=str(path), layout="config-only", config=config, text=text, notes=notes)


def read_weight_file(path: Path) -> ModelFiles:
    """One safetensors file, with the config.json beside it if there is one."""
    tensors = read_safetensors(path)
    file = StoredFile(path.name, path.stat().st_size)
    weights = StoredWeights(format="safetensors", files=(file,), tensors=tensors)
    config = read_config(path.parent) if (path.parent / CONFIG).is_file() else None
    return ModelFiles(
        where=str(path), layout="weights-only" if config is None else "transformers", config=config, weights=weights
    )


def read_config(path: Path) -> dict[str, Any]:
    """The config.json that `path` is, or that lies in the folder `path`."""
    if path.suffix in (".gguf", ".safetensors"):
        noun = {".gguf": "GGUF"}.get(path.suffix, "single safetensors")
        raise UsageError(
            f"this version sizes {noun} files, but does not run them",
            where=str(path),
            next_command=f"fmkit vram {path}",
        )
    if not path.exists():
        raise ModelNotFoundError.on_this_disk(f"no such file or folder: {path}", path)
    file = path / CONFIG if path.is_dir() else path
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
        raise ModelNotFoundError.on_this_disk("the folder has no config.json", path)
    beside = file.with_name(QUANT_CONFIG)
    return with_quantisation(_object(file), _object(beside) if beside.is_file() else None)


def _config_of_any_name(path: Path) -> dict[str, Any]:
    """The config.json that a file is, whatever its name; what is none is said to be no model at all."""
    try:
        return read_config(path)
    except UnsafeInputError as error:
        if path.suffix == ".json":
            raise
        raise UnsafeInputError(
            f"the file is no model ({error.message}): name a folder, a config.json, a .gguf or a .safetensors file",
            where=error.where,
        ) from error


def _sizes(path: Path) -> dict[str, int]:
    """Size by name of the regular files in a folder and in the folders in it, links followed as the Hub's cache needs."""
    found: dict[str, int] = {}
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file():
                    found[entry.name] = entry.stat().st_size
                elif entry.is_dir() and not entry.name.startswith("."):
                    inside = Path(entry.path)
                    found |= {
                        f"{entry.name}/{one.name}": one.stat().st_size for one in inside.iterdir() if one.is_file()
                    }
                if len(found) > _MOST_FILES:
                    raise UnsafeInputError(f"more than {_MOST_FILES:,} files: no folder of a model", where=str(path))
    except OSError as error:
        raise UnsafeInputError(f"can't read the folder: {error.strerror}", where=str(error.filename or path)) from error
    return found


def _weights(path: Path, sizes: dict[str, int]) -> tuple[StoredWeights | None, tuple[str, ...]]:
    """The weights of a folder and what is to be said of them."""
    indexed = indexed_files(_object(path / INDEX), str(path / INDEX)) if INDEX in sizes else ()
    selected = safetensors_of(sizes, indexed)
    if selected is not None and selected.missing:
        return None, (f"{missing_note(selected)}; sized from config.json",)
    if selected is not None:
        files = (*selected.files, *dense_files(sizes))
        tensors = [tensor for file in files for tensor in read_safetensors(path / file.name)]
        return StoredWeights(format="safetensors", files=files, tensors=unique(tensors, str(path))), ()
    pickled = pickles_of(sizes)
    if pickled is None:
        return None, ()
    if pickled.missing:
        return None, (f"{missing_note(pickled)}; sized from config.json",)
    return StoredWeights(format="pickle", files=pickled.files), (pickle_note(pickled),)


def _gguf(path: Path, variants: tuple[GgufVariant, ...]) -> ModelFiles:
    """A folder of GGUF files: the header of every complete one is read."""
    complete = [variant for variant in variants if not variant.selected.missing]
    notes = tuple(f"{one.label}: {missing_note(one.selected)}" for one in variants if one.selected.missing)
    if not complete:
        raise ModelNotFoundError.on_this_disk(notes[0], path)
    headers = [read_gguf_set(path / variant.selected.files[0].name) for variant in complete]
    return ModelFiles(
        where=str(path),
        layout="gguf",
        gguf=GgufFacts(keys=shared_keys(headers[0][0]), header_bytes=headers[0][0].data_offset),
        text=gguf_facts(headers[0][0].keys, headers[0][0].vocabulary_tokens),
        variants=tuple(
            msgspec.structs.replace(variant, weights=weights)
            for variant, (_, weights) in zip(complete, headers, strict=True)
        ),
        notes=notes,
    )


def _adapter(path: Path, sizes: dict[str, int]) -> ModelFiles:
    adapter = adapter_from(_object(path / ADAPTER_CONFIG))
    name = "adapter_model.safetensors"
    if name in sizes:
        file = StoredFile(name, sizes[name])
        weights = StoredWeights(format="safetensors", files=(file,), tensors=read_safetensors(path / name))
        return ModelFiles(where=str(path), layout="adapter", adapter=adapter, weights=weights)
    pickled = pickles_of({file: size for file, size in sizes.items() if file.startswith("adapter_model")})
    if pickled is None:
        raise ModelNotFoundError.on_this_disk("the adapter has no weights: no adapter_model.safetensors", path)
    return ModelFiles(
        where=str(path),
        layout="adapter",
        adapter=adapter,
        weights=StoredWeights(format="pickle", files=pickled.files),
        notes=(pickle_note(pickled),),
    )


def _pipeline(path: Path, sizes: dict[str, int]) -> ModelFiles:
    return ModelFiles(where=str(path), layout="diffusers", components=components(sizes))


def _object(file: Path) -> dict[str, Any]:
    return parse_object(_content(file), where=str(file))


def _content(file: Path) -> bytes:
    """What a small file holds; of one that is too long a byte more than the limit."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnsafeInputError(f"can't read the file: {error.strerror}", where=str(file)) from error
