"""Tokenizer, generation and chat template files: read the same from a folder and from the Hub, hostile ones left out and said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmkit.hub.local import read_folder
from fmkit.hub.models import HubModel, find_model
from fmkit.hub.text_files import MAX_TEMPLATE_CHARS, TEXT_FILES, read_text_files, summary_facts
from fmkit.model.positions import rope_scaling
from fmkit.model.text import TextFacts
from tests.cli.running import here
from tests.stand_in.content import literal
from tests.stand_in.samples import samples, text_files
from tests.stand_in.server import StandIn, stand_in


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None) -> Iterator[StandIn]:
    del network
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def find(folder: Path, *, text_files: bool = False, offline: bool = False) -> HubModel:
    return find_model("acme/talks", None, None, offline=offline, folder=folder, text_files=text_files)


def read(**documents: Any) -> tuple[TextFacts | None, tuple[str, ...]]:
    files = {
        {"tokenizer": "tokenizer_config.json", "generation": "generation_config.json", "template": "chat_template.jinja",
         "added": "added_tokens.json", "old": "chat_template.json"}[name]:
        value if isinstance(value, bytes) else json.dumps(value).encode()
        for name, value in documents.items()
    }  # fmt: skip
    return read_text_files(files, files.__getitem__, "x")


def test_a_folder_and_the_hub_say_the_same(hub: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, file in text_files().items():
        (folder / name).write_bytes(file.head)
    (folder / "config.json").write_bytes(hub.repositories["acme/talks"].files["config.json"].head)
    local = read_folder(folder).text
    assert local is not None
    assert find(tmp_path / "kept", text_files=True).files.text == local
    assert (local.tokenizer, local.added_tokens, local.highest_added_id, local.max_tokens) == (
        "PreTrainedTokenizerFast",
        3,
        31_999,
        8192,
    )
    assert local.special_tokens == {"bos": "<s>", "eos": "<|end|>"}
    assert local.generation == {"temperature": 0.6, "top_p": 0.9, "eos_token_id": (2, 31_998)}
    assert (local.chat_template or "").startswith("{% for")


def test_the_summary_of_the_hub_costs_no_request(hub: StandIn, tmp_path: Path) -> None:
    text = find(tmp_path).files.text
    assert text is not None
    assert (text.special_tokens["eos"], text.chat_template, text.chat_templates) == ("<|end|>", None, ("default",))
    assert not any(name in path for path in hub.paths() for name in TEXT_FILES)


def test_what_was_read_whole_is_kept_and_used(hub: StandIn, tmp_path: Path) -> None:
    find(tmp_path)
    offline = find(tmp_path, text_files=True, offline=True).files.text
    assert offline is not None
    assert "summary" in offline.source
    whole = find(tmp_path, text_files=True).files.text
    hub.seen.clear()
    assert find(tmp_path, text_files=True).files.text == find(tmp_path).files.text == whole
    assert hub.seen == []


def test_a_file_that_is_too_long_or_none_is_left_out(hub: StandIn, tmp_path: Path) -> None:
    files = hub.repositories["acme/talks"].files
    files["tokenizer_config.json"] = literal(b"{" + b" " * 11_000_000)
    files["generation_config.json"] = literal(b"[1]")
    found = find(tmp_path, text_files=True).files
    assert found.text is not None
    assert found.text.generation == {}
    too_long, no_object = found.notes
    assert too_long == "tokenizer_config.json was left out: the answer is longer than 4,000,000 bytes"
    assert no_object == "generation_config.json was left out: expected a JSON object, found a list"
    assert found.weights is not None


@pytest.mark.parametrize(
    "tokenizer",
    [
        {
            "added_tokens_decoder": [1],
            "model_max_length": "long",
            "eos_token": 7,
            "chat_template": {"a": 1},
            "tokenizer_class": [],
        },
        {
            "added_tokens_decoder": {"-1": 0, "x": 0, "9" * 30: 0},
            "model_max_length": 1e30,
            "eos_token": {"content": None},
        },
        {"chat_template": [{"name": 3, "template": "x"}, "y", {"template": "z"}], "model_max_length": True},
        {"chat_template": "x" * (MAX_TEMPLATE_CHARS + 1), "model_max_length": -5},
    ],
)
def test_values_of_the_wrong_kind_are_unknown(tokenizer: dict[str, Any]) -> None:
    text, notes = read(tokenizer=tokenizer)
    assert notes == ()
    assert text is not None
    assert (text.highest_added_id, text.max_tokens, text.special_tokens, text.chat_template) == (None, None, {}, None)


def test_files_that_no_program_writes_are_named() -> None:
    for hostile in (b"\xff{", b"{}}", b"[" * 10**6, b"null"):
        text, notes = read(tokenizer=hostile, generation={"top_k": 3})
        assert text is not None
        assert text.generation == {"top_k": 3}
        assert notes[0].startswith("tokenizer_config.json was left out")
    assert read(template=b"\xff") == (None, ("chat_template.jinja was left out: not UTF-8 text",))
    assert "characters" in read(template=b"x" * (MAX_TEMPLATE_CHARS + 1))[1][0]


def test_older_and_several_templates() -> None:
    text, _ = read(old={"chat_template": "old"}, added={"<a>": 32_000, "<b>": "x"})
    assert text is not None
    assert (text.chat_template, text.added_tokens, text.highest_added_id) == ("old", 1, 32_000)
    rows = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    text, _ = read(tokenizer={"chat_template": rows})
    assert text is not None
    assert (text.chat_template, text.chat_templates) == ("D", ("default", "tool_use"))


@pytest.mark.parametrize(
    "summary", [None, [], "x", {"tokenizer_config": [1]}, {"tokenizer_config": {"eos_token": 3, "chat_template": 4}}]
)
def test_a_summary_of_another_shape_says_nothing(summary: object) -> None:
    assert summary_facts(summary, summary, ()) is None


def test_rope_scaling_applied_or_not() -> None:
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    before, after = (
        rope_scaling({"max_position_embeddings": limit, "rope_scaling": yarn}) for limit in (32_768, 131_072)
    )
    assert before is not None
    assert after is not None
    assert (before.applied, after.applied) == (False, True)


def test_a_hostile_template_is_shown_and_not_obeyed(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fmkit.catalog.paths.cache_folder", lambda: tmp_path)
    files = hub.repositories["acme/talks"].files
    files["chat_template.jinja"] = literal(
        "{{ 7 * 191 }}\x1b[2J[bold]\n\u202egnp.exe\n{% for i in range(10**9) %}{% endfor %}"
    )
    files["tokenizer_config.json"] = literal({"eos_token": "\x1b]0;owned\x07", "added_tokens_decoder": {"40000": {}}})
    shown = here(capsys, "vram", "acme/talks", "--memory", "8GiB", "--detail")
    assert shown.code == 0
    assert "{{ 7 * 191 }}" in shown.out
    assert "[bold]" in shown.out
    assert "1337" not in shown.out
    assert not any(character in shown.out for character in "\x1b\x07\u202e")
    assert "up to number 40,000, and the embedding has 32,000 rows" in " ".join(shown.out.split())
