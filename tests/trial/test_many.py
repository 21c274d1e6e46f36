"""Many inputs: one line for each answer, resumed after any end, with rates worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.trial import many
from fmkit.trial.checks import check_names
from fmkit.trial.items import Item, Reply, read_items
from fmkit.trial.many import Record, answer_all, part_rates
from fmkit.trial.request import TrialRequest
from fmkit.trial.stages import run_trial
from tests.trial import scripted

MODEL = ("gpt2", "float32")


@pytest.fixture
def inputs(tmp_path: Path) -> list[Item]:
    path = tmp_path / "inputs.jsonl"
    path.write_text("".join(json.dumps({"id": n, "text": f"text {n}"}) + "\n" for n in range(1, 7)), encoding="utf-8")
    return read_items(path, "decoder")


def shout(item: Item) -> Reply:
    return Reply(text=str(item.text).upper(), input_tokens=2, output_tokens=4)


def silent(_: str) -> None:
    return


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_answer_is_a_line(tmp_path: Path, inputs: list[Item]) -> None:
    out = tmp_path / "out.jsonl"
    said: list[str] = []
    found = answer_all(inputs, shout, *MODEL, out, said.append)
    records = lines_of(out)
    assert [(one["line"], one["id"], one["output"]) for one in records] == [(n, n, f"TEXT {n}") for n in range(1, 7)]
    assert all(one["input"] == item.digest for one, item in zip(records, inputs, strict=True))
    assert (found.summary.answered, found.summary.before, found.summary.failed) == (6, 0, 0)
    assert found.summary.inputs_per_s is not None
    assert found.summary.inputs_per_s.n == 6
    assert found.shown.splitlines()[0] == "1: TEXT 1"
    assert found.shown.splitlines()[-1] == "... and 1 more"
    assert said[-1] == "answering inputs, 6 of 6"


@pytest.mark.parametrize("torn", [b"", b'{"line": 4, "inp', b'{"line":4'])
def test_a_run_that_ended_is_gone_on_from(tmp_path: Path, inputs: list[Item], torn: bytes) -> None:
    out = tmp_path / "out.jsonl"
    asked: list[int] = []

    def dies(item: Item) -> Reply:
        if item.line == 4:
            raise KeyboardInterrupt
        return shout(item)

    with pytest.raises(KeyboardInterrupt):
        answer_all(inputs, dies, *MODEL, out, silent)
    with out.open("ab") as file:
        file.write(torn)  # what a killed write leaves

    def noted(item: Item) -> Reply:
        asked.append(item.line)
        return shout(item)

    found = answer_all(inputs, noted, *MODEL, out, silent)
    assert asked == [4, 5, 6]
    assert (found.summary.answered, found.summary.before) == (3, 3)
    assert [one["line"] for one in lines_of(out)] == [1, 2, 3, 4, 5, 6]
    again = answer_all(inputs, noted, *MODEL, out, silent)
    assert asked == [4, 5, 6]
    assert again.summary.before == 6
    assert again.summary.inputs_per_s is None


def test_answers_to_something_else_are_never_mixed_or_overwritten(tmp_path: Path, inputs: list[Item]) -> None:
    out = tmp_path / "out.jsonl"
    answer_all(inputs, shout, *MODEL, out, silent)
    before = out.read_bytes()
    with pytest.raises(UsageError, match="not of gpt2 at int4"):
        answer_all(inputs, shout, "gpt2", "int4", out, silent)
    with pytest.raises(UsageError, match="another input"):
        answer_all(inputs[:-1], shout, *MODEL, out, silent)
    assert out.read_bytes() == before
    out.write_text("precious notes\n", encoding="utf-8")
    with pytest.raises(UnsafeInputError, match="nothing was overwritten"):
        answer_all(inputs, shout, *MODEL, out, silent)
    assert out.read_text(encoding="utf-8") == "precious notes\n"


def test_one_failure_does_not_end_the_others(tmp_path: Path, inputs: list[Item]) -> None:
    def fails(item: Item) -> Reply:
        if item.line == 2:
            raise ValueError("no such\nlanguage")
        return shout(item)

    out = tmp_path / "out.jsonl"
    found = answer_all(inputs, fails, *MODEL, out, silent)
    assert (found.summary.answered, found.summary.failed) == (5, 1)
    assert found.notes == ("line 2: no such language",)
    assert lines_of(out)[1]["error"] == "no such language"


def test_references_and_word_errors(inputs: list[Item]) -> None:
    import msgspec  # noqa: PLC0415

    given = [msgspec.structs.replace(item, reference="Text 1!") for item in inputs]
    errors = {"substitutions": 1, "deletions": 0, "insertions": 0, "words": 4}

    def reply(item: Item) -> Reply:
        return Reply(text=str(item.text), data={"word_errors": errors})

    found = answer_all(given, reply, *MODEL, None, silent)
    assert found.summary.equal_share == pytest.approx(1 / 6)
    assert found.summary.word_error_rate == 0.25
    assert found.word_errors is not None
    assert found.word_errors.words == 24


def test_rates_over_parts() -> None:
    def record(seconds: float, tokens: int) -> Record:
        return Record(line=1, input="", model="", precision="", seconds=seconds, output_tokens=tokens)

    # 20 inputs make 10 parts of two: each has 3 s and 30 tokens but the last with 6 s
    records = [record(1.0, 10), record(2.0, 20)] * 9 + [record(2.0, 10), record(4.0, 20)]
    rate = part_rates(records, lambda one: one.output_tokens)
    assert rate is not None
    assert rate.n == many.PARTS
    assert rate.mean == pytest.approx((9 * 10 + 5) / 10)
    assert part_rates(records, lambda one: one.input_tokens) is None
    assert part_rates([], lambda _: 1) is None


def test_a_whole_trial_over_a_file(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(20)]
    scripted.write(tmp_path / "model", words)
    inputs, out = tmp_path / "inputs.jsonl", tmp_path / "out.jsonl"
    inputs.write_text('{"text": "w3"}\n{"messages": [{"role": "user", "content": "w5"}], "reference": "w0"}\n')
    request = TrialRequest(
        model="scripted", kind="decoder", config=scripted.config(len(words) + 3), dtype="float32", folder=str(tmp_path / "model"),
        checks=check_names(["stop-token"]), context_tokens=64, repeat=0, input_path=str(inputs), output_path=str(out),
    )  # fmt: skip
    outcome = run_trial(request, silent)
    assert outcome.inputs is not None
    assert (outcome.inputs.answered, outcome.inputs.equal_share) == (2, 0.0)
    assert outcome.inputs.output_tokens_per_s is not None
    assert outcome.asked == "2 inputs of inputs.jsonl"
    assert [one["output"] for one in lines_of(out)] == [" ".join(words)] * 2
    assert outcome.checks[0].passed is True
