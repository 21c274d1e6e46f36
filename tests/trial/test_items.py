"""Inputs: what a line of JSONL may say, and how a bad one is refused by its number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.errors import UnsafeInputError
from fmkit.trial import items as module
from fmkit.trial.items import Item, Turn, parts, read_items


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "inputs.jsonl"
    path.write_text(
        "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines), encoding="utf-8"
    )
    return path


def test_what_a_line_may_say(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    found = read_items(
        written(
            tmp_path,
            {"id": "one", "text": "Hello", "extra": [1, 2]},
            "",
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
            {"query": "who", "passages": ["a", "b"], "reference": "a"},
        ),
        "decoder",
    )
    assert [item.line for item in found] == [1, 3, 4]
    assert (found[0].id, found[0].text) == ("one", "Hello")
    assert found[1].turns[1] == Turn(role="user", content="Hi")
    assert (found[2].text, found[2].texts, found[2].reference) == ("who", ("a", "b"), "a")
    assert len({item.digest for item in found}) == 3
    (picture,) = read_items(written(tmp_path, {"image": "a.png", "question": "What is it?"}), "vision-language")
    assert (picture.image, picture.text) == (str(tmp_path / "a.png"), "What is it?")


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("decoder", "{not json", "line 2: JSON is malformed"),
        ("decoder", "[1]", "line 2: Expected `object`"),
        ("decoder", {"text": 5}, "line 2: Expected `str"),
        ("decoder", {}, "line 2: has no `text`"),
        ("decoder", {"text": "a", "prompt": "b"}, "line 2: has `text` and `prompt`, which mean the same"),
        ("decoder", {"text": "a", "messages": [{"role": "user", "content": "b"}]}, "line 2: has `messages` and a text"),
        ("decoder", {"messages": [{"role": "king", "content": "b"}]}, "line 2: Invalid enum value"),
        ("decoder", "[" * 100_000, "line 2: "),
        ("speech", {"text": "a"}, "line 2: a speech model needs `audio`"),
        ("speech", {"audio": "gone.wav"}, "line 2: no such file: gone.wav"),
        ("speech", {"audio": "/etc/passwd"}, "line 2: '/etc/passwd' is none of .wav"),
        ("clip", {"image": "a.png"}, "line 2: a clip model needs `captions`"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, kind: str, line: Any, says: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a.wav").touch()
    good = {"decoder": {"text": "a"}, "speech": {"audio": "a.wav"}, "clip": {"image": "a.png", "captions": ["b"]}}
    with pytest.raises(UnsafeInputError) as error:
        read_items(written(tmp_path, good[kind], line), kind)
    assert error.value.message.startswith(says)
    assert str(error.value.where).endswith("inputs.jsonl")


def test_several_bad_lines_are_counted_and_an_empty_file_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeInputError, match=r"line 1: .*line 2: .*line 3: .*; and 2 more"):
        read_items(written(tmp_path, *["{"] * 5), "decoder")
    with pytest.raises(UnsafeInputError, match="no input"):
        read_items(written(tmp_path, "", ""), "decoder")


def test_a_line_that_is_too_long_does_not_shift_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINE_BYTES", 100)
    path = written(tmp_path, {"text": "a"}, {"text": "b" * 500}, {"text": 1})
    with pytest.raises(UnsafeInputError, match=r"^line 2: longer than 100 bytes; line 3: Expected"):
        read_items(path, "decoder")
    monkeypatch.setattr(module, "MOST_FILE_BYTES", 100)
    with pytest.raises(UnsafeInputError, match="larger than"):
        read_items(path, "decoder")


def test_parts_and_what_is_shown() -> None:
    assert parts("a cat| a dog |") == ["a cat", "a dog"]
    assert parts("one line\n\nanother | with a bar\n") == ["one line", "another | with a bar"]
    assert Item(turns=(Turn(role="user", content="a\nb"),)).shown() == "user: a b"
    assert len(Item(text="word " * 100).shown()) == 200
    assert Item().is_packaged
    assert not Item(image="a.png").is_packaged
