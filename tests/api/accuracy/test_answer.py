"""`fmkit accuracy` on files of anybody, on trials, and its JSON."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.api.accuracy.answer import accuracy
from fmkit.api.accuracy.latency import latency_cases
from fmkit.api.accuracy.subject import NotScored
from fmkit.catalog.load import load_catalog
from fmkit.catalog.measurements import LatencyMeasurement, read_measurements
from fmkit.catalog.paths import source_folder
from fmkit.errors import UnsafeInputError

MEASUREMENTS = source_folder() / "measurements"
CONTRACT = {
    "quantity", "engine", "device", "rows", "left_out", "median_error", "p90_error", "within_30_percent", "interval_coverage",
}  # fmt: skip


def some_rows(name: str, tmp_path: Path, most: int = 40, **changed: str) -> Path:
    """Every so-many-th row of a shipped file, with cells of columns it has changed."""
    with (MEASUREMENTS / name).open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        known = {name: cell for name, cell in changed.items() if name in lines[0]}
        writer.writerows({**line, **known} for line in lines[:: len(lines) // most])
    return path


@pytest.mark.parametrize("name", ["memory.csv", "latency.csv"])
def test_the_contract_of_the_json(name: str, tmp_path: Path) -> None:
    path = some_rows(name, tmp_path)
    answer = accuracy(str(path))
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    assert read["schema"] == "fmkit.accuracy/1"
    for group in (*read["groups"], *read["overall"]):
        assert set(group) >= CONTRACT
    assert all(group["engine"] is None and group["device"] is None for group in read["overall"])
    assert all(
        {"measurement_id", "quantity", "predicted", "low", "high", "measured"} <= set(row) for row in read["rows"]
    )
    assert all(item["measurement_id"] and item["reason"] for item in read["left_out"])
    assert sum(group["rows"] for group in read["groups"]) == len(read["rows"])
    assert sum(group["left_out"] for group in read["groups"]) == len(read["left_out"])
    assert msgspec.json.encode(accuracy(str(path))) == msgspec.json.encode(answer)


def test_every_row_is_scored_or_left_out_with_its_reason(tmp_path: Path) -> None:
    for name in ("memory.csv", "latency.csv"):
        path = some_rows(name, tmp_path, most=100)
        rows = read_measurements(path)
        answer = accuracy(str(path))
        told = {row.measurement_id for row in answer.rows} | {item.measurement_id for item in answer.left_out}
        offered = {row.measurement_id for row in (*rows.memory, *rows.latency)}
        assert told <= offered
        silent = (
            offered - told
        )  # a row may name a figure that nothing can be held against, such as tokens without bytes
        assert len(silent) <= len(offered) // 20


def test_trust_c_is_not_scored(tmp_path: Path) -> None:
    answer = accuracy(str(some_rows("memory.csv", tmp_path, trust="C")))
    assert answer.rows == ()
    assert answer.left_out[0].reason.startswith("trust C")


@pytest.mark.parametrize(
    "changed",
    [
        {"context_tokens": "-5"}, {"context_tokens": "1e9"}, {"batch": "nan"}, {"count": "0"}, {"weights_bytes": "9" * 40}, {"tp": "x"},
        {"hub_id": "", "model_name": ""}, {"hub_id": "../../etc/passwd"}, {"engine": "\x00"}, {"quant": "'; drop table"}, {"accelerator_id": ""},
        {"engine_version": "V" * 5000}, {"notes": "flash_attn=" * 900}, {"tp": "7", "count": "7"}, {"outcome": "maybe"},
        {"context_tokens": str(2**39)},
    ],
)  # fmt: skip
def test_odd_cells_are_left_out_or_scored_but_never_crash(changed: dict[str, str], tmp_path: Path) -> None:
    for name in ("memory.csv", "latency.csv"):
        answer = accuracy(str(some_rows(name, tmp_path, most=25, **changed)))
        assert answer.rows or answer.left_out


def test_files_that_hold_no_measurements(tmp_path: Path) -> None:
    for content, words in (
        (b"", "no rows"),
        (b"a,b\n1,2\n", "missing"),
        (b"\xff\xfe\x00", "no CSV"),
        (b"measurement_id\n", "no rows"),
    ):
        path = tmp_path / "file.csv"
        path.write_bytes(content)
        with pytest.raises(UnsafeInputError, match=words):
            accuracy(str(path))
    with pytest.raises(UnsafeInputError, match="No such file"):
        accuracy(str(tmp_path / "absent.csv"))


def speed_row(**given: object) -> LatencyMeasurement:
    facts: dict[str, object] = {
        "measurement_id": "l", "hub_id": "meta-llama/Meta-Llama-3-8B", "quant": "GGUF Q4_K_M", "engine": "llama.cpp", "accelerator_id": "rtx-4090",
        "measures": "decode", "decode_tok_s_per_seq": 130.0, "prompt_tokens": 0, "gen_tokens": 512.0, "batch": 1.0,
    }  # fmt: skip
    return LatencyMeasurement(**{**facts, **given})  # type: ignore[arg-type]


def test_a_decode_row_is_at_its_mean_depth() -> None:
    (case,) = latency_cases(speed_row(), load_catalog())
    assert (case.rate, case.measured_per_s, case.workload.context_tokens) == ("decode", 130.0, 256)


def test_a_row_with_both_rates_is_two_cases() -> None:
    both = speed_row(measures="prefill+decode", prefill_tok_s=5000.0, prompt_tokens=1000, gen_tokens=200.0)
    cases = {case.rate: case for case in latency_cases(both, load_catalog())}
    assert cases["prefill"].workload.context_tokens == 1000
    assert cases["decode"].workload.context_tokens == 1100


def test_a_static_batch_counts_what_the_row_counts() -> None:
    facts = {
        "measures": "e2e",
        "decode_tok_s_per_seq": None,
        "throughput_tok_s": 900.0,
        "batch": 16.0,
        "prompt_tokens": 128,
    }
    (case,) = latency_cases(speed_row(**facts, throughput_kind="input+output"), load_catalog())
    assert (case.rate, case.counts_prompt, case.workload.sequences) == ("throughput", True, 16)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"spec_decode": "mtp"}, "speculative"), ({"quant": "made up"}, "no layout"),
        ({"accelerator_id": "sambanova-sn40l"}, "no device"), ({"measures": "asr"}, "measures asr"),
        ({"notes": "eGPU over Thunderbolt"}, "the host's bus"),
        ({"hub_id": "Qwen/Qwen3-30B-A3B", "quant": "BF16", "engine": "transformers", "engine_version": "transformers 4.46.0"}, "looped"),
    ],
)  # fmt: skip
def test_speed_rows_that_say_something_else(given: dict[str, object], words: str) -> None:
    with pytest.raises(NotScored, match=words):
        list(latency_cases(speed_row(**given), load_catalog()))
