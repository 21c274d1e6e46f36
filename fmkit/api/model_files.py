"""From what files say to a model that can be sized: architecture and stored tensors joined, adapters put on their base, quantisations told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.api.resolve import FileVariant, ResolvedModel
from fmkit.errors import ArchitectureUnknownError, UnsafeInputError, UsageError
from fmkit.hub.repository import HUB_ID
from fmkit.model.architectures import read
from fmkit.model.gguf_spec import read_gguf_spec
from fmkit.model.positions import rope_scaling, scaling_note
from fmkit.model.spec import ModelSpec, TensorGroup
from fmkit.model.stored_parts import with_stored
from fmkit.model.text import TextFacts
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.hub.files import Adapter, GgufFacts, ModelFiles
    from fmkit.hub.weight_files import GgufVariant
    from fmkit.model.stored import StoredWeights

Resolve = Callable[[str], ResolvedModel]

_HEADER_SOURCE = "the header of the file"


def resolved_files(found: ResolvedModel, files: ModelFiles, resolve: Resolve | None) -> ResolvedModel:
    """The model `found`, completed by what its files say; `resolve` finds the base of an adapter; None where there may be none.

    Raises ArchitectureUnknownError where config.json is not understood, and what resolving the base raises.
    """
    found = msgspec.structs.replace(found, files=files, text=files.text)
    if files.layout == "adapter":
        if resolve is None:
            raise UnsafeInputError("an adapter names another adapter as its base", where=files.where)
        return _on_base(found, files, resolve)
    if files.layout == "gguf":
        return _of_variants(found, files)
    if files.config is None:
        return found
    spec = _read(files.config, files)
    if files.weights is not None:
        spec = _with_weights(spec, files.weights)
    scaled, unreachable = scaling_note(files.config), _beyond_embedding(files.text, spec)
    notes = (*spec.notes, *(note for note in (scaled, unreachable) if note is not None), *files.notes)
    scaling = rope_scaling(files.config)
    text = found.text
    if scaling is not None:
        text = msgspec.structs.replace(text or TextFacts(source="config.json"), rope_scaling=scaling)
    return msgspec.structs.replace(found, spec=msgspec.structs.replace(spec, notes=notes), text=text)


def _beyond_embedding(text: TextFacts | None, spec: ModelSpec) -> str | None:
    """What to say where the tokenizer adds words that the embedding has no row for; None where it does not, or that is not known."""
    rows = spec.vocab_size
    highest = text.highest_added_id if text is not None else None
    if highest is None or not rows or highest < rows:
        return None
    return f"the tokenizer adds words up to number {highest:,}, and the embedding has {rows:,} rows: it has to be lengthened before use"


def _read(config: dict[str, Any], files: ModelFiles) -> ModelSpec:
    """The architecture; where it is not understood, the error says at least what the weights take."""
    try:
        return read(config, where=files.where)
    except ArchitectureUnknownError as error:
        if files.weights is None:
            raise
        size = format_bytes(files.weights.tensor_bytes)
        raise ArchitectureUnknownError(
            f"{error.message}; the weights alone take {size} as stored",
            where=error.where,
            next_command=error.next_command,
        ) from error


def _with_weights(spec: ModelSpec, weights: StoredWeights) -> ModelSpec:
    if weights.tensors:
        return with_stored(spec, weights.tensors)
    buffers = tuple(group for group in spec.tensors if group.part == "buffer")
    return msgspec.structs.replace(spec, stored_tensors=(_whole(weights.file_bytes), *buffers))


def _whole(size: int) -> TensorGroup:
    """A file that is not opened, as one block of bytes; I8 is a name that ggml and llama.cpp's rules know."""
    return TensorGroup(name="files", part="whole", module="parameter", shape=(size,), dtype="I8", quantisable=False)


def _on_base(found: ResolvedModel, files: ModelFiles, resolve: Resolve) -> ResolvedModel:
    adapter, weights = files.adapter, files.weights
    assert adapter is not None
    assert weights is not None
    base = resolve(_base_of(adapter, found, files.where))
    if base.spec is None or base.engine is not None:
        raise UsageError(f"the adapter's base {base.ref} can't be sized with an adapter on it", where=files.where)
    groups = tuple(_adapter_groups(weights))
    rank = f", rank {adapter.rank}" if adapter.rank else ""
    note = (
        f"a {adapter.method} adapter{rank} of {format_bytes(weights.tensor_bytes)} on {base.hub_id or base.ref}; PEFT holds an adapter "
        "in float32 unless autocast_adapter_dtype is off"
    )
    spec = msgspec.structs.replace(
        base.spec,
        tensors=(*base.spec.tensors, *groups),
        stored_tensors=(*base.spec.stored_tensors, *groups) if base.spec.stored_tensors else (),
        notes=(*base.spec.notes, note, *files.notes),
    )
    return msgspec.structs.replace(found, spec=spec, confidence=base.confidence, source=base.source, path=None)


def _base_of(adapter: Adapter, found: ResolvedModel, where: str) -> str:
    """The reference of the base model; a path only where the adapter itself lies on this disk."""
    if adapter.base is None:
        raise ArchitectureUnknownError("adapter_config.json does not say which model the adapter is for", where=where)
    if HUB_ID.fullmatch(adapter.base) or found.hub_id is None:
        return adapter.base
    raise UnsafeInputError(f"the adapter names {adapter.base[:80]!r} as its base, which is no Hub id", where=where)


def _adapter_groups(weights: StoredWeights) -> Iterable[TensorGroup]:
    if not weights.tensors:
        yield msgspec.structs.replace(_whole(weights.file_bytes), part="adapter")
    for tensor in weights.tensors:
        dtype = "float32" if tensor.dtype in ("float16", "bfloat16") else tensor.dtype
        yield TensorGroup(
            name=tensor.name, part="adapter", module="parameter", shape=tensor.shape, dtype=dtype, quantisable=False, from_header=True
        )  # fmt: skip


def _of_variants(found: ResolvedModel, files: ModelFiles) -> ResolvedModel:
    assert files.gguf is not None
    known = next(variant.weights for variant in files.variants if variant.weights is not None)
    model = read_gguf_spec(files.gguf.keys, known.tensors, where=files.where)
    variants = tuple(_variant(variant, model, files.gguf, files.where) for variant in files.variants)
    if len(variants) == 1:
        return msgspec.structs.replace(found, spec=variants[0].spec, engine="llama.cpp", source=_HEADER_SOURCE)
    return msgspec.structs.replace(found, spec=model, engine="llama.cpp", variants=variants, source=_HEADER_SOURCE)


def _variant(variant: GgufVariant, model: ModelSpec, facts: GgufFacts, where: str) -> FileVariant:
    file = variant.selected.files[0].name
    if variant.weights is not None:
        spec = read_gguf_spec(facts.keys, variant.weights.tensors, where=f"{where}/{file}")
    else:
        spec = msgspec.structs.replace(model, tensors=(_whole(max(0, variant.selected.bytes - facts.header_bytes)),))
    return FileVariant(label=variant.label, file=file, file_bytes=variant.selected.bytes, spec=spec)
