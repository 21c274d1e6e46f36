"""Which of a repository's files are a model's weights: by their names alone, for a folder on disk and for the Hub alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.model.stored import StoredFile, StoredWeights

INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
_LABEL = re.compile(r"(?:UD[-_])?(?:I?Q\d+|TQ\d|BF16|F16|F32|FP16|FP32|MXFP4|NVFP4)(?:_[A-Z0-9]+)*", re.IGNORECASE)
_NOT_A_MODEL = re.compile(r"(^|/)(mmproj|mtp[-.])|imatrix|draft", re.IGNORECASE)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_NOT_WEIGHTS = re.compile(r"training_args|optimizer|scheduler|rng_state|tokenizer|/?\d+_Pooling")
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|non_ema|ema)[.-]")
MAX_SHARDS = 10_000
MAX_VARIANTS = 1000
"""Quantisations of one repository; the most seen are about a hundred."""

MAX_COMPONENTS = 100
"""Models of one pipeline; the most seen are ten."""


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one model's weights, and those that its own names say are missing."""

    files: tuple[StoredFile, ...]
    missing: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the files that are there."""
        return sum(file.bytes for file in self.files)


class GgufVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One quantisation of a repository of GGUF files; `label` is what its name says (`Q4_K_M`).

    `weights` is set where the header of its files was read.
    """

    label: str
    selected: Selected
    weights: StoredWeights | None = None


def safetensors_of(sizes: Mapping[str, int], indexed: Collection[str] = ()) -> Selected | None:
    """The safetensors files that a model of this repository is loaded from; `indexed` are the names in its index, where that was read.

    >>> safetensors_of({"model-00001-of-00002.safetensors": 9, "model.fp16.safetensors": 5}).missing
    ('model-00002-of-00002.safetensors',)
    """
    if "model.safetensors" in sizes:
        return _present(["model.safetensors"], sizes)
    if indexed:
        return _present(sorted(indexed), sizes)
    return _shards("model", ".safetensors", sizes) or _only(sizes, ".safetensors")


def pickles_of(sizes: Mapping[str, int]) -> Selected | None:
    """The pickled weights of a repository: they are not opened, only their sizes count."""
    if "pytorch_model.bin" in sizes:
        return _present(["pytorch_model.bin"], sizes)
    sharded = _shards("pytorch_model", ".bin", sizes)
    if sharded is not None:
        return sharded
    names = [name for name in sizes if "/" not in name and name.endswith(_PICKLES) and not _NOT_WEIGHTS.search(name)]
    return _present(sorted(names), sizes) if names else None


def variants_of(sizes: Mapping[str, int]) -> tuple[GgufVariant, ...]:
    """The quantisations of a repository of GGUF files, the smallest first; the parts of a split file are one.

    UnsafeInputError for more than any repository has.

    >>> [v.label for v in variants_of({"m-Q8_0.gguf": 9, "m-UD-Q4_K_XL.gguf": 5, "mmproj-m-F16.gguf": 1})]
    ['UD-Q4_K_XL', 'Q8_0']
    """
    by_stem: dict[str, dict[str, int]] = {}
    for name in sorted(name for name in sizes if name.endswith(".gguf") and not _NOT_A_MODEL.search(name)):
        found = _SHARD.fullmatch(name)
        by_stem.setdefault(found["stem"] if found else name, {})[name] = sizes[name]
    _refuse_above(len(by_stem), MAX_VARIANTS, "quantisations")
    variants = []
    parts = 0
    for stem, files in by_stem.items():
        first = next(iter(files))
        selected = _shards(stem, ".gguf", files) or _present([first], files)
        parts += len(selected.files) + len(selected.missing)
        _refuse_above(parts, MAX_SHARDS, "parts of GGUF files")
        variants.append(GgufVariant(label=_label(first), selected=selected))
    return tuple(sorted(_distinct(variants), key=lambda variant: variant.selected.bytes))


def _refuse_above(count: int, most: int, noun: str) -> None:
    if count > most:
        raise UnsafeInputError(f"the repository claims more than {most:,} {noun}")


def components_of(sizes: Mapping[str, int]) -> dict[str, Selected]:
    """The weights of each folder of a diffusers repository: safetensors where there are any, without copies in other types.

    UnsafeInputError for more folders than any pipeline has.
    """
    by_folder: dict[str, dict[str, list[str]]] = {}
    for name in sorted(sizes):
        folder, inside, _ = name.partition("/")
        suffix = name[name.rfind(".") :]
        if inside and suffix in (".safetensors", ".bin") and not _VARIANT.search(name):
            by_folder.setdefault(folder, {}).setdefault(suffix, []).append(name)
    _refuse_above(len(by_folder), MAX_COMPONENTS, "models of a pipeline")
    return {folder: _present(names.get(".safetensors") or names[".bin"], sizes) for folder, names in by_folder.items()}


def _shards(stem: str, suffix: str, sizes: Mapping[str, int]) -> Selected | None:
    """All shards of that stem, the missing ones counted by what the names of the others say."""
    counts = {
        int(found["count"])
        for name in sizes
        if (found := _SHARD.fullmatch(name)) and found["stem"] == stem and found["suffix"] == suffix
    }
    if not counts:
        return None
    count = max(counts)
    if not 1 <= count <= MAX_SHARDS:
        return _present([name for name in sizes if name.startswith(f"{stem}-")], sizes)
    return _present([f"{stem}-{number:05}-of-{count:05}{suffix}" for number in range(1, count + 1)], sizes)


def _only(sizes: Mapping[str, int], suffix: str) -> Selected | None:
    """Weights under another name than usual: one file, or the shards of one stem, in the root."""
    names = [
        name for name in sizes
        if "/" not in name and name.endswith(suffix) and not _VARIANT.search(name) and not name.startswith("adapter_")
    ]  # fmt: skip
    stems = {found["stem"] for name in names if (found := _SHARD.fullmatch(name))}
    if len(stems) == 1:
        return _shards(stems.pop(), suffix, sizes)
    return _present(names, sizes) if len(names) == 1 else None


def _present(names: Collection[str], sizes: Mapping[str, int]) -> Selected:
    return Selected(
        files=tuple(StoredFile(name, sizes[name]) for name in names if name in sizes),
        missing=tuple(name for name in names if name not in sizes),
    )


def _label(name: str) -> str:
    """The quantisation that a file's name states: the last that looks like one; else the name without its ending.

    >>> _label("Q4_K_M/model-Q4_K_M-00001-of-00003.gguf"), _label("tiny.gguf"), _label("Qwen3-8B-bf16.gguf")
    ('Q4_K_M', 'tiny', 'BF16')
    """
    found = [match for match in _LABEL.findall(name) if match]
    return found[-1].upper() if found else name.rpartition("/")[2].removesuffix(".gguf")


def _distinct(variants: list[GgufVariant]) -> list[GgufVariant]:
    """Labels made unique: a repository can hold two models."""
    labels = Counter(variant.label for variant in variants)
    return [
        variant
        if labels[variant.label] == 1
        else msgspec.structs.replace(variant, label=variant.selected.files[0].name.removesuffix(".gguf"))
        for variant in variants
    ]
