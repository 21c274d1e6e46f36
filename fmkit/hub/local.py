"""A model on this disk: a folder, one weight file, or a config.json. Headers are read, weights are not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from fmkit.errors import ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.document import MAX_BYTES, parse_object
from fmkit.hub.files import Adapter, Component, GgufFacts, Layout, ModelFiles
from fmkit.hub.gguf import GgufHeader, SkippedArray, read_gguf_set
from fmkit.hub.safetensors import read_safetensors
from fmkit.hub.text_files import gguf_facts, read_text_files
from fmkit.hub.weight_files import INDEX, GgufVariant, Selected, components_of, pickles_of, safetensors_of, variants_of
from fmkit.model.stored import StoredTensor, StoredWeights
from fmkit.units import format_bytes

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
QUANT_CONFIG = "hf_quant_config.json"
"""Where NVIDIA ModelOpt writes down how weights are stored; newer versions say it in config.json too."""

PIPELINE_INDEX = "model_index.json"
_MOST_FILES = 100_000


def read_folder(path: Path) -> ModelFiles:
    """The model in the folder `path`, or beside the config.json that `path` is.

    Raises ModelNotFoundError where there is nothing to size, UnsafeInputError for files that no honest program writes.
    """
    if not path.exists():
        raise ModelNotFoundError(f"no such file or folder: {path}", where=str(path))
    if not path.is_dir():
        return ModelFiles(where=str(path), layout="config-only", config=read_config(path))
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
        raise ModelNotFoundError("the folder has no config.json and no weights", where=str(path))
    return ModelFiles(where=str(path), layout="config-only", config=config, text=text, notes=notes)


def read_weight_file(path: Path) -> ModelFiles:
    """One safetensors file, with the config.json beside it if there is one."""
    tensors = read_safetensors(path)
    selected = safetensors_of({path.name: path.stat().st_size})
    assert selected is not None  # one file of that name is always chosen
    weights = StoredWeights(format="safetensors", files=selected.files, tensors=tensors)
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
        raise ModelNotFoundError(f"no such file or folder: {path}", where=str(path))
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
        raise ModelNotFoundError("the folder has no config.json", where=str(path))
    beside = file.with_name(QUANT_CONFIG)
    return with_quantisation(_object(file), _object(beside) if beside.is_file() else None)


def with_quantisation(config: dict[str, Any], stored: dict[str, Any] | None) -> dict[str, Any]:
    """The config.json with what a hf_quant_config.json beside it says, where it does not say so itself."""
    return config if stored is None or "quantization_config" in config else {**config, "hf_quant_config": stored}


def adapter_from(document: dict[str, Any]) -> Adapter:
    """What an adapter_config.json says; fields of the wrong type count as absent.

    >>> adapter_from({"base_model_name_or_path": "org/base", "peft_type": "LORA", "r": 16})
    Adapter(base='org/base', method='LORA', rank=16)
    """
    base, method, rank = (document.get(name) for name in ("base_model_name_or_path", "peft_type", "r"))
    return Adapter(
        base=base if isinstance(base, str) and base else None,
        method=method if isinstance(method, str) else "adapter",
        rank=rank if isinstance(rank, int) and rank > 0 else None,
    )


def indexed_files(document: dict[str, Any], where: str) -> frozenset[str]:
    """The weight files that an index names; UnsafeInputError for a name that leads out of the folder, or too many."""
    names = document.get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UnsafeInputError("the index of the weight files has no weight_map of names", where=where)
    files = frozenset(names.values())
    outside = sorted(
        name
        for name in files
        if not name or name in {".", ".."} or set(name) & set("/\\:?#%") or not name.isprintable()
    )
    if outside:
        raise UnsafeInputError(f"the index names a file outside of the model: {outside[0][:80]!r}", where=where)
    return files


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
        tensors = [tensor for file in selected.files for tensor in read_safetensors(path / file.name)]
        dense = [
            tensor
            for folder in _dense_folders(sizes)
            for tensor in read_safetensors(path / folder / "model.safetensors")
        ]
        weights = StoredWeights(
            format="safetensors", files=selected.files, tensors=unique([*tensors, *dense], str(path))
        )
        return weights, ()
    pickled = pickles_of(sizes)
    if pickled is None:
        return None, ()
    if pickled.missing:
        return None, (f"{missing_note(pickled)}; sized from config.json",)
    return StoredWeights(format="pickle", files=pickled.files), (pickle_note(pickled),)


def unique(tensors: list[StoredTensor], where: str) -> tuple[StoredTensor, ...]:
    """The tensors of all shards; UnsafeInputError where two shards hold the same name."""
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise UnsafeInputError(f"the tensor {tensor.name[:80]!r} is in two files", where=where)
        names.add(tensor.name)
    return tuple(tensors)


def missing_note(selected: Selected) -> str:
    """What to say of weights that are not all there."""
    return (
        f"{len(selected.missing):,} of {len(selected.missing) + len(selected.files):,} weight files are missing, among them "
        f"{selected.missing[0][:80]}"
    )


def pickle_note(selected: Selected) -> str:
    """What to say of weights that are not opened."""
    return (
        f"the weights are pickled ({selected.files[0].name[:80]}): a pickle can run code, so none is opened; the files take "
        f"{format_bytes(selected.bytes)}"
    )


def _dense_folders(sizes: dict[str, int]) -> list[str]:
    """Folders of the dense layers that sentence-transformers puts behind a model."""
    return sorted(name.partition("/")[0] for name in sizes if name.endswith("_Dense/model.safetensors"))


def _gguf(path: Path, variants: tuple[GgufVariant, ...]) -> ModelFiles:
    """A folder of GGUF files: the header of every complete one is read."""
    complete = [variant for variant in variants if not variant.selected.missing]
    notes = tuple(f"{one.label}: {missing_note(one.selected)}" for one in variants if one.selected.missing)
    if not complete:
        raise ModelNotFoundError(notes[0], where=str(path))
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


def shared_keys(header: GgufHeader) -> dict[str, Any]:
    """The keys of a header that sizing asks for: those of the architecture, without the vocabulary."""
    return {
        name: value
        for name, value in header.keys.items()
        if not name.startswith("tokenizer.") and not isinstance(value, SkippedArray)
    }


def _adapter(path: Path, sizes: dict[str, int]) -> ModelFiles:
    adapter = adapter_from(_object(path / ADAPTER_CONFIG))
    name = "adapter_model.safetensors"
    if name in sizes:
        selected = safetensors_of({"model.safetensors": sizes[name]})
        assert selected is not None
        weights = StoredWeights(format="safetensors", files=selected.files, tensors=read_safetensors(path / name))
        return ModelFiles(where=str(path), layout="adapter", adapter=adapter, weights=weights)
    pickled = pickles_of({file: size for file, size in sizes.items() if file.startswith("adapter_model")})
    if pickled is None:
        raise ModelNotFoundError("the adapter has no weights: no adapter_model.safetensors", where=str(path))
    return ModelFiles(
        where=str(path),
        layout="adapter",
        adapter=adapter,
        weights=StoredWeights(format="pickle", files=pickled.files),
        notes=(pickle_note(pickled),),
    )


def _pipeline(path: Path, sizes: dict[str, int]) -> ModelFiles:
    return ModelFiles(where=str(path), layout="diffusers", components=components(sizes))


def components(sizes: dict[str, int]) -> tuple[Component, ...]:
    """The models of a diffusers pipeline, from file sizes."""
    return tuple(
        Component(name=name, bytes=selected.bytes, format=selected.files[0].name.rpartition(".")[2])
        for name, selected in components_of(sizes).items()
    )


def _object(file: Path) -> dict[str, Any]:
    return parse_object(_content(file), where=str(file))


def _content(file: Path) -> bytes:
    """What a small file holds; of one that is too long a byte more than the limit."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnsafeInputError(f"can't read the file: {error.strerror}", where=str(file)) from error
