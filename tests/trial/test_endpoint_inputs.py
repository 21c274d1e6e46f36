"""A server: many inputs one after the other, and the needle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fmkit.errors import UnsafeInputError, UsageError
from tests.trial.openai_stand_in import CHAT, Handler, StandIn, say, tried


def test_many_inputs(tmp_path: Path) -> None:
    inputs, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi there"}]
    inputs.write_text(json.dumps({"id": "a", "text": "one two"}) + "\n" + json.dumps({"messages": turns}) + "\n")
    with StandIn(stop_after=3) as server:
        result = tried(server, input=str(inputs), output=str(out))
        assert turns in [body.get("messages") for _, _, body in server.seen]
        again = tried(server, input=str(inputs), output=str(out))
    assert result.inputs is not None
    assert (result.inputs.answered, result.inputs.before) == (2, 0)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["line"], one["output"].split(), one["output_tokens"]) for one in records] == [
        (1, ["and", "so", "it"], 3),
        (2, ["and", "so", "it"], 3),
    ]
    assert records[0]["input_tokens"] == 2 + 7  # the words and the stand-in's template
    assert result.inputs.output_tokens_per_s is not None
    assert again.inputs is not None
    assert (again.inputs.answered, again.inputs.before) == (0, 2)


def test_a_bad_line_is_told_before_the_server_is_asked(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"image": "a.png"}\n')
    with StandIn() as server:
        with pytest.raises(UnsafeInputError, match=r"line 1: no such file: a\.png"):
            tried(server, input=str(tmp_path / "in.jsonl"))
        with pytest.raises(UsageError, match="name them by --input"):
            tried(server, output=str(tmp_path / "out.jsonl"))
        assert not server.seen


@pytest.mark.parametrize(("sees", "effective"), [(10**6, 512.0), (250, 0.0)])
def test_the_needle(sees: int, effective: float) -> None:
    def copies(handler: Handler) -> None:
        prompt = handler.body["messages"][0]["content"]
        found = re.search(r"access code of the \w+ office is (\d+)", " ".join(prompt.split()[-sees:]))
        handler.start_stream()
        handler.token(f"It is {found[1]}." if found else "I can't tell.")
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": 1}
        handler.event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage})
        handler.write(b"data: [DONE]\n\n")
        handler.write(b"")

    with StandIn(faults={CHAT: copies}) as server:
        result = tried(server, context=512, checks=["needle"])
    (check,) = result.checks
    assert (check.value, check.threshold) == (effective if sees > 1000 else check.value, 512.0)
    assert check.passed is (sees > 1000)
    assert (check.value or 0) < 512 or sees > 1000


def test_a_call_that_the_server_parses() -> None:
    def calls(handler: Handler) -> None:
        call = {"function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
        say(handler, {"tool_calls": [call]} if "tools" in handler.body else {"content": "Hello."})

    with StandIn(faults={CHAT: calls}) as server:
        result = tried(server, checks=["tool-call"])
    assert result.checks[0].passed is True
    assert "the server parses" in result.checks[0].detail
