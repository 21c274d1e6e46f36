"""What the documents, names and headers of a model's files say: the same for a folder on this disk and a repository of the Hub."""

from __future__ import annotations

from typing import Any

from fmkit.errors import UnsafeInputError
from fmkit.hub.files import Adapter, Component
from fmkit.hub.gguf_header import GgufHeader, SkippedArray
from fmkit.hub.weight_files import Selected, components_of
from fmkit.model.stored import StoredFile, StoredTensor
from fmkit.units import format_bytes

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
QUANT_CONFIG = "hf_quant_config.json"
"""Where NVIDIA ModelOpt writes down how weights are stored; newer versions say it in config.json too."""

PIPELINE_INDEX = "model_index.json"


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
    """The weight files that an index names; UnsafeInputError for a name that leads out of the folder."""
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


def dense_files(sizes: dict[str, int]) -> list[StoredFile]:
    """The weights of the dense layers that sentence-transformers puts behind a model."""
    return [StoredFile(name, size) for name, size in sorted(sizes.items()) if name.endswith("_Dense/model.safetensors")]


def shared_keys(header: GgufHeader) -> dict[str, Any]:
    """The keys of a header that sizing asks for: those of the architecture, without the vocabulary."""
    return {
        name: value
        for name, value in header.keys.items()
        if not name.startswith("tokenizer.") and not isinstance(value, SkippedArray)
    }


def components(sizes: dict[str, int]) -> tuple[Component, ...]:
    """The models of a diffusers pipeline, from file sizes."""
    return tuple(
        Component(name=name, bytes=selected.bytes, format=selected.files[0].name.rpartition(".")[2])
        for name, selected in components_of(sizes).items()
    )
