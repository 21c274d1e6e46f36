"""Forms of calls are learnt from templates of several families (written here in their manner), and calls are read in them only."""

from __future__ import annotations

import json
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, models

from fmkit.trial.observe.structured import TOOL
from fmkit.trial.observe.tool_form import ToolForm, tool_form

HEAD = "{% if tools %}Tools: {{ tools | tojson }}\n{% endif %}{% for m in messages %}<|{{ m.role }}|>\n"
TAIL = "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
CALLS = "{% if m.tool_calls %}{% for c in m.tool_calls %}"
ELSE = "{% endfor %}{% else %}{{ m.content }}{% endif %}<|end|>\n"

TEMPLATES = {
    "tagged JSON": HEAD + CALLS + "<tool_call>\n{{ c.function | tojson }}\n</tool_call>" + ELSE + TAIL,
    "with an empty thought before": HEAD
    + "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    + CALLS
    + '<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>'
    + ELSE
    + TAIL,
    "a list with ids": HEAD
    + "{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
    + '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}'
    + "{% endfor %}]{% else %}{{ m.content }}{% endif %}</s>"
    + TAIL,
    "bare JSON with parameters": HEAD
    + CALLS
    + '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}'
    + ELSE
    + TAIL,
    "name before the arguments": HEAD
    + CALLS
    + "[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}"
    + ELSE
    + TAIL,
    "elements": HEAD
    + CALLS
    + "<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments.items() %}<parameter={{ k }}>\n{{ v }}\n</parameter>\n{% endfor %}</function>\n</tool_call>"
    + ELSE
    + TAIL,
    "arguments as text": HEAD + CALLS + "<call>{{ c.function.name + '|' + c.function.arguments }}</call>" + ELSE + TAIL,
}

SAID = {
    "tagged JSON": '<tool_call>\n{"arguments": {"city": "Paris"}, "name": "get_weather"}\n</tool_call>',
    "with an empty thought before": '<think>\nParis?\n</think>\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "a list with ids": '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "zzzzzzzzz"}]</s>',
    "bare JSON with parameters": '{"name": "get_weather", "parameters": {"city": "Paris"}}',
    "name before the arguments": '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}',
    "elements": "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
    "arguments as text": '<call>get_weather|{"city": "Paris"}</call>',
}


def tokenizer(template: str) -> Any:
    plain = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="x", chat_template=template)


def form_of(name: str) -> ToolForm:
    found = tool_form(tokenizer(TEMPLATES[name]), [TOOL])
    assert found is not None
    return found


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_call_is_read_in_its_form(name: str) -> None:
    form = form_of(name)
    arguments = form.arguments_in(SAID[name])
    assert arguments is not None
    assert json.loads(arguments) == {"city": "Paris"}
    assert form.arguments_in("It is sunny in Paris.") is None
    assert form.arguments_in("") is None


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("tagged JSON", "bare JSON with parameters"),
        ("tagged JSON", "a list with ids"),
        ("a list with ids", "tagged JSON"),
        ("bare JSON with parameters", "tagged JSON"),
        ("name before the arguments", "a list with ids"),
        ("elements", "tagged JSON"),
        ("tagged JSON", "elements"),
    ],
)
def test_another_family_s_call_is_none(name: str, other: str) -> None:
    assert form_of(name).arguments_in(SAID[other]) is None


def test_broken_and_hostile_answers() -> None:
    form = form_of("tagged JSON")
    assert form.arguments_in('<tool_call>\n{"name": "get_weather", "arguments": {"city": ') is None
    assert form.arguments_in("<tool_call>" + '{"a":' * 100_000) is None
    assert form.arguments_in('<tool_call>{"name": "other", "arguments": {"city": "Paris"}}') is None


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{{ raise_exception('no tools') if tools }}",
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools | tojson }}",
    ],
)
def test_templates_that_take_no_tools_or_write_no_calls(template: str) -> None:
    assert tool_form(tokenizer(template), [TOOL]) is None
