"""A copy of the catalog to plant faults in, and to have checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmkit.catalog.check import check
from fmkit.catalog.checks import estimates
from fmkit.catalog.compile import read_spec
from fmkit.catalog.csv_file import read_csv
from fmkit.catalog.faults import Fault
from fmkit.catalog.paths import source_folder
from fmkit.catalog.sources import Sources
from fmkit.catalog.yaml_file import read_yaml
from fmkit.model.spec import ModelSpec
from tests.catalog.planting import Plant

_READ: dict[tuple[str, str, bytes], Any] = {}


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(source_folder(), tmp_path_factory.mktemp("check") / "catalog"))


@pytest.fixture
def plant(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Scores are held against the capability model only where they are what is changed: it takes most of the time."""

    _read_files_once(monkeypatch)

    def planted(file: str, old: str, new: str) -> list[Fault]:
        if not file.startswith("scores/"):
            monkeypatch.setattr(estimates, "RULES", ())
        path = copied / file
        before = path.read_bytes()
        try:
            if old:
                assert old in before.decode(), f"{old!r} is not in {file}: plant the fault elsewhere"
                path.write_text(before.decode().replace(old, new, 1))
            else:
                path.unlink()
            return check(copied)
        finally:
            path.write_bytes(before)

    return planted


def _read_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file is read into the same facts: a hundred checks of the whole catalog need not read what did not change."""

    def spec(sources: Sources, file: str) -> tuple[ModelSpec | None, str | None]:
        found: tuple[ModelSpec | None, str | None] = _once(
            "spec", sources.path(f"configs/{file}"), lambda: read_spec(sources, file)
        )
        return found

    def remembered(read: Callable[..., Any]) -> Callable[..., Any]:
        def reader(path: Path, name: str, kind: type, faults: list[Fault]) -> Any:
            def fresh() -> tuple[Any, list[Fault]]:
                own: list[Fault] = []
                return read(path, name, kind, own), own

            value, found = _once(kind.__name__, path, fresh)
            faults += found
            return value

        return reader

    monkeypatch.setattr("fmkit.catalog.check.read_spec", spec)
    monkeypatch.setattr("fmkit.catalog.sources.read_yaml", remembered(read_yaml))
    monkeypatch.setattr("fmkit.catalog.sources.read_csv", remembered(read_csv))


def _once(what: str, path: Path, read: Callable[[], Any]) -> Any:
    key = (what, path.name, path.read_bytes())
    if key not in _READ:
        _READ[key] = read()
    return _READ[key]
