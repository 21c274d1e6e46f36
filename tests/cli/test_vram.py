"""`fmkit vram`: its options and what it prints."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from tests.cli.running import here

pytestmark = pytest.mark.usefixtures("isolation")
CARD = ("--gpu", "rtx-4090")


def test_json_has_the_keys_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "vram", "llama-3.1-8b", *CARD, "--json")
    assert answer.code == 0, answer.out
    found = answer.json()
    assert found["schema"] == "fmkit.vram/1"
    assert {"fmkit", "catalog", "model", "machine", "verdict", "estimates", "fit"} <= set(found)
    assert {
        "ref", "hub_id", "revision", "architecture", "kind", "params", "active_params", "max_context_tokens", "licence",
    } <= set(found["model"])  # fmt: skip
    estimate = found["estimates"][0]
    assert {
        "engine", "engine_version", "precision", "layout", "cache_dtype", "context_tokens", "encoder_tokens", "sequences",
        "tensor_parallel", "pipeline_parallel", "valid", "weights_bytes", "cache_bytes", "steady_bytes", "peak_bytes",
        "low_bytes", "high_bytes", "reserved_bytes", "per_device_bytes", "lines", "fits", "budget_bytes", "warnings", "speed",
    } <= set(estimate)  # fmt: skip
    assert {"part", "bytes", "phase", "basis", "reason", "source"} <= set(estimate["lines"][0])
    assert found["fit"] is None


def test_defaults_are_three_precisions_and_contexts_to_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    found = here(capsys, "vram", "llama-3.1-8b", *CARD, "--json").json()
    cases = [(each["context_tokens"], each["precision"]) for each in found["estimates"]]
    assert cases == [(tokens, name) for tokens in (4096, 32768, 131072) for name in ("fp16", "int8", "int4")]


def test_values_may_be_repeated_or_separated_by_commas(capsys: pytest.CaptureFixture[str]) -> None:
    joined = here(capsys, "vram", "gpt2", *CARD, "--json", "-p", "fp16,int4", "-c", "512,1k", "-s", "1,2")
    repeated = here(
        capsys, "vram", "gpt2", *CARD, "--json", "-p", "fp16", "-p", "int4", "-c", "512", "-c", "1k", "-s", "1", "-s", "2"
    )  # fmt: skip
    assert joined.code == 0
    assert len(joined.json()["estimates"]) == 8
    assert repeated.out == joined.out


@pytest.mark.parametrize("name", ["--gpu", "--device", "--hardware"])
def test_three_names_for_the_device(capsys: pytest.CaptureFixture[str], name: str) -> None:
    found = here(capsys, "vram", "gpt2", name, "rtx-4090", "--json").json()
    assert found["machine"]["device"] == "rtx-4090"
    assert found["machine"]["usable_bytes"] < found["machine"]["memory_bytes"] == 24 * 1024**3


def test_a_class_of_cpu_takes_its_memory_from_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    machine = here(capsys, "vram", "gpt2", "--gpu", "cpu-desktop-ddr5-dual", "--memory", "32GiB", "--json").json()[
        "machine"
    ]
    assert (machine["device"], machine["memory_bytes"]) == ("cpu-desktop-ddr5-dual", 32 * 1024**3)
    alone = here(capsys, "vram", "gpt2", "--gpu", "cpu-desktop-ddr5-dual")
    assert "next:  fmkit vram MODEL --gpu cpu-desktop-ddr5-dual --memory 32GiB" in alone.err
    assert alone.code == 2
    assert "--memory" in alone.err


def test_check_exits_with_3_only_when_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert here(capsys, "vram", "llama-3.1-8b", "--memory", "24GiB", "--check").code == 0
    assert here(capsys, "vram", "llama-3.1-8b", "--memory", "4GiB", "-p", "fp16").code == 0
    short = here(capsys, "vram", "llama-3.1-8b", "--memory", "4GiB", "-p", "fp16", "--check", "--json")
    assert short.code == 3
    assert short.json()["schema"] == "fmkit.vram/1"
    assert "does not fit" in short.json()["verdict"]


@pytest.mark.parametrize(
    "arguments",
    [["gpt2", "--context", "32k"], ["whisper-tiny", "--context", "1000"], ["bert-base-uncased", "--context", "100k"]],
    ids=" ".join,
)
def test_check_refuses_what_no_memory_makes_possible(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    answer = here(capsys, "vram", *arguments, *CARD, "--check")
    assert answer.code == 3
    assert "past limit" in answer.out
    assert " fits" not in answer.out
    assert "fmkit try" not in answer.out


def test_fit_answers_the_inverse(capsys: pytest.CaptureFixture[str]) -> None:
    fit = here(capsys, "vram", "llama-3.1-8b", *CARD, "--fit", "--json").json()["fit"]
    assert {"max_context_tokens", "max_sequences", "best_precision", "smallest_device", "limited_by"} <= set(fit)
    assert [each["precision"] for each in fit["precisions"]] == ["fp16", "int8", "int4"]


def test_csv_and_markdown_hold_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(StringIO(here(capsys, "vram", "llama-3.1-8b", *CARD, "--csv").out)))
    assert len(rows) == 9
    assert int(rows[0]["peak_bytes"]) >= int(rows[0]["steady_bytes"]) >= int(rows[0]["weights_bytes"])
    markdown = here(capsys, "vram", "llama-3.1-8b", *CARD, "--markdown").out
    assert "| context | FP16 | INT8 | INT4 |\n| --- | --- | --- | --- |\n| 4k | " in markdown


@pytest.mark.parametrize("columns", [60, 100, 140])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "whisper-large-v3", "bert-base-uncased", "mixtral-8x7b-v0.1"])
@pytest.mark.parametrize("extra", [["--fit"], ["--detail"]], ids=" ".join)
def test_text_keeps_within_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, model: str, extra: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = here(capsys, "vram", model, *CARD, *extra)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    assert max(map(len, answer.prose())) <= columns
    assert "…" not in answer.out
    assert model in answer.out.splitlines()[0]


def test_detail_shows_formula_and_source_of_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = here(capsys, "vram", "llama-3.1-8b", *CARD, "-p", "fp16", "-c", "4k", "--json").json()
    text = "".join(here(capsys, "vram", "llama-3.1-8b", *CARD, "-p", "fp16", "-c", "4k", "--detail").out.split())
    for line in found["estimates"][0]["lines"]:
        for fact in (line["part"], line["reason"], line["formula"], line["source"]):
            assert "".join(fact.split()) in text


def test_an_api_model_has_a_price_and_no_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    found = here(capsys, "vram", "gpt-4o", "--json")
    assert found.code == 0, found.out
    assert found.json()["estimates"] == []
    assert found.json()["api"]["context_tokens"] == 128_000
    plain = here(capsys, "vram", "gpt-4o")
    assert "no weights to size" in plain.out
    assert "USD" in plain.out
    assert "at most 128,000 tokens" in plain.out
    assert "models.dev" in plain.out
    assert "recalled" not in plain.out


def test_json_is_repeatable(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("vram", "llama-3.1-8b", *CARD, "--fit", "--json")
    assert here(capsys, *arguments).out == here(capsys, *arguments).out
