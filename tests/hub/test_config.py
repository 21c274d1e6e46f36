"""config.json from the Hub: cache first, then the network; each refusal told apart; hostile answers refused."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

import pytest

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub import config as config_module
from fmkit.hub.cache import cache_folder, cached_file
from fmkit.hub.config import Answer, fetch_config, within_deadline
from tests.hub.loopback import COMMIT, Reply, serve

PATH = "/org/name/resolve/main/config.json"
CONFIG = b'{"model_type": "llama"}'


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client use the loopback network."""
    constants = import_module("huggingface_hub.constants")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def ask(
    monkeypatch: pytest.MonkeyPatch, replies: dict[str, Reply], hub_id: str = "org/name", revision: str | None = None
) -> object:
    with serve(replies) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        return fetch_config(hub_id, revision, offline=False)


def put_into_cache(content: bytes, *, revision: str = "main") -> Path:
    repository = cache_folder() / "models--org--name"
    file = repository / "snapshots" / COMMIT / "config.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    (repository / "refs").mkdir()
    (repository / "refs" / revision).write_text(COMMIT)
    return file


def test_the_cache_answers_without_network() -> None:
    put_into_cache(CONFIG)
    assert fetch_config("org/name", None, offline=True) == ({"model_type": "llama"}, COMMIT)
    assert fetch_config("org/name", COMMIT, offline=True)[1] == COMMIT
    with pytest.raises(NetworkNeededError):
        fetch_config("org/name", "other", offline=True)


def test_a_damaged_cache_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = put_into_cache(CONFIG)
    (file.parents[2] / "refs" / "main").write_text("../../../etc")
    assert cached_file("org/name", None, "config.json") is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert cached_file("org/name", COMMIT, "config.json") is None


def test_offline_says_what_to_do() -> None:
    with pytest.raises(NetworkNeededError, match="network is off") as caught:
        fetch_config("org/name", None, offline=True)
    assert caught.value.exit_code == 5
    assert "config.json" in str(caught.value.next_command)


@pytest.mark.usefixtures("network")
def test_a_file_and_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = {PATH: Reply(body=CONFIG, headers={"X-Repo-Commit": COMMIT})}
    assert ask(monkeypatch, replies) == ({"model_type": "llama"}, COMMIT)


@pytest.mark.usefixtures("network")
def test_the_real_hubs_redirect_keeps_the_commit_of_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = {
        "/org/name/resolve/v1.0/config.json": Reply(
            status=307, headers={"Location": "/api/resolve-cache/x", "X-Repo-Commit": COMMIT}
        ),
        "/api/resolve-cache/x": Reply(body=CONFIG),
    }
    assert ask(monkeypatch, replies, revision="v1.0") == ({"model_type": "llama"}, COMMIT)


@pytest.mark.usefixtures("network")
def test_the_token_stays_on_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve({"/stolen": Reply(body=CONFIG, headers={"X-Repo-Commit": COMMIT})}) as (other, seen_there):
        redirect = Reply(status=302, headers={"Location": f"{other}/stolen"})
        with serve({PATH: redirect}) as (address, seen_here):
            monkeypatch.setenv("HF_ENDPOINT", address)
            fetch_config("org/name", None, offline=False)
    assert seen_here == [(PATH, "Bearer hf_secret")]
    assert seen_there == [("/stolen", None)]


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (Reply(status=401), ModelNotFoundError, "does not exist, or it is private"),
        (Reply(status=404, headers={"X-Error-Code": "RepoNotFound"}), ModelNotFoundError, "private and needs a token"),
        (Reply(status=401, headers={"X-Error-Code": "GatedRepo"}), ModelNotFoundError, "is gated"),
        (Reply(status=403, headers={"X-Error-Code": "GatedRepo"}), ModelNotFoundError, "is gated"),
        (Reply(status=404, headers={"X-Error-Code": "RevisionNotFound"}), ModelNotFoundError, "no revision main"),
        (Reply(status=404, headers={"X-Error-Code": "EntryNotFound"}), ModelNotFoundError, "no config.json"),
        (Reply(status=429), NetworkNeededError, "status 429"),
        (Reply(status=503), NetworkNeededError, "status 503"),
        (Reply(status=302, headers={"Location": PATH}), NetworkNeededError, "TooManyRedirects"),
        (Reply(body=CONFIG, headers={"Content-Length": "9999"}), NetworkNeededError, "can't reach the Hub"),
        (Reply(body=CONFIG), UnsafeInputError, "names no commit"),
        (Reply(body=b"<html>log in</html>", headers={"X-Repo-Commit": COMMIT}), UnsafeInputError, "not JSON"),
        (Reply(body=b"", headers={"X-Repo-Commit": COMMIT}), UnsafeInputError, "not JSON"),
        (Reply(body=b"[1]", headers={"X-Repo-Commit": COMMIT}), UnsafeInputError, "found a list"),
        (Reply(body=b" " * 10_000_001, headers={"X-Repo-Commit": COMMIT}), UnsafeInputError, "more than"),
    ],
)  # fmt: skip
def test_each_refusal_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, reply: Reply, error: type[FmkitError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        ask(monkeypatch, {PATH: reply})
    assert "org/name" in str(caught.value.where)


@pytest.mark.usefixtures("network")
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkNeededError, match="can't reach the Hub"):
        fetch_config("org/name", None, offline=False)


@pytest.mark.usefixtures("network")
def test_a_slow_hub_meets_our_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "DEADLINE_S", 0.2)
    started = time.monotonic()
    with pytest.raises(NetworkNeededError, match=r"within 0\.2 s"):
        ask(monkeypatch, {PATH: Reply(body=CONFIG, wait_s=1.0)})
    assert time.monotonic() - started < 3


def test_an_error_in_the_worker_is_raised_here() -> None:
    def broken() -> Answer:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        within_deadline(broken, "here", 5.0)


@pytest.mark.parametrize(
    "hub_id", ["name", "org/../name", "org/name/x", "-org/name", "org/na me", "org/name?x", "/name", "org/é"]
)
def test_ids_that_are_none(hub_id: str) -> None:
    with pytest.raises(UsageError, match="no Hub id"):
        fetch_config(hub_id, None, offline=True)


@pytest.mark.parametrize("revision", ["", "../main", "a b", "-x", "v1?x=1"])
def test_revisions_that_are_none(revision: str) -> None:
    with pytest.raises(UsageError, match="no revision"):
        fetch_config("org/name", revision, offline=True)
