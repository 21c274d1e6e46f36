"""From what people type to what fmkit works on: a model reference to its facts, a hardware name to a machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.asked import text
from fmkit.errors import ModelNotFoundError, UsageError, nearest, nearest_phrase
from fmkit.machine import Machine, catalog_machine, memory_machine
from fmkit.model.spec import ModelSpec
from fmkit.selection.facts import Candidate
from fmkit.trial.embedded import EMBEDDED, MODEL_PATH
from fmkit.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.catalog.load import Catalog
    from fmkit.hub.files import ModelFiles
    from fmkit.machine import Device
    from fmkit.model.text import TextFacts

MOST_DEVICES = 1024


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
    if ref.startswith((".", "/", "~")) or ref.endswith((".json", ".gguf", ".safetensors")) or _is_folder(ref):
        return _from_path(ref, catalog, offline=offline, say=say, is_base=is_base)
    name, _, revision = ref.partition("@")
    found = catalog.resolve(name)
    if found is not None and not revision:
        return _from_catalog(ref, found, catalog)
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


def _is_folder(ref: str) -> bool:
    try:
        return Path(ref).is_dir()
    except (OSError, ValueError):  # too long, or with a null character: no name of a folder
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


def resolve_machine(
    gpu: str | None, memory: str | None, catalog: Catalog, *, free: bool = False, memory_beside: bool = False
) -> Machine:
    """The machine that `--gpu` or `--memory` names (`rtx-4090`, `h100-sxm5-80gb:8`, `24GiB`), else this computer.

    A class of CPU has no memory of its own: it takes both. `free` counts what is free now instead of what the machine
    has; it needs this computer. With `memory_beside`, where weights may lie in main memory, `memory` beside a device is
    that.
    """
    if free and (gpu is not None or memory is not None):
        raise UsageError("--free is about this computer: leave out --gpu and --memory", where="--free")
    size = None if memory is None else parse_size(text(memory, "--memory"), where="--memory")
    if gpu is not None:
        name, _, count = text(gpu, "--gpu").partition(":")
        device = resolve_device(name, catalog)
        if size is None or device.memory_bytes is None:
            return catalog_machine(device, _device_count(count, gpu), size)
        if not memory_beside:
            raise UsageError(
                "--gpu and --memory exclude each other: a device states its memory (with --offload, --memory is main memory)",
                where="--memory",
            )
        found = catalog_machine(device, _device_count(count, gpu))
        return msgspec.structs.replace(found, host_memory_bytes=size)
    if size is not None:
        return memory_machine(size)
    return this_machine(catalog, free=free)


def resolve_device(name: str, catalog: Catalog, where: str = "--gpu") -> Device:
    """The catalog's device of that id or alias; UsageError with the nearest ones if there is none. `where` says where the name stands."""
    wanted = name.casefold()
    device_id = wanted if wanted in catalog.devices else catalog.device_aliases.get(wanted)
    if device_id is None:
        names = [*catalog.devices, *catalog.device_aliases]
        valid = nearest_phrase(name, names) if nearest(name, names) else f"; known are {_examples(catalog)}"
        raise UsageError(f"unknown device {name!r}{valid}", where=where, next_command="fmkit hardware list")
    return catalog.devices[device_id]


def _examples(catalog: Catalog, per_vendor: int = 2) -> str:
    """A few devices of each vendor, and how many there are."""
    by_vendor: dict[str, list[str]] = {}
    for device in catalog.devices.values():
        by_vendor.setdefault(device.vendor, []).append(device.id)
    some = [name for names in by_vendor.values() for name in names[:per_vendor]]
    return f"{', '.join(some)} and {len(catalog.devices) - len(some)} more"


def this_machine(catalog: Catalog, *, free: bool = False) -> Machine:
    """This computer, with the catalog's figures for its device where the catalog has it."""
    from fmkit.hardware import detect  # noqa: PLC0415  looks at the machine only when the answer depends on it

    machine = detect()
    known = _known_device(machine, catalog)
    if known is not None:
        machine = msgspec.structs.replace(machine, device=known)
    if free and machine.free_bytes is not None:
        machine = msgspec.structs.replace(machine, usable_bytes=machine.free_bytes, reserve_reason="free now")
    return machine


def _known_device(machine: Machine, catalog: Catalog) -> Device | None:
    """The catalog's device that the detected one is: by the name its driver reports, else by the words that tell devices apart."""
    if machine.device is None or machine.device.device_class == "cpu":
        return None
    reported = "-".join(machine.device.name.casefold().removeprefix("nvidia").split())
    device_id = catalog.device_aliases.get(reported, reported)
    if device_id in catalog.devices:
        return catalog.devices[device_id]
    found = _words(machine.device.name)
    same = [
        device
        for device in catalog.devices.values()
        if _words(device.name) == found and device.memory_bytes is not None
    ]
    return min(same, key=lambda device: abs((device.memory_bytes or 0) - machine.memory_bytes), default=None)


def _words(name: str) -> frozenset[str]:
    """The words of a device's name that tell devices apart: no vendor, no size.

    >>> sorted(_words("NVIDIA GeForce RTX 4090")), sorted(_words("GeForce RTX 4090 24GB"))
    (['4090', 'rtx'], ['4090', 'rtx'])
    """
    words = re.sub(r"\(.*?\)|,.*|\b\d+\s*gi?b\b", " ", name.casefold()).replace("-", " ").split()
    noise = {"nvidia", "geforce", "amd", "radeon", "intel", "apple", "graphics", "gpu"}
    return frozenset(word for word in words if word not in noise)


def _device_count(count: str, gpu: str) -> int:
    if not count:
        return 1
    if not count.isascii() or not count.isdigit() or len(count) > 9 or not 1 <= int(count) <= MOST_DEVICES:
        raise UsageError(
            f"can't read {gpu!r}: write a device and a count from 1 to {MOST_DEVICES:,}, such as h100-sxm5-80gb:8",
            where="--gpu",
        )
    return int(count)
