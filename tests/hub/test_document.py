"""JSON from strangers, and models on this disk."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from fmkit.errors import ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.document import MAX_BYTES, MAX_DEPTH, parse_object
from fmkit.hub.local import read_config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1, 2]", "found a list"),
        (b"null", "found a null"),
        (b'"text"', "found a string"),
        (b"3", "found a number"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "nested deeper"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b" " * (MAX_BYTES + 1), "too much"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_hostile_documents(data: bytes, message: str) -> None:
    with pytest.raises(UnsafeInputError, match=message) as caught:
        parse_object(data, where="config.json")
    assert caught.value.exit_code == 10
    assert caught.value.where == "config.json"


def test_what_transformers_writes_is_read() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": [[1]]}', where="x") == {"a": [[1]]}
    assert math.isinf(parse_object(b'{"time_step_limit": [0.0, Infinity]}', where="x")["time_step_limit"][1])


def test_a_folder_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"n_layer": 12}')
    assert read_config(tmp_path) == read_config(tmp_path / "config.json") == {"n_layer": 12}


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        read_config(tmp_path / "absent")
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        read_config(tmp_path)
    (tmp_path / "model.gguf").touch()
    for path in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(UsageError, match="GGUF"):
            read_config(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs file permissions that bind this user")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    file.chmod(0)
    with pytest.raises(UnsafeInputError, match="can't read"):
        read_config(file)
