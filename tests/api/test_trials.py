"""`fmkit trials`: a record of one machine, given to another and back."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import msgspec
import pytest

from fmkit.api.accuracy.answer import accuracy
from fmkit.api.trial_measurements import latency_csv, memory_csv
from fmkit.api.trial_result import predicted_parts
from fmkit.api.trials import (
    as_lines,
    export_trials,
    import_trials,
    list_trials,
    show_trial,
)
from fmkit.api.vram import vram
from fmkit.catalog.measurements import read_measurements
from fmkit.cli.output import rendered
from fmkit.errors import ExitCode, UnsafeInputError, UsageError
from fmkit.report.accuracy import print_accuracy
from fmkit.results.trial import Sample, TrialSpeed
from fmkit.results.trial_setting import TrialMachine, TrialWorkload
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
            as_lines([result()]).replace('"context_tokens":512', '"context_tokens":"9; DROP TABLE trial"'),
            "context_tokens",
        ),
        (
            as_lines([msgspec.structs.replace(result(), workload=TrialWorkload(context_tokens=2**60, sequences=1))]),
            "context_tokens",
        ),
        (
            as_lines(
                [
                    msgspec.structs.replace(
                        result(), speed=msgspec.structs.replace(result().speed, predicted={"basis": 1})
                    )
                ]
            ),
            "predicted speed",
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


def test_an_id_that_is_another_trial_here(here: Path) -> None:
    changed = msgspec.structs.replace(result("aaaa1111"), output="something else")
    file = here / "changed.jsonl"
    file.write_text(as_lines([changed, result("ffff7777"), result("ffff7777", model="t5-base")]), encoding="utf-8")
    found = import_trials(str(file))
    assert (found.added, found.conflicts) == (1, ("aaaa1111", "ffff7777"))
    assert show_trial("aaaa1111").output == "text"
    assert show_trial("ffff7777").model == "gpt2"


def test_no_such_file(here: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        import_trials(str(here / "absent.jsonl"))


def test_an_export_is_read_as_measurements(here: Path) -> None:
    trial = msgspec.structs.replace(
        result("eeee6666"),
        measured={"weights": 100, "cache": 20, "activations": 5, "allocated_peak_bytes": 125},
        workload=TrialWorkload(context_tokens=512, sequences=2, dtype="bfloat16"),
        machine=TrialMachine(name="NVIDIA H100 80GB HBM3", device_id="h100-sxm5-80gb", count=1),
    )
    elsewhere = ({"layers": 2}, {"offload": True}, {"gpu_layers": 0}, {"n_cpu_moe": 3}, {"tensor_parallel": 2})
    others = [
        msgspec.structs.replace(trial, workload=msgspec.structs.replace(trial.workload, **one)) for one in elsewhere
    ]
    text = memory_csv([trial, *others])
    (row,) = csv.DictReader(StringIO(text))
    assert (row["quant"], row["accelerator_id"], row["batch"]) == ("BF16", "h100-sxm5-80gb", "2")
    file = here / "rows.csv"
    file.write_text(text, encoding="utf-8")
    (read,) = read_measurements(file).memory
    assert (read.weights_bytes, read.kv_bytes, read.peak_total_bytes) == (100, 20, 125)


def test_an_export_is_scored_like_the_trial_itself(here: Path) -> None:
    """What a trial of this machine measured, as others would read it from the catalog: parts, the peak, and the process's peak."""
    said = vram("gpt2", precision="fp32", context=512, sequences=2, trials=False).estimates[0]
    parts = predicted_parts(said)
    measured = {name: parts[name] for name in ("weights", "cache", "activations", "allocated_peak_bytes")}
    trial = msgspec.structs.replace(
        result("aaaa7777"),
        hub_id="openai-community/gpt2",
        precision="fp32",
        measured={**measured, "process_peak_bytes": 2 * parts["process_peak_bytes"]},
        workload=TrialWorkload(context_tokens=512, sequences=2, dtype="float32", device="cpu"),
    )
    file = here / "memory.csv"
    file.write_text(memory_csv([trial]), encoding="utf-8")
    errors = {(row.measurement_id, row.quantity): row.predicted / row.measured - 1 for row in accuracy(str(file)).rows}
    assert errors == {
        ("Taaaa7777", "weights"): 0,
        ("Taaaa7777", "cache"): 0,
        ("Taaaa7777", "activations"): 0,
        ("Taaaa7777", "total"): 0,
        ("Taaaa7777-process", "total"): -0.5,
    }


def test_an_export_of_speed_is_scored(here: Path) -> None:
    said = vram("gpt2", gpu="h100-sxm5-80gb", precision="fp32", context=512).estimates[0].speed
    assert said is not None
    assert said.decode_tokens_per_s is not None
    trial = msgspec.structs.replace(
        result("aaaa8888"),
        hub_id="openai-community/gpt2",
        precision="fp32",
        machine=TrialMachine(name="NVIDIA H100 80GB HBM3", device_id="h100-sxm5-80gb", count=1),
        workload=TrialWorkload(context_tokens=512, sequences=1, dtype="float32", device="cuda", timed_prompt_tokens=496,
                  timed_decode_tokens=16),
        speed=TrialSpeed(load_s=1.0, ttft_s=Sample(mean=0.5, sd=0.0, n=3), predicted={},
                         decode_tokens_per_s=Sample(mean=said.decode_tokens_per_s.median / 2, sd=0.0, n=3)),
    )  # fmt: skip
    file = here / "latency.csv"
    file.write_text(latency_csv([trial, msgspec.structs.replace(trial, server=None, measured={})]), encoding="utf-8")
    (row,) = [row for row in accuracy(str(file)).rows[:2] if row.quantity == "decode"]
    assert row.predicted / row.measured == pytest.approx(2, rel=0.02)
    (read,) = [row for row in accuracy(str(file)).rows[:2] if row.quantity == "prefill"]
    assert read.measured == 992


def test_own_trials_stand_beside_the_shipped_measurements(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"weights": 100, "allocated_peak_bytes": 100, "process_peak_bytes": 100}
    said = {"weights": 110, "allocated_peak_bytes": 80, "process_peak_bytes": 90}
    TrialStore().add(msgspec.structs.replace(result("aaaa9999"), predicted=said, measured=own))
    shipped = here / "shipped.csv"
    shipped.write_text(
        "measurement_id,hub_id,quant,engine,accelerator_id,context_tokens,batch,peak_total_bytes,peak_method,trust,source\n"
        "M1,openai-community/gpt2,fp32,transformers,rtx-4090,512,1,600000000,allocated by PyTorch,A,somebody/repository@1:file\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("fmkit.api.accuracy.answer.shipped_measurements", lambda: read_measurements(shipped))
    found = accuracy()
    errors = {group.quantity: group.median_error for group in found.own}
    assert errors["total"] == pytest.approx(0.2)
    assert errors["process"] == pytest.approx(0.1)
    assert [group.rows for group in found.shipped if group.quantity == "total"] == [1]
    text = rendered(lambda console: print_accuracy(found, console))
    assert "side by side" in text
