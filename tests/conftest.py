"""Isolation: no test sees the developer's home, caches, tokens or network, and every console is 100 columns wide."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# huggingface_hub reads these when it is imported, which can be before the first fixture runs.
os.environ.update(OFFLINE)


@pytest.fixture(scope="session")
def compiled_catalog_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the compiled catalog, so that it is compiled once per run of the tests and not once per test."""
    return tmp_path_factory.mktemp("fmkit-cache")


@pytest.fixture(autouse=True)
def isolation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled_catalog_folder: Path) -> None:
    """Folders of this test, no network, no colour, fixed width, no NVIDIA card."""
    home = tmp_path / "home"
    home.mkdir()
    for name, folder in (
        ("HOME", home),
        ("USERPROFILE", home),
        ("XDG_CACHE_HOME", home / ".cache"),
        ("XDG_DATA_HOME", home / ".local" / "share"),
        ("XDG_CONFIG_HOME", home / ".config"),
        ("HF_HOME", home / ".cache" / "huggingface"),
        ("FMKIT_CACHE_DIR", compiled_catalog_folder),
    ):
        monkeypatch.setenv(name, str(folder))
    for name in (
        "HF_HUB_CACHE",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "FMKIT_ENDPOINT_KEY",
        "OPENAI_API_KEY",
        "FMKIT_CATALOG",
        "FMKIT_DEBUG",
        "FORCE_COLOR",
        "CLICOLOR_FORCE",
        "PYTHONHASHSEED",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        **OFFLINE,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "xterm",
        "CUDA_VISIBLE_DEVICES": "",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub's client use sockets, for tests against the stand-in on loopback (tests/stand_in)."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(import_module("huggingface_hub.constants"), "HF_HUB_OFFLINE", False)
