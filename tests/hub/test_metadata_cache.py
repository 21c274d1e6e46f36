"""What was asked before: used offline with its age, whole or not at all, by two programs at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from fmkit.errors import NetworkNeededError
from fmkit.hub.files import ModelFiles
from fmkit.hub.metadata_cache import FRESH_S, VERSION, Kept, load, store
from fmkit.hub.models import HubModel, find_model
from fmkit.model.stored import StoredTensor, StoredWeights
from tests.stand_in.content import COMMIT, Repository
from tests.stand_in.samples import samples
from tests.stand_in.server import Fault, StandIn, stand_in

HOME = "https://hub.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def kept(commit: str = COMMIT, asked_at: float = 1000.0, revision: str | None = None, tensors: int = 1) -> Kept:
    weights = StoredWeights(
        format="safetensors",
        files=(),
        tensors=tuple(StoredTensor(f"{commit[:4]}.{n}", (n,), "float32", 4 * n) for n in range(tensors)),
    )
    return Kept(
        version=VERSION, endpoint=HOME, hub_id="org/name", revision=revision, commit=commit, asked_at=asked_at,
        files=ModelFiles(where="x", layout="transformers", config={"a": [1, None, "b"]}, weights=weights),
    )  # fmt: skip


def test_what_is_kept_comes_back(folder: Path) -> None:
    store(folder, kept(), "org/name", None)
    assert load(folder, HOME, "org/name", None, None) == kept()
    assert load(folder, HOME, "ORG/Name", None, None) == kept()
    for question in (
        (HOME, "org/name", "v1", None),
        (HOME, "org/name", None, "Q8_0"),
        ("https://other", "org/name", None, None),
    ):
        assert load(folder, *question) is None


def test_a_branch_is_fresh_for_a_day_and_a_commit_for_ever() -> None:
    assert kept().is_fresh(1000.0 + FRESH_S - 1)
    assert not kept().is_fresh(1000.0 + FRESH_S)
    assert not kept().is_fresh(0.0)
    assert kept(revision=COMMIT).is_fresh(1e12)


@pytest.mark.parametrize(
    "damage", [b"", b"\xff" * 100, b"\x00", msgspec.msgpack.encode({"version": 99}), b"\x91" * 100_000]
)
def test_a_damaged_file_is_no_answer(folder: Path, damage: bytes) -> None:
    store(folder, kept(), "org/name", None)
    (file,) = folder.iterdir()
    file.write_bytes(damage)
    assert load(folder, HOME, "org/name", None, None) is None


def test_a_file_cut_anywhere_is_no_answer(folder: Path) -> None:
    store(folder, kept(), "org/name", None)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        assert load(folder, HOME, "org/name", None, None) is None


def test_a_folder_that_cannot_be_written_is_no_error(folder: Path) -> None:
    folder.touch()
    store(folder / "below", kept(), "org/name", None)
    assert load(folder / "below", HOME, "org/name", None, None) is None


def test_a_full_disk_leaves_the_old_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(folder, kept(), "org/name", None)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fmkit.whole_files.os.fdopen", full)
    store(folder, kept(commit="f" * 40), "org/name", None)
    assert load(folder, HOME, "org/name", None, None) == kept()
    assert len(list(folder.iterdir())) == 1


WRITER = """
import sys, time
from pathlib import Path
from fmkit.hub.metadata_cache import store
from tests.hub.test_metadata_cache import kept
commit = sys.argv[2] * 40
print("ready", flush=True)
until = time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    store(Path(sys.argv[1]), kept(commit=commit, tensors=2000), "org/name", None)
"""


def writer(folder: Path, letter: str, seconds: float) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(folder), letter, str(seconds)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_writers_at_once_and_one_killed_in_the_middle(folder: Path) -> None:
    second = writer(folder, "b", 60.0)
    first = writer(folder, "a", 1.0)
    with first, second:
        seen = set()
        while first.poll() is None:
            found = load(folder, HOME, "org/name", None, None)
            if found is not None:
                assert found.files.weights is not None
                names = {tensor.name[:4] for tensor in found.files.weights.tensors}
                assert names == {found.commit[:4]}, "an answer mixed of two"
                seen.add(found.commit[0])
        second.kill()
    assert seen == {"a", "b"}
    assert load(folder, HOME, "org/name", None, None) is not None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None) -> Iterator[StandIn]:
    del network
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., HubModel]:
    return lambda hub_id="acme/single", revision=None, *, offline=False: find_model(
        hub_id, revision, None, offline=offline, folder=tmp_path / "kept"
    )


def test_offline_with_and_without_an_earlier_answer(hub: StandIn, find: Callable[..., HubModel]) -> None:
    with pytest.raises(NetworkNeededError, match="network is off") as caught:
        find(offline=True)
    assert caught.value.exit_code == 5
    assert hub.seen == []
    asked = find()
    assert find(offline=True).files == asked.files


def test_an_old_answer_says_its_age_and_is_asked_anew_online(
    hub: StandIn, find: Callable[..., HubModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("fmkit.hub.models.time.time", lambda: now)
    find()
    monkeypatch.setattr("fmkit.hub.models.time.time", lambda: now + 5 * 24 * 3600)
    assert "2027-01-15, 5 days ago" in find(offline=True).files.notes[-1]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "5 days ago" in find().files.notes[-1]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.repositories["acme/single"] = Repository("acme/single", hub.repositories["acme/single"].files, commit="f" * 40)
    assert find().commit == "f" * 40


def test_without_a_route_the_last_answer_is_given_with_its_age(
    hub: StandIn, find: Callable[..., HubModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("fmkit.hub.models.time.time", lambda: now)
    find()
    monkeypatch.setattr("fmkit.hub.models.time.time", lambda: now + 2 * 24 * 3600)
    hub.faults.append(Fault(".", "drop"))
    monkeypatch.setattr("fmkit.hub.client._BACKOFF_S", 0.01)
    assert "2 days ago" in find().files.notes[-1]


def test_what_the_hub_library_has_whole_is_used_without_asking(
    hub: StandIn, find: Callable[..., HubModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    repository = tmp_path / "hf" / "models--acme--single"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    files = hub.repositories["acme/single"].files
    (folder / "config.json").write_bytes(files["config.json"].head)
    weights = folder / "model.safetensors"
    weights.write_bytes(files["model.safetensors"].head)
    assert "asked now" in find().source, "an incomplete download is no answer"
    with weights.open("r+b") as stream:
        stream.truncate(files["model.safetensors"].size)
    hub.seen.clear()
    found = find()
    assert "on this disk" in found.source
    assert found.files.weights is not None
    assert hub.seen == []
    (repository / "refs" / "main").write_text("../../../etc")
    assert "on this disk" not in find().source
