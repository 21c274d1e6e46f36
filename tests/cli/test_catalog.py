"""`fmkit catalog list --local`, `variants` and `refresh` as they are typed: output, columns, exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmkit.cli.main import main
from tests.cli.running import here
from tests.stand_in.samples import EMBEDDED, samples
from tests.stand_in.server import StandIn, stand_in


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None) -> Iterator[StandIn]:
    del network
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def test_what_is_on_this_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    shutil.copytree(EMBEDDED / "model", tmp_path / "hf" / "models--acme--whole" / "snapshots" / ("a" * 40))
    assert main(["catalog", "list", "--local"]) == 0
    assert "acme/whole" in capsys.readouterr().out
    assert main(["catalog", "list", "--local", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert (row["state"], row["format"], row["id"]) == ("complete", "safetensors", None)
    assert main(["catalog", "list", "--local", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "hub_id,id,commit,state,bytes,format,detail"
    assert main(["catalog", "list", "--local", "--task", "chat"]) == 2


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("columns", ["40", "60", "200"])
def test_variants_at_every_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    answer = here(capsys, "catalog", "variants", "acme/single", "--memory", "8GiB")
    assert answer.code == 0
    assert "acme/gguf" in answer.out
    assert max(map(len, answer.prose())) <= int(columns)


@pytest.mark.usefixtures("hub")
def test_variants_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "variants", "acme/single", "--gpu", "rtx-4090", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "fmkit.variants/1"
    assert {row["method"] for row in found["variants"]} == {"GGUF", "AWQ"}
    assert main(["catalog", "variants", "acme/single", "--csv", "--memory", "8GiB"]) == 0
    assert capsys.readouterr().out.startswith("hub_id,official,method,label")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["catalog", "variants", "acme/none"], 4),
        (["catalog", "variants", "acme/single", "--offline"], 5),
        (["catalog", "variants", "gpt-4o"], 2),
        (["catalog", "variants", "acme/single", "--gpu", "none"], 2),
        (["catalog", "refresh", "none"], 2),
        (["catalog", "refresh", "--offline"], 2),
        (["catalog", "refresh", "gpt2"], 4),
        (["vram", "acme/gated"], 4),
        (["vram", "acme/single@none"], 4),
        (["vram", "acme/single:Q4_K_M", "--offline"], 5),
        (["vram", "acme/gguf:Q9_K"], 2),
        (["vram", "acme/gguf", "--engine", "vllm"], 2),
        (["try", "acme/gguf", "--yes"], 2),
        (["try", "acme/lora", "--yes"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert "bug in fmkit" not in captured.err
