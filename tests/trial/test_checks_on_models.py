"""Checks on real models that were made to pass, and on the same with a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fmkit.trial.tasks import encoder
from tests.trial import scripted
from tests.trial.scripted import check

COUNT = [f"w{number}" for number in range(24)]
CALL = '{"name":"get_weather","arguments":{"city":"Paris"}}'


def test_a_model_that_ends_its_answer_passes_and_one_that_loops_fails(tmp_path: Path) -> None:
    names = ("no-repetition-loop", "stop-token", "chat-template", "finite-logits", "deterministic")
    good = scripted.said(tmp_path / "good", COUNT, names)
    assert good.output == " ".join(COUNT)
    assert [one.passed for one in good.checks] == [True] * 5
    looping = scripted.said(tmp_path / "loops", ["again", "and"], names, loops=True)
    assert check(looping, "no-repetition-loop").passed is False
    assert check(looping, "no-repetition-loop").value == 1.0
    assert check(looping, "stop-token").passed is False


def test_nan_in_the_weights_is_seen(tmp_path: Path) -> None:
    scripted.write(tmp_path, COUNT)
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"][5, 3] = torch.nan
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = check(scripted.run(tmp_path, scripted.config(len(COUNT) + 3), ["finite-logits"]), "finite-logits")
    assert found.passed is False
    assert found.value is not None
    assert found.value < 1


@pytest.mark.parametrize(
    ("words", "passed"),
    [(['{"city":"Paris","country":"France"}'], True), (["Here", '{"city":"Paris"}'], False), (['["Paris"]'], False)],
)
def test_json(tmp_path: Path, words: list[str], passed: bool) -> None:
    assert check(scripted.said(tmp_path, words, ["valid-json"]), "valid-json").passed is passed


@pytest.mark.parametrize(
    ("words", "passed", "says"),
    [
        (["<tool_call>", CALL, "</tool_call>"], True, "fit the tool"),
        (["Sure.", "<tool_call>", CALL, "</tool_call>"], True, "fit the tool"),
        ([CALL], False, "another form"),
        (["<tool_call>", CALL.replace("city", "town")], False, "do not fit"),
        (["<tool_call>", CALL.replace("weather", "time")], False, "another form"),
        (["It", "rains."], None, "in words"),
    ],
)
def test_a_call_in_the_form_of_the_template(tmp_path: Path, words: list[str], passed: bool | None, says: str) -> None:
    outcome = scripted.said(tmp_path, words, ["tool-call"], template=scripted.TOOLS + scripted.CALLS)
    found = check(outcome, "tool-call")
    assert found.passed is passed
    assert says in found.detail


def test_a_template_without_tools_says_so(tmp_path: Path) -> None:
    found = check(scripted.said(tmp_path, COUNT, ["tool-call"]), "tool-call")
    assert found.passed is None
    assert "takes no tools" in found.detail


def test_no_template_and_not_tuned(tmp_path: Path) -> None:
    outcome = scripted.said(tmp_path, COUNT, ["valid-json", "tool-call", "chat-template"], template=None, prompt="w0")
    assert [one.passed for one in outcome.checks] == [None, None, None]
    assert outcome.output.startswith("w1 w2")  # the prompt is continued, not answered


def test_an_answer_that_is_cut_off_is_not_judged(tmp_path: Path) -> None:
    found = check(scripted.said(tmp_path, ["a", "b"], ["valid-json"], loops=True), "valid-json")
    assert found.passed is None
    assert "cut off after 128 tokens" in found.detail


def test_neighbours_that_move_a_vector_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from fmkit.trial.evidence import Evidence  # noqa: PLC0415
    from fmkit.trial.items import Item  # noqa: PLC0415

    class Stub:
        class request:  # noqa: N801
            folder = None

    seen = Evidence(task="embedding", random_weights=False)

    def embed(_: object, texts: list[str]) -> tuple[torch.Tensor, int]:
        rows = [torch.tensor([1.0, 0.2 * place * (texts[0] == "a"), 0.0]) for place in range(len(texts))]
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1), 3

    monkeypatch.setattr(encoder, "embed", embed)
    encoder.Embedding().answer(Stub(), seen, Item(texts=("a", "b", "c")))  # type: ignore[arg-type]
    assert seen.symmetry_difference is not None
    assert seen.symmetry_difference > 1e-3
