"""Kill -9 while a file is written, as the compiled catalog and the Hub's answers are: the old one or the new one is there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fmkit.catalog.load import Catalog, open_catalog
from fmkit.catalog.paths import source_folder
from fmkit.whole_files import BESIDE, write_whole
from tests.killing import kill, moments, started

WRITER = """
import sys
from pathlib import Path
from fmkit.whole_files import write_whole
print("ready", flush=True)
while True:
    for letter in (b"a", b"b"):
        write_whole(Path(sys.argv[1]), letter * 3_000_000)
"""


def kill_a_writer(file: Path, after_s: float) -> None:
    process = started(["-c", WRITER, str(file)])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    kill(process)
    if file.exists():
        found = file.read_bytes()
        assert len(found) == 3_000_000
        assert len(set(found)) == 1


def test_kill_9_while_a_file_is_written(tmp_path: Path) -> None:
    for after_s in moments(3, 0.0, 0.1):
        kill_a_writer(tmp_path / "file", after_s)


@pytest.mark.full
def test_kill_9_at_many_moments(tmp_path: Path) -> None:
    for after_s in moments(60, 0.0, 0.1, seed=9):
        kill_a_writer(tmp_path / "file", after_s)


@pytest.mark.full
@pytest.mark.parametrize("after_s", moments(8, 0.2, 5.0, seed=11))
def test_kill_9_while_the_catalog_is_compiled(after_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMKIT_CACHE_DIR", str(tmp_path))
    process = started(["-c", "from fmkit.catalog.load import load_catalog; load_catalog()"])
    time.sleep(after_s)
    kill(process)
    found = open_catalog(source_folder())
    assert isinstance(found, Catalog)
    assert len(found.devices) > 100


def test_what_a_killed_writer_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    old, young = tmp_path / f"{BESIDE}old", tmp_path / f"{BESIDE}young"
    for file in (old, young):
        file.write_bytes(b"x")
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    write_whole(tmp_path / "answer", b"y")
    assert not old.exists()
    assert young.exists()
