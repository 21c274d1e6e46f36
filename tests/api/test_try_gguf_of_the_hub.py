"""`fmkit try ORG/NAME:LABEL`: one GGUF file of the Hub is planned, agreed to, downloaded, verified and run; and what has weights that can't be run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmkit.api import trial_run
from fmkit.api.try_model import try_model
from fmkit.errors import NetworkNeededError, UsageError
from fmkit.hub.unfinished import part_of
from fmkit.trial.request import TrialRequest
from tests.stand_in.content import Repository, literal
from tests.stand_in.samples import samples
from tests.stand_in.server import StandIn, stand_in
from tests.trial.embedded_gguf import write_embedded

FILES = {"F16": "emb-F16.gguf", "Q8_0": "parts/emb-Q8_0.gguf"}


class RanError(Exception):
    """The child would have been started with this request."""

    def __init__(self, request: TrialRequest) -> None:
        super().__init__()
        self.request = request


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The embedded model in two types."""
    folder = tmp_path_factory.mktemp("gguf")
    return {name: write_embedded(folder / Path(name).name, label).read_bytes() for label, name in FILES.items()}


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, network: None, tmp_path: Path, contents: dict[str, bytes]
) -> Iterator[StandIn]:
    """A Hub with these files, an empty cache, and a child that is not started."""
    del network

    def start(request: TrialRequest, **_: Any) -> None:
        raise RanError(request)

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("fmkit.catalog.paths.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(trial_run, "run_in_child", start)
    monkeypatch.setattr(trial_run, "require_libraries", lambda *_, **__: None)
    files = {name: literal(content) for name, content in contents.items()}
    with stand_in([*samples(), Repository("acme/embedded-gguf", files, tags=("gguf",))]) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def ran(**options: Any) -> TrialRequest:
    with pytest.raises(RanError) as caught:
        try_model("acme/embedded-gguf:Q8_0", device="cpu", **options)
    return caught.value.request


def test_one_file_is_downloaded_and_run(hub: StandIn, contents: dict[str, bytes]) -> None:
    heard: list[str] = []
    request = ran(yes=True, progress=heard.append)
    assert request.folder is not None
    assert (request.engine, request.dtype, request.config["chat_template"]) == ("llama.cpp", "Q8_0", False)
    assert request.folder.endswith(FILES["Q8_0"])
    assert Path(request.folder).read_bytes() == contents[FILES["Q8_0"]]
    assert any(line.startswith("downloading 1 file, ") for line in heard)
    assert not any(FILES["F16"] in seen.path for seen in hub.seen)
    hub.seen.clear()
    assert ran(offline=True).folder == request.folder
    assert hub.seen == []


@pytest.mark.usefixtures("hub")
def test_nothing_is_fetched_unless_the_user_agrees() -> None:
    with pytest.raises(UsageError, match="nobody agreed to download") as caught:
        try_model("acme/embedded-gguf:Q8_0", device="cpu")
    assert caught.value.next_command == "fmkit try acme/embedded-gguf:Q8_0 --yes"
    with pytest.raises(NetworkNeededError, match="are not on this disk"):
        try_model("acme/embedded-gguf:Q8_0", device="cpu", offline=True)


@pytest.mark.usefixtures("hub")
def test_of_several_files_one_has_to_be_named() -> None:
    with pytest.raises(
        UsageError, match=r"repository of 5 GGUF quantisations: name one of Q2_K \(39\.4 MiB\), "
    ) as caught:
        try_model("acme/gguf", device="cpu", yes=True)
    assert caught.value.next_command == "fmkit try acme/gguf:Q4_K_M"


@pytest.mark.usefixtures("hub")
def test_a_pipeline_is_not_called_an_api() -> None:
    with pytest.raises(UsageError, match="a diffusers pipeline of several models"):
        try_model("acme/pipeline", device="cpu", yes=True)


def test_an_interrupt_names_the_part_that_is_kept(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hub.repositories["acme/embedded-gguf"].files[FILES["Q8_0"]].etag

    def interrupted(*_: Any, **__: Any) -> None:
        part = part_of("acme/embedded-gguf", digest)
        part.parent.mkdir(parents=True)
        part.write_bytes(bytes(1024**2))
        raise KeyboardInterrupt

    monkeypatch.setattr("fmkit.hub.download.fetch", interrupted)
    heard: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        try_model("acme/embedded-gguf:Q8_0", device="cpu", yes=True, progress=heard.append)
    assert "the 1.0 MiB of 1 file of acme/embedded-gguf that came are kept at" in heard[-1]
    assert "nothing is left behind" not in heard[-1]
