"""Source files -> the compiled catalog."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import fmkit
from fmkit.catalog import convert
from fmkit.catalog.checks.follow_ups import without_follow_ups
from fmkit.catalog.faults import invalid
from fmkit.catalog.lines import with_lines
from fmkit.catalog.links import Links, link
from fmkit.catalog.paths import own_names, reader_files, source_files
from fmkit.catalog.records import CHECKSUM_BYTES, FORMAT, Compiled, FileStamp, Head, StoredModel
from fmkit.catalog.sources import Sources, read_sources
from fmkit.catalog.training import training
from fmkit.catalog.traits import read_traits
from fmkit.errors import FmkitError
from fmkit.selection.abilities import abilities
from fmkit.selection.facts import Candidate, CatalogAge, Score, Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fmkit.model.spec import ModelSpec

_encode = msgspec.msgpack.encode


def compile_catalog(folder: Path, stamps: list[FileStamp] | None = None) -> Compiled:
    """The compiled form of the files in `folder`; CatalogInvalidError lists all faults that make that impossible.

    Rules that a catalog breaks without becoming unreadable (an absent source, an implausible figure) are `check`'s.
    """
    return compile_sources(read_sources(folder), stamps or [], content_hash(folder))


def compile_sources(sources: Sources, stamps: list[FileStamp], content: str) -> Compiled:
    """The compiled form of sources that were read; `content` is the hash of all they were read from."""
    links = link(sources)
    faults = without_follow_ups([*sources.faults, *links.faults], sources, links)
    if faults:
        raise invalid(with_lines(faults, sources), where=str(sources.folder))
    scores = _scores_by_model(sources, links)
    candidates: dict[str, Candidate] = {}
    models: dict[str, StoredModel] = {}
    read_specs: dict[tuple[str, bool], tuple[ModelSpec | None, str | None]] = {}
    traits: dict[tuple[str, bool], Traits | None] = {}
    for model_id, model in links.open_models.items():
        file = links.config_file(model_id)
        if file is None:
            raise AssertionError(model_id)  # link() refuses such a model
        kind = file, model.entry.tuning == "embedding"
        if kind not in read_specs:
            spec, fault = read_specs[kind] = read_spec(sources, file, embedder=kind[1])
            traits[kind] = None if spec is None else read_traits(sources.read_config(file), spec)
        spec, fault = read_specs[kind]
        row = sources.configs[file]
        candidates[model_id] = convert.open_candidate(
            model_id, model.family_id, model.family, model.entry, spec, row, scores.get(model_id, ()),
            training(links, model_id), traits[kind],
        )  # fmt: skip
        models[model_id] = StoredModel(
            spec=_used(_limited(spec, model.entry.context_tokens), candidates[model_id]),
            config_confidence=row.confidence,
            config_source=row.source,
            config_file=file,
            spec_fault=fault,
        )
    for model_id, (provider_id, entry) in links.api_models.items():
        candidates[model_id] = convert.api_candidate(
            model_id, provider_id, sources.apis[provider_id], entry, scores.get(model_id, ())
        )
        models[model_id] = StoredModel()
    head = Head(format=FORMAT, fmkit=fmkit.__version__, content=content, stamps=stamps)
    return _assemble(head, sources, links, candidates, models)


def _limited(spec: ModelSpec | None, stated_tokens: int | None) -> ModelSpec | None:
    """The architecture with the publisher's limit where positions leave the length open; a hard limit stays config.json's."""
    if spec is None or stated_tokens is None or spec.context_is_hard:
        return spec
    return msgspec.structs.replace(spec, max_context_tokens=stated_tokens)


def _used(spec: ModelSpec | None, candidate: Candidate) -> ModelSpec | None:
    """The architecture as it is used: a model whose outputs are vectors or scores makes one pass, whatever its class could do."""
    if spec is None or not spec.writes or set(candidate.outputs) - {"embedding", "score"}:
        return spec
    return msgspec.structs.replace(spec, reads_only=True)


def _assemble(
    head: Head, sources: Sources, links: Links, candidates: Mapping[str, Candidate], models: Mapping[str, StoredModel]
) -> Compiled:
    devices = {
        device_id: convert.device(device_id, vendor, entry) for device_id, (vendor, entry) in links.devices.items()
    }
    return Compiled(
        head=head,
        date=sources.date,
        names=links.names,
        candidates={key: _raw(value) for key, value in candidates.items()},
        models={key: _raw(value) for key, value in models.items()},
        devices=_raw(devices),
        device_aliases={name: owner for name, owner in links.device_names.items() if name != owner},
        licences=_raw({key: convert.licence(key, entry) for key, entry in sources.licences.licences.items()}),
        tasks=_raw(_with_ids(sources.tasks.tasks)),
        engines=_raw(_with_ids(sources.engines)),
        layouts=_raw(_with_ids(sources.precisions.layouts)),
        precisions=_raw(_with_ids(sources.precisions.precisions)),
        sizes=_raw(_with_ids(sources.sizes.sizes)),
        quality_losses=_raw([loss for _, loss in sources.quality_losses]),
        cloud_prices=_raw([price for _, price in sources.cloud_prices]),
        speed=_raw(sources.speed),
        capability=_raw(sources.capability),
        abilities=_raw(abilities(candidates.values(), sources.capability)),
        age=_age(candidates.values()),
    )


def _age(candidates: Iterable[Candidate]) -> CatalogAge:
    found = list(candidates)
    return CatalogAge(
        newest_open_model=max((one.released for one in found if one.api is None and one.released), default=None),
        newest_api_model=max((one.released for one in found if one.api is not None and one.released), default=None),
        newest_score=max(
            (score.source_date for one in found for score in one.scores if score.source_date), default=None
        ),
        undated_open_models=sum(one.api is None and not one.released for one in found),
        undated_api_models=sum(one.api is not None and not one.released for one in found),
    )


def encode(compiled: Compiled) -> bytes:
    """The bytes of a compiled catalog's file: checksum, then msgpack."""
    content = _encode(compiled)
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "big") + content


