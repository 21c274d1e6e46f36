from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.errors import ExitCode, UnsafeInputError
from fmkit.results.trial import EngineVersion, Sample, TrialResult, TrialSpeed
from fmkit.results.trial_setting import TrialMachine, TrialWorkload
from fmkit.trial.paths import data_folder
from fmkit.trial.store import StoreError, TrialStore


def result(trial_id: str = "one", model: str = "gpt2") -> TrialResult:
    return TrialResult(
        fmkit="0.1.0",
        catalog="2026-11-25",
        id=trial_id,
        date=f"2026-11-25T10:00:00+00:00-{trial_id}",
        model=model,
        hub_id=None,
        engine=EngineVersion(name="transformers", version="5.23.0"),
        machine=TrialMachine(name="CPU"),
        workload=TrialWorkload(context_tokens=512, sequences=1),
        precision="fp16",
        predicted={"weights": 10},
        measured={"weights": 11, "allocated_peak_bytes": 12},
        error={"weights": -0.1},
        unaccounted_bytes=1,
        speed=TrialSpeed(load_s=1.0, ttft_s=Sample(mean=1.0, sd=0.1, n=3), decode_tokens_per_s=None, predicted={}),
        output="text",
        checks=(),
        random_weights=False,
    )


def test_round_trip(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "deep" / "trials.sqlite3")
    assert store.all() == []
    assert store.get("one") is None
    store.add(result("one"))
    store.add(result("two", model="t5-base"))
    assert store.get("one") == result("one")
    assert [kept.id for kept in store.all()] == ["one", "two"]
    assert [kept.id for kept in store.all("t5-base")] == ["two"]


WRITER = """
import sys
import msgspec
from contextlib import closing
from pathlib import Path
from typing import Any
from fmkit.results.trial import TrialResult
from fmkit.trial.store import TrialStore

record = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=TrialResult)
for number in range(25):
    TrialStore(Path(sys.argv[2])).add(msgspec.structs.replace(record, id=f"{sys.argv[3]}-{number}"))
"""


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    record, place = tmp_path / "record.json", tmp_path / "trials.sqlite3"
    record.write_bytes(msgspec.json.encode(result()))
    command = [sys.executable, "-c", WRITER, str(record), str(place)]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len({kept.id for kept in TrialStore(place).all()}) == 50


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "trials.sqlite3")
    store.add(result())
    with pytest.raises(StoreError, match="UNIQUE"):
        store.add(result())
    assert len(store.all()) == 1


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "trials.sqlite3"
    connection = sqlite3.connect(place)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema 99"):
        TrialStore(place).add(result())


def test_a_damaged_file(tmp_path: Path) -> None:
    place = tmp_path / "trials.sqlite3"
    place.write_bytes(b"not a database, and long enough to be looked at" * 30)
    for use in (
        lambda: TrialStore(place).add(result()),
        TrialStore(place).all,
        lambda: TrialStore(place).newest("x", 1),
    ):
        with pytest.raises(StoreError, match="not a database") as caught:
            use()
        assert caught.value.exit_code == ExitCode.UNSAFE_INPUT
        assert caught.value.next_command == f"mv {place} {place}.damaged (the next trial begins a new record)"


def test_another_programs_database(tmp_path: Path) -> None:
    place = tmp_path / "trials.sqlite3"
    connection = sqlite3.connect(place)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StoreError, match="no such table") as caught:
        TrialStore(place).all()
    assert caught.value.exit_code == ExitCode.UNSAFE_INPUT


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="can't make the folder"):
        TrialStore(tmp_path / "file" / "trials.sqlite3").add(result())


def test_where_trials_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("FMKIT_DATA_DIR", raising=False)
    assert data_folder() == tmp_path / "xdg" / "fmkit"
    monkeypatch.setenv("FMKIT_DATA_DIR", str(tmp_path / "own"))
    assert data_folder() == tmp_path / "own"


OLD: dict[str, Any] = {
    "schema": "fmkit.trial/1", "fmkit": "0.1.0", "catalog": "2026-11-24", "id": "0ld000000001", "date": "2026-11-24T10:00:00+00:00",
    "model": "gpt2", "hub_id": "openai-community/gpt2", "engine": {"name": "transformers", "version": "5.23.0", "libraries": {"torch": "2.13.0"}},
    "machine": {
        "name": "AMD EPYC, 2 cores", "origin": "detected", "device": "CPU, 2 threads", "device_id": None, "count": 1,
        "memory_bytes": 25769803776, "usable_bytes": 24000000000, "free_bytes": None, "cpu_cores": 2,
    },
    "workload": {
        "task": "text generation", "kind": "decoder", "context_tokens": 512, "encoder_tokens": 0, "sequences": 1, "image_tokens": None,
        "dtype": "float32", "quantiser": None, "device": "cpu", "layers": None,
    },
    "precision": "fp32", "predicted": {"weights": 10}, "measured": {"weights": 11}, "error": {"weights": -0.1}, "unaccounted_bytes": 1,
    "speed": {"load_s": 1.0, "ttft_s": {"mean": 1.0, "sd": 0.1, "n": 3}, "decode_tokens_per_s": None, "predicted": {}},
    "output": "text", "checks": [], "random_weights": False, "warnings": [], "next": [],
}  # fmt: skip
"""A record as the first version wrote it: without the keys that came later."""


def test_records_of_the_first_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "trials.sqlite3"
    store = TrialStore(path)
    store.add(result("new"))
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = [
            OLD["id"],
            OLD["date"],
            "gpt2",
            None,
            "transformers",
            "5.23.0",
            "fp32",
            "AMD EPYC, 2 cores",
            512,
            1,
            0,
        ]
        connection.execute(f"INSERT INTO trial VALUES ({', '.join('?' * 12)})", [*columns, json.dumps(OLD)])
    old = store.get("0ld000000001")
    assert old is not None
    assert {one.id for one in store.newest("transformers", 9)} == {one.id for one in store.all()} == {"new", old.id}
    assert (old.machine.cpu_cores, old.machine.key, old.machine.busy_share) == (2, "", None)
    assert (old.workload.dtype, old.workload.tensor_parallel, old.workload.is_whole) == ("float32", 1, True)
    assert store.merge([old]) == (0, ())  # written anew it has more keys, and is the same trial


def test_the_contract_of_machine_and_workload() -> None:
    """What programs outside read: the keys of the first version, under their names, as JSON objects."""
    written = json.loads(msgspec.json.encode(result()))
    assert written["machine"].keys() >= OLD["machine"].keys()
    assert written["workload"].keys() >= OLD["workload"].keys()


def test_a_record_that_is_none_hides_no_other(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "trials.sqlite3")
    store.add(result("good"))
    store.add(result("bad"))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE trial SET record = replace(record, '512', '\"many\"') WHERE id = 'bad'")
    assert [one.id for one in store.all()] == [one.id for one in store.newest("transformers", 9)] == ["good"]
    assert store.unreadable() == ("bad",)
    assert store.merge([result("bad"), result("other")]) == (1, ("bad",))
    assert [one.id for one in store.all()] == ["good", "other"]
    with pytest.raises(UnsafeInputError, match="context_tokens"):
        store.get("bad")
