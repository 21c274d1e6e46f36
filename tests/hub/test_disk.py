"""What is on this disk: whole, partial and broken downloads, told apart whatever the references say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fmkit.hub.disk import LocalModel, local_models
from tests.hub.test_local import TENSORS, put
from tests.stand_in.content import File, sharded
from tests.stand_in.samples import EMBEDDED


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path / "hf"


def snapshot(cache: Path, name: str, files: dict[str, bytes | File], commit: str = "a" * 40) -> Path:
    return put(cache / f"models--acme--{name}" / "snapshots" / commit, files)


def only(name: str) -> LocalModel:
    return next(one for one in local_models() if one.hub_id == f"acme/{name}")


def test_no_cache_is_no_model(cache: Path) -> None:
    assert local_models() == ()
    cache.mkdir()
    (cache / "version.txt").write_text("1")
    (cache / "datasets--acme--x").mkdir()
    assert local_models() == ()


def test_states(cache: Path) -> None:
    shutil.copytree(EMBEDDED / "model", cache / "models--acme--whole" / "snapshots" / ("a" * 40))
    shards = dict(sharded(TENSORS, 3))
    snapshot(cache, "sharded", {"config.json": b"{}", **shards})
    snapshot(cache, "part", {"config.json": b"{}", **{name: shards[name] for name in list(shards)[1:]}})
    snapshot(cache, "config", {"config.json": b"{}"})
    snapshot(cache, "cut", {"config.json": b"{}", "model.safetensors": b"abc"})
    snapshot(cache, "readme", {"README.md": b"x"})
    (cache / "models--acme--asked" / "refs").mkdir(parents=True)
    put(cache / "models--acme--begun" / "blobs", {"1234.incomplete": b"x" * 1000})
    snapshot(cache, "stopped", {"config.json": b"{}"})
    put(cache / "models--acme--stopped" / "blobs", {"1234.incomplete": b"x"})
    found = {one.hub_id.removeprefix("acme/"): one.state for one in local_models()}
    assert found == {
        "whole": "complete", "sharded": "complete", "part": "partial", "config": "no weights", "cut": "damaged",
        "readme": "no weights", "asked": "no weights", "begun": "partial", "stopped": "partial",
    }  # fmt: skip
    assert "1 of 3 weight files are missing" in only("part").detail
    assert (only("begun").bytes, only("begun").detail) == (1000, "a download that broke off")


def test_a_reference_moved_on_does_not_hide_a_download(cache: Path) -> None:
    shutil.copytree(EMBEDDED / "model", cache / "models--acme--whole" / "snapshots" / ("a" * 40))
    put(cache / "models--acme--whole" / "refs", {"main": b"b" * 40})
    snapshot(cache, "whole", {"config.json": b"{}"}, "c" * 40)
    assert (only("whole").state, only("whole").commit) == ("complete", "a" * 40)


def test_links_count_once_and_broken_ones_not(cache: Path) -> None:
    folder = snapshot(cache, "linked", {"config.json": b"{}"})
    put(cache / "models--acme--linked" / "blobs", {"digest": b"x" * 500})
    (folder / "pytorch_model.bin").symlink_to("../../blobs/digest")
    (folder / "tokenizer.json").symlink_to("../../blobs/none")
    found = only("linked")
    assert (found.state, found.format, found.bytes) == ("complete", "pickle", 502)
    (cache / "models--acme--linked" / "blobs" / "digest").unlink()
    assert only("linked").state == "no weights"
