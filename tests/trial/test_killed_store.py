"""Kill -9 while trials are kept: every trial that was said to be kept is there, whole, and the file goes on working."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from fmkit.trial.store import TrialStore
from tests.killing import kill, moments, started
from tests.trial.test_store import result

WRITER = """
import sys
from pathlib import Path
import msgspec
from fmkit.results.trial import TrialResult
from fmkit.trial.store import TrialStore

record = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=TrialResult)
store = TrialStore(Path(sys.argv[2]))
print("ready", flush=True)
for number in range(10**6):
    if number % 3:
        store.add(msgspec.structs.replace(record, id=f"{sys.argv[3]}-{number}", output="x" * 20_000))
    else:
        store.merge([msgspec.structs.replace(record, id=f"{sys.argv[3]}-{number}-{part}") for part in range(40)])
    print(number, flush=True)
"""
"""Keeps trials one by one and forty at once, and says after each that it is kept."""


def kill_a_writer(folder: Path, name: str, after_s: float) -> None:
    record, place = folder / "record.json", folder / "trials.sqlite3"
    record.write_bytes(msgspec.json.encode(result()))
    process = started(["-c", WRITER, str(record), str(place), name])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    process.kill()
    said = [int(line) for line in process.stdout.read().splitlines() if line]
    kill(process)
    kept = {one.id for one in TrialStore(place).all() if one.id.startswith(f"{name}-")}
    whole = [
        {f"{name}-{number}"} if number % 3 else {f"{name}-{number}-{part}" for part in range(40)}
        for number in range(len(said) + 1)
    ]
    assert set().union(*whole[: len(said)]) <= kept, "a trial that was said to be kept is lost"
    rest = kept - set().union(*whole[: len(said)])
    assert rest in (set(), whole[len(said)]), "a half transaction"
    with sqlite3.connect(place) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    TrialStore(place).add(result(f"after-{name}"))
    assert TrialStore(place).get(f"after-{name}") == result(f"after-{name}")


def test_kill_9_while_trials_are_kept(tmp_path: Path) -> None:
    for number, after_s in enumerate(moments(3, 0.0, 0.3)):
        kill_a_writer(tmp_path, f"run{number}", after_s)


@pytest.mark.full
def test_kill_9_at_many_moments(tmp_path: Path) -> None:
    for number, after_s in enumerate(moments(60, 0.0, 0.5, seed=3)):
        kill_a_writer(tmp_path, f"run{number}", after_s)


def test_a_journal_left_by_a_crash_is_rolled_back(tmp_path: Path) -> None:
    """A writer that dies inside its transaction, after pages went to the file: small cache, large record."""
    place = tmp_path / "trials.sqlite3"
    TrialStore(place).add(result("before"))
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN IMMEDIATE'); c.execute('DELETE FROM trial')\n"
        "c.executemany('INSERT INTO trial VALUES (?,?,?,?,?,?,?,?,?,?,?,?)', [(str(i), *['x' * 5000] * 11) for i in range(200)])\n"
        "os._exit(9)\n"
    )
    process = started(["-c", code, str(place)])
    process.communicate(timeout=20)
    assert process.returncode == 9
    journal = place.with_name(f"{place.name}-journal")
    assert journal.stat().st_size > 0
    assert [one.id for one in TrialStore(place).all()] == ["before"]
    assert not journal.exists() or journal.stat().st_size == 0
