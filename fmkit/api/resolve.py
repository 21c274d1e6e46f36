"""From what people type of a model to its facts: a reference into the catalog, to the Hub, or to a path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.asked import text
from fmkit.errors import ModelNotFoundError, UsageError, nearest_phrase
from fmkit.model.spec import ModelSpec
from fmkit.selection.facts import Candidate
from fmkit.trial.embedded import EMBEDDED, MODEL_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.catalog.load import Catalog
    from fmkit.hub.files import ModelFiles
    from fmkit.model.text import TextFacts


class FileVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One quantisation of a repository of GGUF files, as a model of its own."""

    label: str
    file: str
    file_bytes: int
    spec: ModelSpec


class ResolvedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as fmkit understood the reference: from the catalog, the Hub, or a path (`path` is set).

    `engine` is set where the file is for one engine only (GGUF: llama.cpp). `spec` is None for a model that only an API
    offers, and for files without a config.json; `confidence` says how sure config.json is. `files` is set where files
    were looked at, `text` where they say something of tokenizer and positions; `variants` are the quantisations of a
    repository of GGUF files, the smallest first. `hub_licence` and `gated` are what the Hub says of a model that it was asked about.
    """

    ref: str
    id: str
    hub_id: str | None
    revision: str | None
    spec: ModelSpec | None
    candidate: Candidate | None
    confidence: str | None
    source: str | None
    path: Path | None = None
    engine: str | None = None
    files: ModelFiles | None = None
    text: TextFacts | None = None
    variants: tuple[FileVariant, ...] = ()
    hub_licence: str | None = None
    gated: bool | None = None


def resolve_model(
    ref: str,
    catalog: Catalog,
    *,
    offline: bool = False,
    say: Callable[[str], None] | None = None,
    is_base: bool = False,
    text_files: bool = False,
) -> ResolvedModel:
    """The model that `ref` names: the embedded one, a path, a catalog id or alias, a Hub id the catalog has, or one to ask the Hub for.

    `say` hears when the Hub is asked; `is_base` says that an adapter names the model as its base, which has to be no
    adapter itself; `text_files` asks the Hub for tokenizer, generation and chat template files too. Raises UsageError for an unknown name (with the nearest), ModelNotFoundError, NetworkNeededError,
    and what reading a config.json raises.
    """
    if not text(ref, "MODEL").strip():
        raise UsageError("name a model: nothing was given", where="MODEL", next_command="fmkit catalog list")
    if ref == EMBEDDED:
        found_here = _from_path(str(MODEL_PATH), catalog, offline=True, say=say, is_base=is_base)
        return msgspec.structs.replace(found_here, id=EMBEDDED, ref=EMBEDDED)
    ref = hub_reference(ref)
    if ref.startswith((".", "/", "~")) or ref.endswith((".json", ".gguf", ".safetensors")) or _holds(Path.is_dir, ref):
        return _from_path(ref, catalog, offline=offline, say=say, is_base=is_base)
    name, _, revision = ref.partition("@")
    found = catalog.resolve(name)
    if found is not None and not revision:
        return _from_catalog(ref, found, catalog)
    # a file of any other name; one that is called like a model of the catalog is not meant
    if _holds(Path.exists, ref):
        return _from_path(ref, catalog, offline=offline, say=say, is_base=is_base)
    if "/" in name:
        return from_hub(
            ref, name, revision or None, catalog, offline=offline, say=say, is_base=is_base, text_files=text_files
        )
    catalog.refuse_if_left_out(name)
    raise UsageError(
        f"unknown model {ref!r}{nearest_phrase(name, catalog.model_ids())}",
        next_command="fmkit catalog list",
    )


_ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>[^/?#]+/[^/?#]+)"
    r"(?:/(?:tree|blob|resolve|raw)/(?P<revision>[^/?#]+)(?:/[^?#]*)?)?/?(?:[?#].*)?"
)


def hub_reference(ref: str) -> str:
    """The Hub id in the address of a model's page or of one of its files; anything else as it is.

    >>> hub_reference("https://huggingface.co/org/name/blob/v1.0/config.json"), hub_reference("hf.co/org/name"), hub_reference("gpt2")
    ('org/name@v1.0', 'org/name', 'gpt2')
    """
    found = _ADDRESS.fullmatch(ref.strip())
    if found is None:
        return ref
    revision = found["revision"]
    return found["id"] if revision in (None, "main") else f"{found['id']}@{revision}"


def _holds(of: Callable[[Path], bool], ref: str) -> bool:
    """Whether `ref` is a path of which that is so."""
    try:
        return of(Path(ref))
    except (OSError, ValueError):  # too long, or with a null character: no path
        return False


def _from_catalog(ref: str, model_id: str, catalog: Catalog) -> ResolvedModel:
    model = catalog.model(model_id)
    if model.spec is None and model.candidate.api is None:
        raise ModelNotFoundError(
            f"{model_id} is in the catalog, but its config.json can't be read by this version",
            next_command=f"fmkit catalog show {model_id}",
        )
    return ResolvedModel(
        ref=ref,
        id=model_id,
        hub_id=model.candidate.hub_id,
        revision=None,
        spec=model.spec,
        candidate=model.candidate,
        confidence=model.config_confidence,
        source=model.config_source,
    )


def _from_path(
    ref: str, catalog: Catalog, *, offline: bool, say: Callable[[str], None] | None, is_base: bool
) -> ResolvedModel:
    from fmkit.api.model_files import resolved_files  # noqa: PLC0415  file access only when a path was given
    from fmkit.hub.local import read_folder, read_weight_file  # noqa: PLC0415

    path = Path(ref).expanduser()
    if path.suffix == ".gguf":
        return _from_gguf(ref, path)
    files = read_weight_file(path) if path.suffix == ".safetensors" else read_folder(path)
    folder = path if path.is_dir() else path.parent
    name = folder.resolve().name if path.is_dir() or path.name == "config.json" else path.name
    found = ResolvedModel(
        ref=ref,
        id=name or ref,
        hub_id=None,
        revision=None,
        spec=None,
        candidate=None,
        confidence="verbatim",
        source=f"the file {path}",
        path=folder,
    )
    return resolved_files(found, files, None if is_base else _base_resolver(catalog, offline=offline, say=say))


def _from_gguf(ref: str, path: Path) -> ResolvedModel:
    from fmkit.hub.gguf import read_gguf_set  # noqa: PLC0415  file access only when a path was given
    from fmkit.hub.text_files import gguf_facts  # noqa: PLC0415
    from fmkit.model.gguf_spec import read_gguf_spec  # noqa: PLC0415

    header, weights = read_gguf_set(path)
    return ResolvedModel(
        text=gguf_facts(header.keys, header.vocabulary_tokens),
        ref=ref,
        id=path.name,
        hub_id=None,
        revision=None,
        spec=read_gguf_spec(header.keys, weights.tensors, where=str(path)),
        candidate=None,
        confidence="verbatim",
        source=f"the header of {path}",
        path=path,
        engine="llama.cpp",
    )


def from_hub(
    ref: str,
    name: str,
    revision: str | None,
    catalog: Catalog,
    *,
    offline: bool = False,
    say: Callable[[str], None] | None = None,
    is_base: bool = False,
    text_files: bool = False,
) -> ResolvedModel:
    """A model of the Hub; `org/name:Q4_K_M` names one quantisation of a repository of GGUF files."""
    from fmkit.api.model_files import resolved_files  # noqa: PLC0415  the network client only when the Hub is asked
    from fmkit.catalog.paths import cache_folder  # noqa: PLC0415
    from fmkit.hub.models import find_model  # noqa: PLC0415

    hub_id, _, label = name.partition(":")
    model = find_model(
        hub_id, revision, label or None, offline=offline, folder=cache_folder() / "hub", say=say, text_files=text_files
    )
    found = ResolvedModel(
        ref=ref,
        id=model.hub_id,
        hub_id=model.hub_id,
        revision=model.commit,
        spec=None,
        candidate=None,
        confidence="verbatim",
        source=model.source,
        hub_licence=model.licence,
        gated=model.gated,
    )
    return resolved_files(found, model.files, None if is_base else _base_resolver(catalog, offline=offline, say=say))


def _base_resolver(
    catalog: Catalog, *, offline: bool, say: Callable[[str], None] | None
) -> Callable[[str], ResolvedModel]:
    return lambda base: resolve_model(base, catalog, offline=offline, say=say, is_base=True)
