"""A model's files on this disk, downloaded if they have to be: one pinned commit, safetensors or GGUF, nothing that runs code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub.cache import cache_folder, cached_file, cached_snapshots
from fmkit.hub.client import HubClient
from fmkit.hub.fetching import Fetched, Order, Refused
from fmkit.hub.local import read_folder
from fmkit.hub.repository import Digest, check_name, fetch_repository
from fmkit.hub.resuming import WantedFile
from fmkit.hub.unfinished import Unfinished, begun_bytes, came_bytes, remove_unfinished
from fmkit.units import format_bytes, format_seconds

WANTED = (
    "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*",
    "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "spiece.model", "sentencepiece*.model",
    "preprocessor_config.json", "processor_config.json", "image_processor*.json", "chat_template*", "normalizer.json",
)  # fmt: skip
"""Files a trial needs, in the repository's root."""

UNWANTED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".so", ".sh", ".exe", ".dll")
"""Whatever they are called: pickles and remote code stay where they are."""

SPARE_BYTES = 256 * 1024**2
"""Room to leave on the disk beside a download."""

FIRST_RATE_S = 5.0
NEXT_RATE_S = 10.0
"""When it is said how far a download is: first, and from then on."""


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a repository: the commit, and bytes by file; the digests of all its files. `missing_bytes` are not on this disk yet.

    `here` are files that are, `begun` bytes of others that came in an earlier run and are gone on with.
    """

    hub_id: str
    commit: str
    files: dict[str, int]
    digests: dict[str, Digest] = {}
    here: tuple[str, ...] = ()
    begun: dict[str, int] = {}

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    @property
    def missing_bytes(self) -> int:
        """Bytes that are not on this disk yet."""
        return sum(size - self.begun.get(name, 0) for name, size in self.files.items() if name not in self.here)

    def told(self) -> str | None:
        """What came earlier, in one sentence; None where nothing did.

        >>> Download(hub_id="acme/real", commit="", files={"a": 2**30}, begun={"a": 2**29}).told()
        'an earlier download of acme/real did not end: it goes on after the 512.0 MiB of 1 file that had come'
        """
        if not self.begun:
            return None
        plural = "" if len(self.begun) == 1 else "s"
        return (
            f"an earlier download of {self.hub_id} did not end: it goes on after the {format_bytes(sum(self.begun.values()))} of "
            f"{len(self.begun)} file{plural} that had come"
        )


def cached_snapshot(hub_id: str, revision: str | None) -> Path | None:
    """The folder of a repository whose config and weights were all downloaded before; None if anything is missing or damaged."""
    return next((folder for folder in cached_snapshots(hub_id, revision) if _is_whole(folder)), None)


def _is_whole(folder: Path) -> bool:
    try:
        found = read_folder(folder)
    except FmkitError:
        return False
    return found.config is not None and found.weights is not None and found.weights.format == "safetensors"


def plan_download(hub_id: str, revision: str | None, names: Sequence[str] = ()) -> Download:
    """What the Hub offers of the model at `revision`, with sizes: the files of these `names`, or all that a trial needs; asks the network once.

    Raises ModelNotFoundError, NetworkNeededError, and UnsafeInputError where the repository has pickled weights only.
    """
    check_name(hub_id, revision)
    repository = fetch_repository(HubClient(), hub_id, revision)
    sizes = repository.sizes
    files = {name: size for name, size in sizes.items() if (name in names if names else _is_wanted(name))}
    if names and len(files) < len(names):
        raise ModelNotFoundError(
            f"{hub_id} has no {names[0]} any more", where=hub_id, next_command=f"fmkit vram {hub_id}"
        )
    if not names and not any(name.endswith(".safetensors") for name in files):
        if any(name.endswith((".bin", ".pt", ".pth")) for name in sizes):
            raise UnsafeInputError(
                f"{hub_id} has pickled weights only, and loading a pickle can run any code: fmkit loads safetensors only",
                where=hub_id,
                next_command=f"fmkit try {hub_id} --random-weights",
            )
        raise ModelNotFoundError(f"{hub_id} has no safetensors weights", where=hub_id)
    here = tuple(name for name, size in files.items() if _is_here(repository.hub_id, repository.commit, name, size))
    begun = {
        name: came
        for name, digest in repository.digests.items()
        if name in files
        and name not in here
        and 0 < (came := begun_bytes(repository.hub_id, digest.value)) <= files[name]
    }
    return Download(
        hub_id=repository.hub_id,
        commit=repository.commit,
        files=files,
        digests=dict(repository.digests),
        here=here,
        begun=begun,
    )


def _is_wanted(name: str) -> bool:
    """Whether a trial needs the file.

    >>> _is_wanted("tokenizer.json"), _is_wanted("tokenizer.py"), _is_wanted("onnx/config.json")
    (True, False, False)
    """
    return "/" not in name and any(fnmatch(name, one) for one in WANTED) and not name.lower().endswith(UNWANTED)


def remove_useless(download: Download) -> Unfinished | None:
    """Remove parts of files that this download does not go on with: of another commit, or of the Hub library's making."""
    return remove_unfinished(download.hub_id, _digests(download))


