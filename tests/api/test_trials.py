"""`fmkit trials`: a record of one machine, given to another and back."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import msgspec
import pytest

from fmkit.api.trials import (
    as_lines,
    as_measurements,
    export_trials,
    import_trials,
    list_trials,
    show_trial,
)
from fmkit.catalog.measurements import read_measurements
from fmkit.errors import ExitCode, UnsafeInputError, UsageError
from fmkit.trial.store import TrialStore
from tests.trial.test_store import result

KEPT = ("aaaa1111", "aaaa2222", "bbbb3333")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with three trials."""
    monkeypatch.setenv("FMKIT_DATA_DIR", str(tmp_path / "here"))
    for trial_id in KEPT:
        TrialStore().add(result(trial_id, model="t5-base" if trial_id.startswith("b") else "gpt2"))
    return tmp_path


def test_list_and_show(here: Path) -> None:
    assert [line.id for line in list_trials().trials] == list(KEPT)
    assert [line.id for line in list_trials("t5-base").trials] == ["bbbb3333"]
    assert show_trial("bbbb").id == "bbbb3333"
    with pytest.raises(UsageError, match="2 trials begin with 'aaaa'"):
        show_trial("aaaa")
    with pytest.raises(UsageError, match="no trial 'bb'"):
        show_trial("bb")
    assert here.exists()


def test_two_machines_merge(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = here / "given.jsonl"
    file.write_text(as_lines(export_trials()), encoding="utf-8")
    monkeypatch.setenv("FMKIT_DATA_DIR", str(here / "there"))
    TrialStore().add(result("aaaa1111"))
    TrialStore().add(result("cccc4444"))
    first, second = import_trials(str(file)), import_trials(str(file))
    assert (first.trials, first.added) == (3, 2)
    assert (second.trials, second.added) == (3, 0)
    assert {line.id for line in list_trials().trials} == {*KEPT, "cccc4444"}
    assert show_trial("bbbb3333") == result("bbbb3333", model="t5-base")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "missing required field"),
        ("not json", "malformed"),
        ("[" * 100_000, "line 2"),
        (as_lines([msgspec.structs.replace(result(), schema="fmkit.trial/9")]), "schema 'fmkit.trial/9'"),
        (
            as_lines([msgspec.structs.replace(result(), workload={"context_tokens": "9; DROP TABLE trial"})]),
            "context_tokens",
        ),
    ],
)
def test_nothing_is_taken_from_a_file_with_a_bad_line(here: Path, line: str, message: str) -> None:
    file = here / "bad.jsonl"
    file.write_text(as_lines([result("dddd5555")]) + line, encoding="utf-8")
    with pytest.raises(UnsafeInputError) as caught:
        import_trials(str(file))
    assert caught.value.exit_code == ExitCode.UNSAFE_INPUT
    assert message in f"{caught.value.message} {caught.value.where}"
    assert len(list_trials().trials) == len(KEPT)


def test_no_such_file(here: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        import_trials(str(here / "absent.jsonl"))


def test_an_export_is_read_as_measurements(here: Path) -> None:
    trial = msgspec.structs.replace(
        result("eeee6666"),
        measured={"weights": 100, "cache": 20, "activations": 5, "allocated_peak_bytes": 125},
        workload={"context_tokens": 512, "sequences": 2, "dtype": "bfloat16"},
        machine={"name": "NVIDIA H100 80GB HBM3", "device_id": "h100-sxm5-80gb", "count": 1},
    )
    text = as_measurements([trial])
    (row,) = csv.DictReader(StringIO(text))
    assert (row["quant"], row["accelerator_id"], row["batch"]) == ("BF16", "h100-sxm5-80gb", "2")
    file = here / "rows.csv"
    file.write_text(text, encoding="utf-8")
    (read,) = read_measurements(file).memory
    assert (read.weights_bytes, read.kv_bytes, read.peak_total_bytes) == (100, 20, 125)