def content_hash(folder: Path, own: Path | None = None) -> str:
    """A hash over the contents of the catalog's files, the user's own among them, and of the program files that read them."""
    digest = hashlib.sha256()
    folders = [folder] if own is None or not own.is_dir() else [folder, own]
    named = [(path.relative_to(place), path) for place in folders for path in source_files(place)]
    named += _named(reader_files())
    for name, path in named:
        content = path.read_bytes()
        digest.update(f"{name.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    if own is not None and own.is_dir():
        digest.update("\0".join(own_names(own)).encode(errors="surrogateescape"))  # what is not read is a fault too
    return digest.hexdigest()


def _named(paths: Iterable[Path]) -> Iterable[tuple[Path, Path]]:
    package = Path(fmkit.__file__).parent
    return ((path.relative_to(package), path) for path in paths)


def _raw(value: object) -> memoryview:
    return memoryview(_encode(value))


def _with_ids(records: Mapping[str, Any]) -> dict[str, Any]:
    """The records with their key as `id`: files don't repeat it."""
    return {key: msgspec.structs.replace(record, id=key) for key, record in records.items()}


def _scores_by_model(sources: Sources, links: Links) -> dict[str, list[Score]]:
    """Scores by catalog id, best known benchmark order: by file, then by line. Rows of unknown models are `check`'s."""
    found: dict[str, list[Score]] = {}
    for benchmark, rows in sources.scores.items():
        for _, row in rows:
            if row.model in links.open_models or row.model in links.api_models:
                found.setdefault(row.model, []).append(convert.score(benchmark, row))
    return found


def read_spec(sources: Sources, file: str, *, embedder: bool = False) -> tuple[ModelSpec | None, str | None]:
    """The architecture in a config file, in the class that an embedding model is loaded in for `embedder`; or None and why it could not be read."""
    from fmkit.model.architectures import read  # noqa: PLC0415 - needed when compiling only
    from fmkit.model.architectures.embedder import embedder_config  # noqa: PLC0415

    reader: Callable[..., ModelSpec] = read
    try:
        config = sources.read_config(file)
        return reader(embedder_config(config) if embedder else config, where=f"configs/{file}"), None
    except FmkitError as error:
        return None, error.message
    except Exception as error:  # noqa: BLE001 - one config must not take the other models with it; `check` refuses it
        return None, f"the reader failed: {type(error).__name__}: {error}"
