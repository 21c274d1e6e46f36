"""A model's files on this disk, downloaded if they have to be: one pinned commit, safetensors only, nothing that runs code."""

from __future__ import annotations

import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub.cache import cache_folder, cached_file, cached_snapshots
from fmkit.hub.client import HubClient
from fmkit.hub.local import read_folder
from fmkit.hub.repository import check_name, fetch_repository
from fmkit.units import format_bytes

WANTED = (
    "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*",
    "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "spiece.model", "sentencepiece*.model",
    "preprocessor_config.json", "processor_config.json", "image_processor*.json", "chat_template*", "normalizer.json",
)  # fmt: skip
"""Files a trial needs, in the repository's root. No .bin, .pt or .py: pickles and remote code stay where they are."""

SPARE_BYTES = 256 * 1024**2
"""Room to leave on the disk beside a download."""


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a repository: the commit and the bytes, by file. `missing_bytes` are not on this disk yet."""

    hub_id: str
    commit: str
    files: dict[str, int]
    here: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that are not on this disk yet."""
        return sum(size for name, size in self.files.items() if name not in self.here)


def cached_snapshot(hub_id: str, revision: str | None) -> Path | None:
    """The folder of a repository whose config and weights were all downloaded before; None if anything is missing or damaged."""
    return next((folder for folder in cached_snapshots(hub_id, revision) if _is_whole(folder)), None)


def _is_whole(folder: Path) -> bool:
    try:
        found = read_folder(folder)
    except FmkitError:
        return False
    return found.config is not None and found.weights is not None and found.weights.format == "safetensors"


def plan_download(hub_id: str, revision: str | None) -> Download:
    """What the Hub offers of the model at `revision`, with sizes; asks the network once.

    Raises ModelNotFoundError, NetworkNeededError, and UnsafeInputError where the repository has pickled weights only.
    """
    check_name(hub_id, revision)
    repository = fetch_repository(HubClient(), hub_id, revision)
    sizes = repository.sizes
    files = {
        name: size for name, size in sizes.items() if "/" not in name and any(fnmatch(name, one) for one in WANTED)
    }
    if not any(name.endswith(".safetensors") for name in files):
        if any(name.endswith((".bin", ".pt", ".pth")) for name in sizes):
            raise UnsafeInputError(
                f"{hub_id} has pickled weights only, and loading a pickle can run any code: fmkit loads safetensors only",
                where=hub_id,
                next_command=f"fmkit try {hub_id} --random-weights",
            )
        raise ModelNotFoundError(f"{hub_id} has no safetensors weights", where=hub_id)
    here = tuple(name for name, size in files.items() if _is_here(repository.hub_id, repository.commit, name, size))
    return Download(hub_id=repository.hub_id, commit=repository.commit, files=files, here=here)


def _is_here(hub_id: str, commit: str, name: str, size: int) -> bool:
    cached = cached_file(hub_id, commit, name)
    return cached is not None and cached[0].stat().st_size == size


def check_disk(download: Download) -> None:
    """Refuse a download for which the disk has no room."""
    folder = cache_folder()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    need = download.missing_bytes + SPARE_BYTES
    if free < need:
        raise UsageError(
            f"downloading {download.hub_id} takes {format_bytes(download.missing_bytes)}, and the disk has "
            f"{format_bytes(free)} free: {format_bytes(need - free)} short",
            where=str(folder),
            next_command="free some space, or set HF_HOME to another disk",
        )


def fetch(download: Download, *, quiet: bool) -> Path:
    """Download the files of the pinned commit into the Hub library's cache; the folder they lie in. Interrupted downloads go on.

    Raises UnsafeInputError where a file has not the size the Hub stated.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    if quiet:
        disable_progress_bars()
    try:
        folder = Path(snapshot_download(download.hub_id, revision=download.commit, allow_patterns=list(download.files)))
    except Exception as error:
        # the library lets through the errors of whichever HTTP client it uses
        raise _in_our_words(error, download.hub_id) from error
    for name, size in download.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise UnsafeInputError(f"{name} is not the {size:,} bytes that the Hub stated", where=str(file))
    return folder


def _in_our_words(error: Exception, hub_id: str) -> FmkitError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelNotFoundError(
            f"{hub_id} is gated: its publisher grants access on request",
            where=hub_id,
            next_command="ask at the model's page on the Hub, then set HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return ModelNotFoundError(
            f"the Hub shows no model {hub_id} at that revision: it does not exist, or needs a token", where=hub_id
        )
    return NetworkNeededError(
        f"the download broke off ({type(error).__name__}); what came is kept",
        where=hub_id,
        next_command="check the network or HF_ENDPOINT and try again: it goes on where it stopped",
    )
