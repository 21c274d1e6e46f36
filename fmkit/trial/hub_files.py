"""A model's files on this disk, downloaded if they have to be: one pinned commit, safetensors only, nothing that runs code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from fmkit.errors import (
    FmkitError,
    ModelNotFoundError,
    NetworkNeededError,
    UnsafeInputError,
    UsageError,
)
from fmkit.trial.folder import has_all_weights
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
    """What has to be downloaded: the commit and the bytes, by file."""

    hub_id: str
    commit: str
    files: dict[str, int]

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def cached_snapshot(hub_id: str, revision: str | None) -> Path | None:
    """The folder of a repository whose config and weights were all downloaded before; None if anything is missing."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  130 ms

    config = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if has_all_weights(folder) else None


def plan_download(hub_id: str, revision: str | None) -> Download:
    """What the Hub offers of the model at `revision`, with sizes; asks the network once.

    Raises ModelNotFoundError, NetworkNeededError, and UnsafeInputError where the repository has pickled weights only.
    """
    info = _asked(hub_id, lambda api: api.model_info(hub_id, revision=revision, files_metadata=True))
    sizes = {item.rfilename: int(item.size or 0) for item in info.siblings or ()}
    files = {name: size for name, size in sizes.items() if any(fnmatch(name, pattern) for pattern in WANTED)}
    if not any(name.endswith(".safetensors") for name in files):
        if any(name.endswith((".bin", ".pt", ".pth")) for name in sizes):
            raise UnsafeInputError(
                f"{hub_id} has pickled weights only, and loading a pickle can run any code: fmkit loads safetensors only",
                where=hub_id,
                next_command=f"fmkit try {hub_id} --random-weights",
            )
        raise ModelNotFoundError(f"{hub_id} has no safetensors weights", where=hub_id)
    return Download(hub_id=hub_id, commit=str(info.sha), files=files)


def check_disk(download: Download) -> None:
    """Refuse a download for which the disk has no room."""
    from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415

    folder = Path(HF_HUB_CACHE)
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    need = download.total_bytes + SPARE_BYTES
    if free < need:
        raise UsageError(
            f"downloading {download.hub_id} takes {format_bytes(download.total_bytes)}, and the disk has "
            f"{format_bytes(free)} free: {format_bytes(need - free)} short",
            where=str(folder),
            next_command="free some space, or set HF_HOME to another disk",
        )


def fetch(download: Download, *, quiet: bool) -> Path:
    """Download the files of the pinned commit into the Hub library's cache; the folder they lie in."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.utils import disable_progress_bars  # noqa: PLC0415

    if quiet:
        disable_progress_bars()
    folder = _asked(
        download.hub_id,
        lambda _: snapshot_download(download.hub_id, revision=download.commit, allow_patterns=list(download.files)),
    )
    return Path(folder)


def _asked(hub_id: str, ask: Callable[[Any], Any]) -> Any:  # noqa: ANN401  what the Hub library returns
    """The answer of the Hub library, its errors in our words."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi, errors  # noqa: PLC0415

    try:
        return ask(HfApi())
    except errors.GatedRepoError as error:
        raise ModelNotFoundError(
            f"{hub_id} is gated: its publisher grants access on request",
            where=hub_id,
            next_command="ask at the model's page on the Hub, then set HF_TOKEN",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelNotFoundError(
            f"the Hub shows no model {hub_id} at that revision: it does not exist, or needs a token", where=hub_id
        ) from error
    except FmkitError:
        raise
    except Exception as error:
        # the library lets through the errors of whichever HTTP client it uses
        raise NetworkNeededError(
            f"can't reach the Hub ({type(error).__name__})",
            where=hub_id,
            next_command=f"fmkit try {hub_id} --random-weights --offline",
        ) from error
