"""Downloads: what is wanted, whether there is room, and that what came is what was stated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmkit.errors import ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.download import cached_snapshot, check_disk, plan_download
from fmkit.hub.repository import Digest
from fmkit.hub.verifying import digest_of, verify
from tests.hub.test_local import put
from tests.stand_in.content import Repository, folder
from tests.stand_in.routes import Reply
from tests.stand_in.samples import EMBEDDED, samples
from tests.stand_in.server import Fault, StandIn, stand_in

CODE = """
import sys
from fmkit.errors import FmkitError
from fmkit.hub.download import cached_snapshot, fetch, plan_download
try:
    plan = plan_download("acme/real", None)
    print(fetch(plan), cached_snapshot("acme/real", None), plan_download("acme/real", None).missing_bytes)
except FmkitError as error:
    print(int(error.exit_code), error.message)
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None) -> Iterator[StandIn]:
    del network
    real = folder(EMBEDDED / "model")
    with stand_in(
        [
            *samples(),
            Repository("acme/real", real | {"evil.py": real["README.md"], "x/config.json": real["config.json"]}),
        ]
    ) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def download(hub: StandIn, home: Path) -> str:
    environment = {**os.environ, "HF_ENDPOINT": hub.hub, "HF_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_a_plan_names_what_is_wanted_and_nothing_that_runs(hub: StandIn) -> None:
    plan = plan_download("acme/real", None)
    assert set(plan.files) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert plan.total_bytes == plan.missing_bytes
    assert len(hub.seen) == 1
    with pytest.raises(UnsafeInputError, match="pickled weights only"):
        plan_download("acme/pickled", None)
    with pytest.raises(ModelNotFoundError, match="no safetensors weights"):
        plan_download("acme/gguf", None)


def test_no_room_is_said_before_anything_is_fetched(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_download("acme/sharded-70b", None)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(UsageError, match=r"13\d\.\d\d GiB short"):
        check_disk(plan)
    assert len(hub.seen) == 1


def test_a_download_goes_on_where_it_broke_off(hub: StandIn, tmp_path: Path) -> None:
    hub.faults.append(Fault(r"model\.safetensors", "truncate", times=20, only_on="cdn"))
    broken = download(hub, tmp_path)
    if broken.startswith("5 "):
        assert "files that came whole are kept" in broken
    hub.faults.clear()
    path, snapshot, missing = download(hub, tmp_path).split()
    assert path == snapshot
    assert missing == "0"
    assert (Path(path) / "model.safetensors").read_bytes() == (EMBEDDED / "model" / "model.safetensors").read_bytes()
    assert not (Path(path) / "evil.py").exists()


def test_another_content_of_the_same_size_is_removed_and_said(hub: StandIn, tmp_path: Path) -> None:
    right = (EMBEDDED / "model" / "model.safetensors").read_bytes()
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    hub.faults.append(Fault(r"model\.safetensors", reply=Reply(200, wrong), only_on="cdn"))
    said = download(hub, tmp_path)
    assert said.startswith(
        "10 model.safetensors is not the file that the Hub stated: its SHA-256 differs; it was removed"
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size == len(right)]
    hub.faults.clear()
    path, _, missing = download(hub, tmp_path).split()
    assert missing == "0"
    assert (Path(path) / "model.safetensors").read_bytes() == right


def test_a_small_file_is_held_against_git_s_digest(tmp_path: Path) -> None:
    content = folder(EMBEDDED / "model")["config.json"]
    digest = Digest(kind="blob", value=content.blob)
    put(tmp_path, {"config.json": content.head})
    verify(tmp_path, "config.json", content.size, digest)
    verify(tmp_path, "config.json", content.size, None)
    put(tmp_path, {"config.json": content.head.swapcase()})
    with pytest.raises(UnsafeInputError, match="git's digest differs; it was removed"):
        verify(tmp_path, "config.json", content.size, digest)
    assert not (tmp_path / "config.json").exists()
    with pytest.raises(UnsafeInputError, match="is not there"):
        verify(tmp_path, "config.json", content.size, digest)
    put(tmp_path, {"config.json": content.head[:-1]})
    with pytest.raises(
        UnsafeInputError, match=f"{content.size - 1:,} bytes, and the Hub stated {content.size:,}; it was"
    ):
        verify(tmp_path, "config.json", content.size, None)


def test_git_computes_the_same_digest(tmp_path: Path) -> None:
    file = put(tmp_path, {"x": b"what git says\n"}) / "x"
    done = subprocess.run(["git", "hash-object", str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git")
    assert digest_of(file, "blob") == done.stdout.strip()


def test_what_is_not_whole_is_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached_snapshot("acme/real", None) is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--acme--real" / "refs").mkdir(parents=True)
    (tmp_path / "models--acme--real" / "refs" / "main").write_text("b" * 40)  # moved on by a look-up, say
    place = tmp_path / "models--acme--real" / "snapshots" / ("a" * 40)
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    assert cached_snapshot("acme/real", "a" * 40) is None
    (place / "model.safetensors").write_bytes(b"cut")
    assert cached_snapshot("acme/real", "a" * 40) is None
    (place / "model.safetensors").write_bytes((EMBEDDED / "model" / "model.safetensors").read_bytes())
    assert cached_snapshot("acme/real", None) == cached_snapshot("acme/real", "a" * 40) == place
    assert cached_snapshot("acme/real", "b" * 40) is None
