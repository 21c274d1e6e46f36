"""The files of a repository on the Hub, by their headers: configuration and weights from metadata alone, in few requests.

One request gives config.json; headers come all in one where the Hub offers that, else by ranges, several files at a time. What was
pickled is never fetched, and no code is run.
"""

from __future__ import annotations

import msgspec

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UsageError
from fmkit.hub.client import HubClient, RangeIgnoredError
from fmkit.hub.contents import (
    ADAPTER_CONFIG,
    CONFIG,
    PIPELINE_INDEX,
    QUANT_CONFIG,
    adapter_from,
    components,
    indexed_files,
    missing_note,
    pickle_note,
    shared_keys,
    with_quantisation,
)
from fmkit.hub.files import GgufFacts, Layout, ModelFiles
from fmkit.hub.remote_files import RemoteFiles
from fmkit.hub.remote_headers import RemoteHeaders
from fmkit.hub.repository import Repository
from fmkit.hub.text_files import MAX_TEXT_BYTES, TEXT_FILES, gguf_facts, read_text_files
from fmkit.hub.weight_files import INDEX, GgufVariant, pickles_of, safetensors_of, variants_of
from fmkit.model.stored import StoredFile, StoredWeights
from fmkit.model.text import TextFacts
from fmkit.units import format_bytes

_PREFERRED = ("Q4_K_M", "MXFP4", "Q4_K_S", "Q4_0", "Q8_0")
"""The quantisation whose header is read, if nobody asked for one."""


def fetch_files(
    client: HubClient, repository: Repository, revision: str | None, label: str | None, *, text_files: bool = False
) -> ModelFiles:
    """Configuration and weight headers of the repository; `label` is the quantisation wanted of a repository of GGUF files.

    With `text_files` tokenizer, generation and chat template files are asked for too, instead of the Hub's summary of them.
    """
    remote = RemoteFiles(client, repository)
    reader = _Reader(remote, RemoteHeaders(remote, on_main=revision is None), text_files=text_files)
    sizes = repository.sizes
    if label is not None or not ({CONFIG, ADAPTER_CONFIG, PIPELINE_INDEX} & set(sizes)):
        variants = variants_of(sizes)
        if variants:
            return reader.gguf(variants, label)
    if CONFIG in sizes:
        return reader.model()
    if ADAPTER_CONFIG in sizes:
        return reader.adapter()
    if PIPELINE_INDEX in sizes:
        return ModelFiles(where=reader.where, layout="diffusers", components=components(sizes), notes=repository.notes)
    return reader.weights_only()


