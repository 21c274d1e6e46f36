"""`fmkit catalog variants`: what others made of a model, judged for one machine, with a command that is safe to paste."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmkit.api.variants import variants
from fmkit.errors import NetworkNeededError, UnsafeInputError, UsageError
from tests.stand_in.content import COMMIT, Repository, literal
from tests.stand_in.routes import Reply
from tests.stand_in.samples import gguf, samples
from tests.stand_in.server import Fault, StandIn, stand_in

BASE = "base_model:quantized:acme/single"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None, tmp_path: Path) -> Iterator[StandIn]:
    del network
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("fmkit.catalog.paths.cache_folder", lambda: tmp_path / "cache")
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def test_the_publishers_own_come_first_then_the_most_downloaded(hub: StandIn) -> None:
    result = variants("acme/single", memory="600MiB")
    assert [(row.publisher, row.label) for row in result.variants] == [
        ("acme", "Q2_K"), ("acme", "Q4_K_M"), ("acme", "Q6_K"), ("acme", "Q8_0"), ("acme", "F16"), ("other", "AWQ"),
    ]  # fmt: skip
    assert [row.official for row in result.variants] == [True] * 5 + [False]
    q8 = result.variants[3]
    assert q8.files == 2
    files = hub.repositories["acme/gguf"].files
    assert q8.bytes == sum(file.size for name, file in files.items() if "Q8_0" in name)
    assert [row.fits for row in result.variants[:5]] == [True, True, True, True, False]
    assert all(row.need_bytes is not None and row.need_bytes > row.bytes for row in result.variants)


def test_a_repository_of_gguf_files_lists_its_own(hub: StandIn) -> None:
    own = variants("acme/gguf", memory="600MiB").variants
    of_single = [row for row in variants("acme/single", memory="600MiB").variants if row.publisher == "acme"]
    assert [(row.label, row.bytes, row.files, row.fetch) for row in own] == [
        (row.label, row.bytes, row.files, row.fetch) for row in of_single
    ]
    assert [row.fits for row in own] == [True, True, True, True, False]
    del hub


def test_an_engine_that_is_not_known_is_not_judged(hub: StandIn) -> None:
    files = hub.repositories["acme/single"].files
    hub.repositories["x/single-mlx-4bit"] = Repository("x/single-mlx-4bit", dict(files), tags=("mlx", BASE))
    row = next(row for row in variants("acme/single", memory="8GiB").variants if row.publisher == "x")
    assert (row.method, row.fits, row.need_bytes) == ("MLX", None, None)


def test_the_command_to_fetch_is_one_command_whatever_a_file_is_called(hub: StandIn) -> None:
    name = "m-Q4_K_M;rm -rf $HOME `x`.gguf"
    hub.repositories["x/evil"] = Repository("x/evil", {name: gguf(12, 100)}, tags=(BASE,))
    row = next(row for row in variants("acme/single", memory="8GiB").variants if row.publisher == "x")
    assert shlex.split(row.fetch) == ["hf", "download", "x/evil", name, "--revision", row.commit]


def test_one_that_is_broken_does_not_hide_the_others(hub: StandIn) -> None:
    hub.faults.append(Fault("/api/models/other/", reply=Reply(200, b"[]")))
    result = variants("acme/single", memory="8GiB")
    assert {row.publisher for row in result.variants} == {"acme"}
    assert "other/single-AWQ was left out" in result.notes[0]


def test_many_are_listed_and_the_first_looked_at(hub: StandIn) -> None:
    for number in range(30):
        hub.repositories[f"x/copy-{number}"] = Repository(f"x/copy-{number}", {"README.md": literal("x")}, tags=(BASE,))
    hub.seen.clear()
    result = variants("acme/single", memory="8GiB")
    assert "20 more repositories" in result.notes[0]
    assert len([seen for seen in hub.seen if "blobs=true" in seen.path]) <= 13


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[3]",
        b"<html>",
        b'[{"id":3}]',
        b'[{"id":"a/b","tags":"x"}]',
        b'[{"id":"a/b","downloads":1000000000000000000000}]',
        b"[" * 10**5,
    ],
)
def test_a_list_that_is_none(hub: StandIn, body: bytes) -> None:
    hub.faults.append(Fault(r"/api/models\?", reply=Reply(200, body)))
    with pytest.raises(UnsafeInputError, match="no list of models"):
        variants("acme/single", memory="8GiB")


def test_names_that_lead_elsewhere_are_not_asked_for(hub: StandIn) -> None:
    link = {"Link": f'<{hub.cdn}/steal>; rel="next"'}
    hub.faults.append(Fault(r"/api/models\?", reply=Reply(200, b'[{"id":"../../x"},{"id":"a/b?c"}]', link)))
    assert variants("acme/single", memory="8GiB").variants == ()
    assert not any("steal" in path or "a/b" in path for path in hub.paths())


@pytest.mark.usefixtures("hub")
def test_what_cannot_be_asked() -> None:
    with pytest.raises(UsageError, match="not a model of the Hub"):
        variants("gpt-4o", memory="8GiB")
    with pytest.raises(NetworkNeededError, match="never asked"):
        variants("llama-3.1-8b", memory="8GiB", offline=True)


def test_without_a_network_the_last_answer_counts_with_its_age(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    asked = variants("acme/single", memory="8GiB")
    assert (asked.asked_on, asked.notes) == ("2027-01-15", ())
    monkeypatch.setattr("time.time", lambda: now + 3 * 24 * 3600)
    hub.faults.append(Fault(".", "drop"))
    monkeypatch.setattr("fmkit.hub.client._BACKOFF_S", 0.01)
    offline = variants("acme/single", memory="8GiB", offline=True)
    for later in (offline, variants("acme/single", memory="8GiB")):
        assert later.variants == asked.variants
        assert "2027-01-15, 3 days ago" in later.notes[-1]
    assert {row.commit for row in offline.variants} == {COMMIT}
    with pytest.raises(NetworkNeededError, match="can't reach"):
        variants("acme/base", memory="8GiB")
