"""A Hub that means harm: answers made to cost time, memory or a traceback. Each ends in its error, soon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub import client as client_module
from fmkit.hub.connection import endpoint
from fmkit.hub.models import find_model
from fmkit.hub.remote_headers import _named_headers
from tests.stand_in.content import COMMIT, Repository, literal, llama_config, llama_tensors, safetensors
from tests.stand_in.routes import Reply
from tests.stand_in.samples import LLAMA_1B
from tests.stand_in.server import Fault, StandIn, stand_in

INFO = "^/api/models/acme/"
CONFIG = literal(llama_config(LLAMA_1B))
WEIGHTS = safetensors(llama_tensors(LLAMA_1B))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None) -> Iterator[StandIn]:
    del network
    with stand_in([Repository("acme/evil", {"config.json": CONFIG, "model.safetensors": WEIGHTS})]) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        monkeypatch.setattr(client_module, "_BACKOFF_S", 0.001)
        yield state


def listing(*files: tuple[str, int], **more: Any) -> Callable[[], Reply]:
    """The Hub's answer about a repository with files of these names and sizes."""
    rows = [{"rfilename": name, "size": size} for name, size in files]
    return lambda: Reply(200, json.dumps({"id": "acme/evil", "sha": COMMIT, "siblings": rows, **more}).encode())


def redirect(target: str) -> Callable[[], Reply]:
    return lambda: Reply(302, b"", {"Location": target})


ANSWERS: dict[str, tuple[Callable[[], Reply], type[FmkitError], str]] = {
    "a file of 10^30 bytes": (listing(("config.json", 9), ("pytorch_model.bin", 10**30)), UnsafeInputError, "claims a file of more than"),
    "a file of 2^63 bytes": (listing(("config.json", 9), ("pytorch_model.bin", 2**63)), UnsafeInputError, "claims a file of more than"),
    "files of negative size": (listing(("config.json", -9), ("model.safetensors", -1)), ModelNotFoundError, "no weights"),
    "50,000 models of a pipeline": (
        listing(("model_index.json", 2), *((f"d{n}/x.safetensors", 5) for n in range(50_000))), UnsafeInputError, "more than 100 models of a pipeline",
    ),
    "50,000 quantisations": (listing(*((f"m{n}-Q4_K_M.gguf", 5) for n in range(50_000))), UnsafeInputError, "more than 1,000 quantisations"),
    "900 quantisations of 9,999 parts each": (
        listing(*((f"m{n}-Q4_K_M-00001-of-09999.gguf", 5) for n in range(900))), UnsafeInputError, "more than 10,000 parts",
    ),
    "a name of a million characters": (listing(("a" * 10**6 + ".bin", 5)), ModelNotFoundError, "no weights"),
    "two million empty lists": (
        lambda: Reply(200, b'{"id":"acme/evil","sha":"%b","config":[' % COMMIT.encode() + b"[]," * 2_000_000 + b"1]}"), UnsafeInputError,
        "more than 100,000 files",
    ),
    "a header of a megabyte": (lambda: Reply(200, b"{}", {"X-Long": "a" * 10**6}), NetworkNeededError, "can't reach the Hub"),
    "50,000 headers": (lambda: Reply(200, b"{}", {f"X-{n}": "a" for n in range(50_000)}), NetworkNeededError, "can't reach the Hub"),
    "a wait of 5,000 digits": (lambda: Reply(429, b"", {"Retry-After": "9" * 5000}), NetworkNeededError, "without saying for how long"),
    "a wait below zero": (lambda: Reply(429, b"", {"Retry-After": "-5"}), NetworkNeededError, "without saying for how long"),
    "a redirect to nowhere": (redirect("http://\xe9..x/"), NetworkNeededError, "can't reach the Hub"),
    "a redirect with a password": (redirect("http://a:b@127.0.0.1:9/x"), NetworkNeededError, "can't reach the Hub"),
    "a redirect to data": (redirect("data:application/json,{}"), UnsafeInputError, "redirects to data"),
    "no content": (lambda: Reply(204), NetworkNeededError, "status 204"),
    "a status of no standard": (lambda: Reply(999, b"{}"), NetworkNeededError, "status 999"),
    "not modified": (lambda: Reply(304), NetworkNeededError, "status 304"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "error", "message"), ANSWERS.values(), ids=ANSWERS)
def test_hostile_answers(
    hub: StandIn, tmp_path: Path, reply: Callable[[], Reply], error: type[FmkitError], message: str
) -> None:
    hub.faults.append(Fault(INFO, reply=reply()))
    started = time.process_time()
    with pytest.raises(error, match=message):
        find_model("acme/evil", None, None, offline=False, folder=tmp_path / "kept")
    assert time.process_time() - started < 5
    assert not (tmp_path / "kept").exists()


CONFIGS: dict[str, tuple[bytes, str]] = {
    "half a character": (b'{"model_type":"\\ud800"}', "half a character"),
    "nested 30,000 deep": (b'{"a":' * 30_000 + b"1" + b"}" * 30_000, "nested too deeply"),
    "a number of 5,000 digits": (b'{"hidden_size":' + b"9" * 5000 + b"}", "not JSON"),
}


@pytest.mark.parametrize(("config", "message"), CONFIGS.values(), ids=CONFIGS)
def test_hostile_configurations(hub: StandIn, tmp_path: Path, config: bytes, message: str) -> None:
    hub.repositories["acme/evil"] = Repository("acme/evil", {"config.json": literal(config)}, extra={"config": {}})
    with pytest.raises(UnsafeInputError, match=message):
        find_model("acme/evil", None, None, offline=False, folder=tmp_path / "kept")


def test_a_number_that_the_cache_has_no_room_for(hub: StandIn, tmp_path: Path) -> None:
    config = llama_config(LLAMA_1B) | {"max_length": 10**30}  # as some configurations have for "no limit"
    hub.repositories["acme/evil"].files["config.json"] = literal(config)
    for _ in range(2):
        found = find_model("acme/evil", None, None, offline=False, folder=tmp_path / "kept")
        assert found.files.config == config


def test_names_in_the_combined_answer_are_stepped_over() -> None:
    names = ["b", "a"]
    right = b'{"index":{},"headers":{"a":{"x":1},"other":3,"b":{"y":2},"a":{"x":4}}}'
    assert _named_headers(right, names) == [b'{"y":2}', b'{"x":4}']
    for wrong in (b'{"headers":{"a":{}}}', b'{"headers":[]}', b"[]", b"{}", b'{"headers":{"a":1,"b":'):
        assert _named_headers(wrong, names) is None


@pytest.mark.parametrize(
    "address",
    ["http://[x", "http://host:99999", "http://:secret@host", "http://host\\@evil", "http://ho st", "http://host\n.x"],
)
def test_an_endpoint_that_could_be_misread(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UsageError, match="no address of a Hub"):
        endpoint()


def test_a_mirror_below_a_path(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.below, hub.redirecting = "/mirror/hf", False
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.hub}/mirror/hf/")
    found = find_model("acme/evil", None, None, offline=False, folder=tmp_path / "kept")
    assert found.files.weights is not None
    assert {seen.path[:11] for seen in hub.seen} == {"/mirror/hf/"}