class _Reader:
    """Reads the files of one repository at one commit, as it is laid out."""

    def __init__(self, files: RemoteFiles, headers: RemoteHeaders, *, text_files: bool) -> None:
        self._files = files
        self._headers = headers
        self._repository = files.repository
        self._text_files = text_files
        self.where = files.where

    def model(self) -> ModelFiles:
        beside = self._files.document(QUANT_CONFIG) if QUANT_CONFIG in self._repository.sizes else None
        config = with_quantisation(self._files.document(CONFIG), beside)
        weights, notes = self._weights()
        text, text_notes = self._text()
        layout: Layout = "transformers" if weights is not None else "config-only"
        return ModelFiles(
            where=f"{self.where}/{CONFIG}", layout=layout, config=config, weights=weights, text=text,
            notes=(*self._repository.notes, *notes, *text_notes),
        )  # fmt: skip

    def _text(self) -> tuple[TextFacts | None, tuple[str, ...]]:
        """What is known of the tokenizer: from the Hub's summary, which costs nothing, or from the files themselves."""
        there = [name for name in TEXT_FILES if name in self._repository.sizes]
        if not self._text_files or not there:
            return self._repository.text, ()
        bodies = self._files.client.get_all(self._text_file, there, self.where)
        found = dict(zip(there, bodies, strict=True))
        return read_text_files(there, lambda name: _body(found[name]), self.where)

    def _text_file(self, name: str) -> bytes | FmkitError:
        """One file, or what is wrong with it: nothing depends on it. A lost network is raised."""
        try:
            return self._files.body(name, limit=MAX_TEXT_BYTES)
        except NetworkNeededError:
            raise
        except FmkitError as error:
            return error

    def weights_only(self) -> ModelFiles:
        weights, notes = self._weights()
        if weights is None:
            raise ModelNotFoundError(
                f"{self._repository.hub_id} has no config.json and no weights that could be sized ({notes[0]})",
                where=self.where,
            )
        return ModelFiles(
            where=self.where, layout="weights-only", weights=weights, notes=(*self._repository.notes, *notes)
        )

    def adapter(self) -> ModelFiles:
        adapter = adapter_from(self._files.document(ADAPTER_CONFIG))
        name = "adapter_model.safetensors"
        sizes = self._repository.sizes
        notes = self._repository.notes
        if name in sizes:
            file = StoredFile(name, sizes[name])
            weights = StoredWeights(format="safetensors", files=(file,), tensors=self._headers.of_file(file))
        else:
            pickled = pickles_of({file: size for file, size in sizes.items() if file.startswith("adapter_model")})
            if pickled is None:
                raise ModelNotFoundError(f"{self._repository.hub_id} is an adapter without weights", where=self.where)
            weights, notes = StoredWeights(format="pickle", files=pickled.files), (*notes, pickle_note(pickled))
        return ModelFiles(where=self.where, layout="adapter", adapter=adapter, weights=weights, notes=notes)

    def gguf(self, variants: tuple[GgufVariant, ...], label: str | None) -> ModelFiles:
        complete = [one for one in variants if not one.selected.missing]
        notes = tuple(f"{one.label}: {missing_note(one.selected)}" for one in variants if one.selected.missing)
        if not complete:
            raise ModelNotFoundError(notes[0], where=self.where)
        chosen = _wanted(complete, label, self.where)
        header, weights = self._headers.gguf(chosen.selected)
        kept = [chosen] if label is not None else complete
        if len(kept) > 1:
            notes = (*notes, _sizes_note(chosen, self._repository.hub_id))
        return ModelFiles(
            where=self.where,
            layout="gguf",
            gguf=GgufFacts(keys=shared_keys(header), header_bytes=header.data_offset),
            text=gguf_facts(header.keys, header.vocabulary_tokens),
            variants=tuple(msgspec.structs.replace(one, weights=weights) if one is chosen else one for one in kept),
            notes=(*self._repository.notes, *notes),
        )

    def _weights(self) -> tuple[StoredWeights | None, tuple[str, ...]]:
        """The weights by their headers; by their sizes where they are pickled, or where the server sends no parts of files."""
        sizes = self._repository.sizes
        selected = safetensors_of(sizes)
        if selected is None and INDEX in sizes:
            selected = safetensors_of(sizes, indexed_files(self._files.document(INDEX), f"{self.where}/{INDEX}"))
        if selected is not None and selected.missing:
            return None, (f"{missing_note(selected)}; sized from config.json",)
        if selected is not None:
            try:
                return self._headers.safetensors(selected), ()
            except RangeIgnoredError:
                return None, (
                    f"this server sends no parts of files, so no header was read; the weight files take {format_bytes(selected.bytes)}",
                )
        pickled = pickles_of(sizes)
        if pickled is None:
            return None, ("the repository has no weights of the usual names",)
        if pickled.missing:
            return None, (f"{missing_note(pickled)}; sized from config.json",)
        return StoredWeights(format="pickle", files=pickled.files), (pickle_note(pickled),)


def _body(found: bytes | FmkitError) -> bytes:
    if isinstance(found, FmkitError):
        raise found
    return found


def _sizes_note(read: GgufVariant, hub_id: str) -> str:
    """What to say of quantisations whose headers were not read."""
    return (
        f"the header of {read.label} was read; of the others the file sizes count, the token embedding included, which stays with the host "
        f"on a GPU: fmkit vram {hub_id}:LABEL reads another"
    )


def _wanted(variants: list[GgufVariant], label: str | None, where: str) -> GgufVariant:
    if label is not None:
        found = next((one for one in variants if one.label.casefold() == label.casefold()), None)
        if found is None:
            hub_id = where.partition("@")[0]
            raise UsageError.unknown(
                "quantisation", label, [one.label for one in variants], where=where, next_command=f"fmkit vram {hub_id}"
            )
        return found
    by_label = {one.label: one for one in variants}
    return next((by_label[name] for name in _PREFERRED if name in by_label), variants[0])