def _digests(download: Download) -> list[str]:
    return [digest.value for digest in download.digests.values()]


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


def fetch(download: Download, *, say: Callable[[str], None] | None = None) -> Path:
    """Download the files of the pinned commit into the Hub library's cache; the folder they lie in. What is on this disk is not fetched again.

    `say` hears how far it is, after five seconds and then every ten, with the rate measured. An interrupt ends it at once, and what came is
    kept for the next run. Raises UnsafeInputError where a file that came has not the size and digest the Hub stated, and removes that file.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "fmkit.hub.fetching"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,  # an interrupt at the terminal reaches us, and we end it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError):  # it ended before it was told: its answer is empty
            process.stdin.write(_order(download))
            process.stdin.flush()
        _watch(process, download, say)
        answer = process.stdout.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
            remove_unfinished(download.hub_id, _digests(download))
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
    try:
        found = msgspec.json.decode(answer, type=Fetched)
    except msgspec.MsgspecError:
        raise NetworkNeededError(
            f"the download ended without an answer (status {process.returncode}); what came is kept",
            where=download.hub_id,
            next_command="try again: it goes on where it stopped",
        ) from None
    if found.refused is not None:
        raise _error(found.refused)
    assert found.folder is not None
    return Path(found.folder)


def _order(download: Download) -> bytes:
    """What the process is told: one line."""
    files = tuple(
        WantedFile(name=name, bytes=size, digest=download.digests.get(name))
        for name, size in download.files.items()
        if name not in download.here
    )
    return msgspec.json.encode(Order(hub_id=download.hub_id, commit=download.commit, files=files)) + b"\n"


def _error(refused: Refused) -> FmkitError:
    """The error that the process met."""
    kinds = (UsageError, ModelNotFoundError, NetworkNeededError, UnsafeInputError)
    kind = next(kind for kind in kinds if kind.exit_code == refused.exit_code)
    return kind(refused.message, where=refused.where, next_command=refused.next_command)


def _environment() -> dict[str, str]:
    """The environment, with this fmkit found where it is."""
    known = os.environ.get("PYTHONPATH")
    package_parent = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package_parent, known]) if known else package_parent}


def _watch(process: subprocess.Popen[bytes], download: Download, say: Callable[[str], None] | None) -> None:
    """Wait until it has ended, and say how far it is. What it prints is shorter than a pipe holds."""
    before, started_s = came_bytes(download.hub_id), time.monotonic()
    wait_s = FIRST_RATE_S
    while True:
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            wait_s = NEXT_RATE_S
            if say is not None:
                came = came_bytes(download.hub_id) - before
                say(how_far(came, download.missing_bytes, time.monotonic() - started_s))
        else:
            return


def how_far(came_bytes: int, wanted_bytes: int, seconds: float) -> str:
    """How much has come after so long, how fast, and how long the rest takes at that rate.

    >>> how_far(250_000_000, 1_250_000_000, 5.0)
    'downloaded 238.4 MiB of 1.16 GiB, 47.7 MiB/s: about 20 s left'
    """
    rate = came_bytes / seconds
    far = f"downloaded {format_bytes(came_bytes)} of {format_bytes(wanted_bytes)}, {format_bytes(round(rate))}/s"
    return f"{far}: about {format_seconds(max(0, wanted_bytes - came_bytes) / rate)} left" if came_bytes > 0 else far
