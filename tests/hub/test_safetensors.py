"""The parser of safetensors headers: files really written by the safetensors package, and headers that no honest program writes."""

from __future__ import annotations

import importlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmkit.errors import ModelNotFoundError, UnsafeInputError
from fmkit.hub.safetensors import MAX_HEADER_BYTES, header_bytes, parse_header, read_safetensors
from tests.stand_in.content import safetensors, with_header

F16 = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}
HUGE = 2**62


def header(document: object) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(["float16", "bfloat16", "float32", "int64", "uint8", "bool"]), st.lists(st.integers(0, 5), max_size=3)),
        min_size=1,  # of no tensors and empty metadata the package (0.8) writes what is no JSON
        max_size=6,
    ),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_reads_what_the_package_writes(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    save = importlib.import_module("safetensors.torch").save_file
    path = tmp_path_factory.mktemp("written") / "model.safetensors"
    save(
        {name: torch.zeros(shape, dtype=getattr(torch, dtype)) for name, (dtype, shape) in tensors.items()},
        path,
        metadata,
    )
    found = {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in read_safetensors(path)}
    assert found == tensors
    theirs = importlib.import_module("safetensors").safe_open
    with theirs(path, "pt") as reader:
        assert set(reader.keys()) == set(found)
        for name in found:
            assert list(reader.get_slice(name).get_shape()) == found[name][1]


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "int32", "int16", "int8", "float64", "complex64"])
def test_types_and_bytes_as_the_package_writes_them(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.zeros(3, 4, dtype=getattr(torch, dtype))
    importlib.import_module("safetensors.torch").save_file({"w": tensor}, tmp_path / "w.safetensors")
    (found,) = read_safetensors(tmp_path / "w.safetensors")
    assert (found.dtype, found.bytes) == (dtype, tensor.numel() * tensor.element_size())


HOSTILE: dict[str, tuple[object, str]] = {
    "a list": ([], "no JSON object"),
    "empty": (b"", "no JSON object"),
    "not JSON": (b"{nonsense", "can't be read"),
    "not UTF-8": (b'{"\xff":{}}', "can't be read"),
    "a number for a tensor": ({"a": 3}, "can't be read"),
    "shape of the wrong type": ({"a": {**F16, "shape": "xx"}}, "can't be read"),
    "no offsets": ({"a": {**F16, "data_offsets": None}}, "lacks"),
    "three offsets": ({"a": {**F16, "data_offsets": [0, 4, 8]}}, "can't be read"),
    "nested deeply": (b'{"a":{"x":' + b"[" * 200_000, "nested too deeply"),
    "dimensions of 2^62": ({"a": {**F16, "shape": [HUGE, HUGE]}}, "shape that no tensor has"),
    "a dimension of a thousand digits": (b'{"a":{"dtype":"F16","shape":[' + b"9" * 1000 + b'],"data_offsets":[0,8]}}', "shape|read"),
    "a negative dimension": ({"a": {**F16, "shape": [-2, -2]}}, "shape that no tensor has"),
    "nine dimensions": ({"a": {**F16, "shape": [1] * 9}}, "shape that no tensor has"),
    "a fraction": ({"a": {**F16, "shape": [2.5]}}, "can't be read"),
    "more bytes than shape and type": ({"a": {**F16, "data_offsets": [0, 9]}}, "not what its type and shape need"),
    "offsets backwards": ({"a": {**F16, "data_offsets": [8, 0]}}, "not what its type and shape need"),
    "offsets below zero": ({"a": {**F16, "data_offsets": [-8, 0]}}, "not what its type and shape need"),
    "beyond the file": ({"a": {**F16, "shape": [2**20, 2**12], "data_offsets": [0, 2**33]}}, "download is incomplete"),
    "overlap": ({"a": F16, "b": {**F16, "data_offsets": [4, 12]}}, "overlaps"),
    "a gap": ({"a": {**F16, "data_offsets": [4, 12]}}, "unused"),
    "bytes without a tensor": ({}, "belong to no tensor"),
    "a key twice": (b'{"a":' + json.dumps(F16).encode() + b',"a":' + json.dumps(F16).encode() + b"}", "listed twice"),
    "unknown type": ({"a": {**F16, "dtype": "F17"}}, "does not know"),
    "150,000 tensors": (b"{" + b",".join(b'"%d":{}' % n for n in range(150_000)) + b"}", "more than 60,000"),
    "a name with control characters": ({"\x1b[31m": {**F16, "dtype": "F17"}}, r"\\x1b"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers(document: object, message: str) -> None:
    with pytest.raises(UnsafeInputError, match=message) as caught:
        parse_header(header(document), data_bytes=8, where="x.safetensors")
    assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    ("first", "size", "message"),
    [
        (b"", 0, "incomplete"),
        (b"abc", 3, "incomplete"),
        (struct.pack("<Q", 2**63), 10**9, "claims a header"),
        (struct.pack("<Q", MAX_HEADER_BYTES + 1), 10**9, "claims a header"),
        (struct.pack("<Q", 100), 50, "ends inside its header"),
    ],
)
def test_lengths_that_no_file_has(first: bytes, size: int, message: str) -> None:
    with pytest.raises(UnsafeInputError, match=message):
        header_bytes(first, file_bytes=size, where="x")


def test_an_empty_header_is_a_file_without_tensors() -> None:
    assert parse_header(b"{}", data_bytes=0, where="x") == ()


def test_truncated_and_lengthened_files(tmp_path: Path) -> None:
    file = safetensors({"a": ("F32", (4,))})
    path = tmp_path / "x.safetensors"
    whole = file.part(0, file.size - 1)
    for data, message in (
        (whole[:-1], "incomplete"),
        (whole + b"\0", "belong to no tensor"),
        (whole[:20], "ends inside"),
    ):
        path.write_bytes(data)
        with pytest.raises(UnsafeInputError, match=message):
            read_safetensors(path)
    with pytest.raises(ModelNotFoundError):
        read_safetensors(tmp_path / "none.safetensors")
    with pytest.raises(UnsafeInputError, match="regular file"):
        read_safetensors(tmp_path)


@given(st.integers(0, 250), st.binary(min_size=1, max_size=8))
def test_any_damage_is_an_answer_or_a_clear_error(at: int, damage: bytes) -> None:
    good = safetensors({"a": ("F32", (4,)), "b": ("BF16", (2, 3)), "c": ("I64", ())})
    data = good.head[:at] + damage + good.head[at + len(damage) :]
    outcome: Any = None
    try:
        length = header_bytes(data[:8], file_bytes=good.size, where="x")
        outcome = parse_header(data[8 : 8 + length], data_bytes=good.size - 8 - length, where="x")
    except UnsafeInputError as error:
        outcome = error.message
    assert outcome is not None


def test_padding_after_the_header_is_no_fault() -> None:
    file = with_header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4)
    length = header_bytes(file.head[:8], file_bytes=file.size, where="x")
    assert length % 8 == 0
    assert [tensor.name for tensor in parse_header(file.head[8 : 8 + length], data_bytes=4, where="x")] == ["a"]
