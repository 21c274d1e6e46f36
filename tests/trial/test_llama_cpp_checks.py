"""llama.cpp: many inputs, and the checks that its server can be asked for."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fmkit.trial.checks import CHECKS
from fmkit.trial.engines.llama_cpp_speaker import LlamaCppSpeaker
from fmkit.trial.evidence import Evidence
from fmkit.trial.observe.speaker import CannotAskError
from fmkit.trial.observe.structured import TOOL, ask_for_call, ask_for_json


class Server:
    """Answers as xllamacpp's server does, and keeps what it was asked."""

    def __init__(self, message: dict[str, Any], finish: str = "stop") -> None:
        self.answer: dict[str, Any] = {
            "choices": [{"message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 21},
        }
        self.asked: list[dict[str, Any]] = []

    def handle_chat_completions(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        return self.answer


def seen() -> Evidence:
    return Evidence(task="text generation", random_weights=False, instruction_tuned=True)


def test_calls_that_the_server_reads() -> None:
    call = {"function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    server, found = Server({"content": None, "tool_calls": [call]}), seen()
    ask_for_call(LlamaCppSpeaker(server, chat=True), found)
    assert server.asked[0]["tools"] == [TOOL]
    assert found.tool_arguments == '{"city": "Paris"}'
    assert found.tool_form == "llama.cpp reads for this template"


def test_json_a_cut_answer_and_an_error() -> None:
    found = seen()
    ask_for_json(LlamaCppSpeaker(Server({"content": "{}"}), chat=True), found)
    assert found.json_text == "{}"
    cut = seen()
    ask_for_json(LlamaCppSpeaker(Server({"content": "{"}, "length"), chat=True), cut)
    assert "cut off" in cut.unseen["valid-json"]
    broken = Server({})
    broken.answer = {"error": {"message": "too long"}}
    speaker = LlamaCppSpeaker(broken, chat=True)
    with pytest.raises(CannotAskError, match="too long"):
        speaker.ask("x", 1)
    assert speaker.count("x") is None
    assert LlamaCppSpeaker(Server({"content": ""}), chat=True).count("x") == 21


@pytest.mark.full
@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed (pip install xllamacpp, 34 MB)")
def test_many_inputs_and_all_checks_on_a_real_file(tmp_path: Path) -> None:
    from fmkit.api.try_model import try_model  # noqa: PLC0415
    from tests.trial.gguf_models import small_spec, write_running_model  # noqa: PLC0415

    path = write_running_model(tmp_path / "a.gguf", small_spec("HuggingFaceTB--SmolLM2-135M-Instruct"), "Q8_0")
    inputs, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    inputs.write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    result = try_model(
        str(path), engine="llama.cpp", device="cpu", keep=False, offline=True, repeat=1, context=1024, output_tokens=5,
        input=str(inputs), output=str(out), checks=["all"],
    )  # fmt: skip
    assert result.inputs is not None
    assert result.inputs.answered == 2
    assert [json.loads(line)["output_tokens"] for line in out.read_text().splitlines()] == [5, 5]
    passed = {check.name: check for check in result.checks}
    assert set(passed) == set(CHECKS)
    assert passed["needle"].passed is False  # random weights, which a file does not tell
    assert passed["needle"].data["points"][0]["prompt_tokens"] <= 1024
    assert passed["perplexity"].passed is passed["held-out-text"].passed is False
    assert "--against" in passed["quantised-kl"].detail
