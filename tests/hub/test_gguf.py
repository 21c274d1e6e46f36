"""The parser of GGUF headers: files really written by the gguf package, and files that no honest program writes."""

from __future__ import annotations

import contextlib
import importlib
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmkit.errors import ModelNotFoundError, UnsafeInputError
from fmkit.hub.gguf import read_gguf
from fmkit.hub.gguf_header import HeaderTooLongError, SkippedArray, parse_gguf
from tests.gguf_file import header, key, string, tensor

FIXTURES = Path(__file__).parents[1] / "fixtures" / "gguf"
FILES = sorted(FIXTURES.glob("*.gguf"))
HUGE = 2**62


def parse(data: bytes, size: int = 10**6) -> Any:
    return parse_gguf(data, file_bytes=size, where="test.gguf")


def test_there_are_files() -> None:
    assert [file.name for file in FILES] == ["llama-f16.gguf", "llama-q4_0.gguf", "llama-q8_0.gguf"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_data_section_fills_the_file(file: Path) -> None:
    found = read_gguf(file)
    last = max(found.tensors, key=lambda one: one.offset)
    assert found.data_offset + last.offset + last.bytes == file.stat().st_size
    assert found.keys["general.architecture"] == "llama"
    assert found.keys["tokenizer.ggml.tokens"] == SkippedArray(300)


@pytest.mark.parametrize(("name", "file_type"), [("f16", 1), ("q4_0", 2), ("q8_0", 7)])
def test_file_type_is_found_before_and_after_the_vocabulary(name: str, file_type: int) -> None:
    assert read_gguf(FIXTURES / f"llama-{name}.gguf").keys["general.file_type"] == file_type


def test_names_shapes_types_and_bytes() -> None:
    found = {one.name: one for one in read_gguf(FIXTURES / "llama-q4_0.gguf").tensors}
    assert len(found) == 21
    down = found["blk.1.ffn_down.weight"]
    assert (down.shape, down.dtype, down.bytes) == ((64, 96), "Q4_0", 96 * 64 // 32 * 18)
    assert (found["output.weight"].dtype, found["output.weight"].bytes) == ("Q8_0", 300 * 64 // 32 * 34)
    assert (found["output_norm.weight"].dtype, found["output_norm.weight"].bytes) == ("F32", 256)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_agrees_with_the_gguf_package(file: Path) -> None:
    pytest.importorskip("gguf", reason="the gguf package is not installed: pip install 'fmkit[dev]'")
    reader = importlib.import_module("gguf").GGUFReader(file)
    theirs = [
        (one.name, tuple(int(n) for n in one.shape), one.tensor_type.name, int(one.n_bytes), int(one.data_offset))
        for one in reader.tensors
    ]
    found = read_gguf(file)
    ours = [(one.name, one.shape[::-1], one.dtype, one.bytes, found.data_offset + one.offset) for one in found.tensors]
    assert ours == theirs


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_both_byte_orders_and_versions(order: str, version: int) -> None:
    data = header(
        [key("a", 7, order), key("b", "text", order), key("c", [1, 2, 3], order)],
        [tensor("x", (64, 2), 8, 0, order)],
        version=version,
        order=order,
    )
    found = parse(data)
    assert found.keys == {"a": 7, "b": "text", "c": (1, 2, 3)}
    assert (found.version, found.tensors[0].bytes) == (version, 136)


def test_an_alignment_of_its_own() -> None:
    assert parse(header([key("general.alignment", 64)], [])).data_offset == 64


HOSTILE = {
    "no GGUF": b"PK\x03\x04" + bytes(64),
    "version 1": header([], [], version=1),
    "version 99": header([], [], version=99),
    "2**62 tensors": b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0),
    "2**62 keys": b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE),
    "string of 2**62": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, HUGE),
    "array of 2**60 numbers": header([string("a") + struct.pack("<IIQ", 9, 4, 2**60)], []),
    "array of 2**60 strings": header([string("a") + struct.pack("<IIQ", 9, 8, 2**60)], []),
    "array of arrays": header([string("a") + struct.pack("<IIQ", 9, 9, 1)], []),
    "value of type 77": header([string("a") + struct.pack("<I", 77)], []),
    "key twice": header([key("a", 1), key("a", 2)], []),
    "tensor twice": header([], [tensor("a", (32,), 0, 0)] * 2),
    "99 dimensions": header([], [string("a") + struct.pack("<I", 99)]),
    "dimensions overflow": header([], [tensor("a", (2**40, 2**40), 0, 0)]),
    "unknown type": header([], [tensor("a", (32,), 139, 0)]),
    "broken row": header([], [tensor("a", (33, 4), 8, 0)]),
    "offset not aligned": header([], [tensor("a", (32,), 0, 4)]),
    "tensor beyond the end": header([], [tensor("a", (2**20,), 0, 0)]),
    "offset beyond the end": header([], [tensor("a", (32,), 0, HUGE)]),
    "alignment 0": header([key("general.alignment", 0)], []),
    "alignment 3": header([key("general.alignment", 3)], []),
    "alignment text": header([key("general.alignment", "32")], []),
    "not UTF-8": header([string(b"\xff\xfe") + struct.pack("<II", 4, 1)], []),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(data: bytes) -> None:
    with pytest.raises(UnsafeInputError) as caught:
        parse(data)
    assert caught.value.where == "test.gguf"
    assert len(caught.value.message) < 200


def test_a_file_cut_inside_its_header(tmp_path: Path) -> None:
    data = FILES[0].read_bytes()
    for length in (0, 3, 4, 11, 100, 5000):
        path = tmp_path / "cut.gguf"
        path.write_bytes(data[:length])
        with pytest.raises(UnsafeInputError, match="incomplete"):
            read_gguf(path)


def test_a_file_cut_inside_its_data(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(FILES[0].read_bytes()[:-1])
    with pytest.raises(UnsafeInputError, match="incomplete"):
        read_gguf(path)


def test_a_header_longer_than_the_first_read(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    path.write_bytes(header([key("words", ["x" * 100] * 30_000)], [tensor("t", (32,), 0, 0)]) + bytes(4096))
    found = read_gguf(path)
    assert found.keys["words"] == SkippedArray(30_000)
    assert found.data_offset > 3_000_000


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        read_gguf(tmp_path / "none.gguf")


@given(st.integers(0, 8_000), st.binary(min_size=1, max_size=12))
def test_any_damage_is_an_answer_or_a_clear_error(at: int, damage: bytes) -> None:
    data = FILES[1].read_bytes()
    broken = data[:at] + damage + data[at + len(damage) :]
    with contextlib.suppress(UnsafeInputError, HeaderTooLongError):
        parse_gguf(broken, file_bytes=len(broken), where="x")
