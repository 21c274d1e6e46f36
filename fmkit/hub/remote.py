"""The files of a repository on the Hub, by their headers: configuration and weights from metadata alone, in few requests.

One request gives config.json; headers come all in one where the Hub offers that, else by ranges, several files at a time. What was
pickled is never fetched, and no code is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any
from urllib.parse import quote

import msgspec

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub.answer import Answer
from fmkit.hub.client import HubClient, RangeIgnoredError
from fmkit.hub.document import MAX_BYTES, parse_object
from fmkit.hub.files import GgufFacts, Layout, ModelFiles
from fmkit.hub.gguf import MAX_HEADER_BYTES as MAX_GGUF_BYTES
from fmkit.hub.gguf import GgufHeader, HeaderTooLongError, parse_gguf
from fmkit.hub.local import (
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
    unique,
    with_quantisation,
)
from fmkit.hub.refusals import gated, refusal
from fmkit.hub.repository import Repository
from fmkit.hub.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, header_bytes, parse_header
from fmkit.hub.text_files import MAX_TEXT_BYTES, TEXT_FILES, gguf_facts, read_text_files
from fmkit.hub.weight_files import INDEX, GgufVariant, Selected, pickles_of, safetensors_of, variants_of
from fmkit.model.stored import StoredFile, StoredTensor, StoredWeights
from fmkit.model.text import TextFacts
from fmkit.units import format_bytes

MAX_ALL_HEADERS_BYTES = 32_000_000
MOST_COMBINED = 500
"""Files whose headers are asked for in one answer; the most seen are 191."""

MAX_ALL_TENSORS = 160_000
"""Tensors of all files together; the most seen are 140,000."""

_FIRST_RANGE = 100_000
"""Bytes of a shard that are asked for first: a header is seldom longer."""

_LONG_HEADER_BYTES = 2_000_000
"""Headers from this length on are read one at a time: what several threads hold would add up."""

_GGUF_STEPS = (2 * 1024**2, 10 * 1024**2, 18 * 1024**2, 34 * 1024**2, 50 * 1024**2)
"""Where the growing ranges of a GGUF header end: 8 MB is usual, 11 MB the longest seen."""

_PREFERRED = ("Q4_K_M", "MXFP4", "Q4_K_S", "Q4_0", "Q8_0")
"""The quantisation whose header is read, if nobody asked for one."""


def fetch_files(
    client: HubClient, repository: Repository, revision: str | None, label: str | None, *, text_files: bool = False
) -> ModelFiles:
    """Configuration and weight headers of the repository; `label` is the quantisation wanted of a repository of GGUF files.

    With `text_files` tokenizer, generation and chat template files are asked for too, instead of the Hub's summary of them.
    """
    reader = _Reader(client, repository, revision, text_files=text_files)
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
    """Reads the files of one repository at one commit."""

    def __init__(self, client: HubClient, repository: Repository, revision: str | None, *, text_files: bool) -> None:
        self._client = client
        self._repository = repository
        self._on_main = revision is None
        self._text_files = text_files
        self._tensor_count = 0
        self._lock = Lock()
        self._one_long_header = Lock()
        self.where = f"{repository.hub_id}@{repository.commit[:12]}"

    def model(self) -> ModelFiles:
        beside = self._document(QUANT_CONFIG) if QUANT_CONFIG in self._repository.sizes else None
        config = with_quantisation(self._document(CONFIG), beside)
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
        bodies = self._client.get_all(self._text_file, there, self.where)
        found = dict(zip(there, bodies, strict=True))

        def read(name: str) -> bytes:
            body = found[name]
            if isinstance(body, FmkitError):
                raise body
            return body

        return read_text_files(there, read, self.where)

    def _text_file(self, name: str) -> bytes | FmkitError:
        """One file, or what is wrong with it: nothing depends on it. A lost network is raised."""
        try:
            return self._file(name, limit=MAX_TEXT_BYTES, span=None, where=f"{self.where}/{name}").body
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
        adapter = adapter_from(self._document(ADAPTER_CONFIG))
        name = "adapter_model.safetensors"
        sizes = self._repository.sizes
        notes = self._repository.notes
        if name in sizes:
            file = StoredFile(name, sizes[name])
            weights = StoredWeights(format="safetensors", files=(file,), tensors=self._header(file))
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
        header, weights = self._gguf_weights(chosen.selected)
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
            selected = safetensors_of(sizes, indexed_files(self._document(INDEX), f"{self.where}/{INDEX}"))
        if selected is not None and selected.missing:
            return None, (f"{missing_note(selected)}; sized from config.json",)
        if selected is not None:
            try:
                return self._safetensors(selected), ()
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

    def _safetensors(self, selected: Selected) -> StoredWeights:
        dense = [
            StoredFile(name, size)
            for name, size in self._repository.sizes.items()
            if name.endswith("_Dense/model.safetensors")
        ]
        files = (*selected.files, *dense)
        one_answer = self._on_main and 1 < len(files) <= MOST_COMBINED and not dense
        combined = self._all_headers(files) if one_answer else None
        headers = combined or self._client.get_all(self._header, files, self.where)
        tensors = unique([tensor for header in headers for tensor in header], self.where)
        return StoredWeights(format="safetensors", files=files, tensors=tensors)

    def _all_headers(self, files: tuple[StoredFile, ...]) -> list[tuple[StoredTensor, ...]] | None:
        """All headers in one request, where the Hub has that route (it answers for `main` only); None where not, or where it disagrees."""
        path = f"/api/models/{self._repository.hub_id}/safetensors-metadata/{INDEX}"
        answer = self._client.get(path, limit=MAX_ALL_HEADERS_BYTES, where=self.where)
        if answer.status != 200:
            return None
        found = _named_headers(answer.body, [file.name for file in files])
        if found is None:
            return None
        try:
            headers = [
                self._parsed(header, None, f"{self.where}/{file.name}")
                for header, file in zip(found, files, strict=True)
            ]
        except UnsafeInputError:  # a mirror may have another idea of this route; the files decide
            headers = []
        if not headers or any(not _plausible(header, file) for header, file in zip(headers, files, strict=True)):
            self._tensor_count = 0
            return None
        return headers

    def _header(self, file: StoredFile) -> tuple[StoredTensor, ...]:
        """The header of one file, in one range, or two if it is long. What it claims is held against the size the Hub gave."""
        where = f"{self.where}/{file.name}"
        if file.bytes < LENGTH_BYTES:
            raise UnsafeInputError(f"{file.bytes} bytes are no safetensors file", where=where)
        data = self._range(file, 0, min(_FIRST_RANGE, file.bytes) - 1, where)
        length = header_bytes(data[:LENGTH_BYTES], file_bytes=file.bytes, where=where)
        end = LENGTH_BYTES + length
        with self._one_long_header if end > _LONG_HEADER_BYTES else nullcontext():
            header = data[LENGTH_BYTES:end]
            if end > len(data):
                header += self._range(file, len(data), end - 1, where)
            return self._parsed(header, file.bytes - end, where)

    def _parsed(self, header: bytes, data_bytes: int | None, where: str) -> tuple[StoredTensor, ...]:
        """The tensors of one header; one header at a time, and counted before they become objects."""
        with self._lock:
            self._tensor_count += header.count(b'"data_offsets"')
            if self._tensor_count > MAX_ALL_TENSORS:
                raise UnsafeInputError(f"the model lists more than {MAX_ALL_TENSORS:,} tensors", where=self.where)
            return parse_header(header, data_bytes=data_bytes, where=where)

    def _gguf_weights(self, selected: Selected) -> tuple[GgufHeader, StoredWeights]:
        headers = self._client.get_all(self._gguf_header, selected.files, self.where)
        tensors = unique([tensor for header in headers for tensor in header.tensors], self.where)
        return headers[0], StoredWeights(format="gguf", files=selected.files, tensors=tensors)

    def _gguf_header(self, file: StoredFile) -> GgufHeader:
        """The header of one file, read in growing ranges: nobody knows beforehand how long a vocabulary is."""
        where = f"{self.where}/{file.name}"
        first = self._range(file, 0, min(_GGUF_STEPS[0], file.bytes) - 1, where)
        try:
            return parse_gguf(first, file_bytes=file.bytes, where=where)
        except HeaderTooLongError:
            with self._one_long_header:
                return self._long_gguf_header(file, first, where)

    def _long_gguf_header(self, file: StoredFile, data: bytes, where: str) -> GgufHeader:
        for step in _GGUF_STEPS[1:]:
            end = min(step, file.bytes, MAX_GGUF_BYTES)
            if end <= len(data):
                break
            data += self._range(file, len(data), end - 1, where)
            try:
                return parse_gguf(data, file_bytes=file.bytes, where=where)
            except HeaderTooLongError:
                continue
        raise UnsafeInputError("the header does not end within the file, or within 50 MiB", where=where)

    def _range(self, file: StoredFile, first: int, last: int, where: str) -> bytes:
        answer = self._file(file.name, limit=last - first + 1, span=(first, last), where=where)
        if answer.total_bytes is not None and answer.total_bytes != file.bytes:
            raise UnsafeInputError(
                f"the file is {answer.total_bytes:,} bytes long, and the Hub said {file.bytes:,}", where=where
            )
        if len(answer.body) != last - first + 1:
            raise UnsafeInputError(
                f"{len(answer.body):,} bytes came where {last - first + 1:,} were asked for", where=where
            )
        return answer.body

    def _document(self, name: str) -> dict[str, Any]:
        where = f"{self.where}/{name}"
        return parse_object(self._file(name, limit=MAX_BYTES, span=None, where=where).body, where=where)

    def _file(self, name: str, *, limit: int, span: tuple[int, int] | None, where: str) -> Answer:
        repository = self._repository
        path = f"/{repository.hub_id}/resolve/{repository.commit}/{quote(name)}"
        answer = self._client.get(path, limit=limit, span=span, where=where)
        if answer.status == (206 if span is not None else 200):
            return answer
        if repository.gated and answer.status in (401, 403):
            raise gated(repository.hub_id, where, token_sent=answer.token_sent)
        if answer.status == 404 and answer.error_code in ("", "EntryNotFound"):
            raise ModelNotFoundError(f"the Hub lists {name} in {repository.hub_id} and does not have it", where=where)
        raise refusal(answer, repository.hub_id, repository.commit, where)


def _named_headers(body: bytes, names: Sequence[str]) -> list[bytes] | None:
    """The headers of these files in an answer that has all of them, each still JSON; None where one is missing.

    What else the answer names is stepped over: of a few bytes for each name, millions would fit into it.
    """
    fields = {f"file_{number}": name for number, name in enumerate(names)}
    headers = msgspec.defstruct("Headers", [(field, msgspec.Raw) for field in fields], rename=fields)
    combined = msgspec.defstruct("Combined", [("headers", headers)])
    try:
        found = msgspec.json.decode(body, type=combined).headers  # type: ignore[attr-defined]
    except (ValueError, RecursionError):
        return None
    return [bytes(getattr(found, field)) for field in fields]


def _sizes_note(read: GgufVariant, hub_id: str) -> str:
    """What to say of quantisations whose headers were not read."""
    return (
        f"the header of {read.label} was read; of the others the file sizes count, the token embedding included, which stays with the host "
        f"on a GPU: fmkit vram {hub_id}:LABEL reads another"
    )


def _plausible(header: tuple[StoredTensor, ...], file: StoredFile) -> bool:
    """Whether a header that came without its file can belong to it: the tensors fill the file but for the header itself."""
    return LENGTH_BYTES < file.bytes - sum(tensor.bytes for tensor in header) <= MAX_HEADER_BYTES


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
