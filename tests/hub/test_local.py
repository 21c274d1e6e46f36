"""Folders and files on this disk: what is told apart by names and headers, nothing loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fmkit.errors import ModelNotFoundError, UnsafeInputError
from fmkit.hub.local import read_folder, read_weight_file
from fmkit.hub.weight_files import pickles_of, safetensors_of, variants_of
from tests.stand_in.content import File, safetensors, sharded
from tests.stand_in.samples import gguf_files

TENSORS = {f"layer.{number}.weight": ("F32", (4, number + 1)) for number in range(6)}
BYTES = 4 * 4 * 21


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "model", {"config.json": b'{"model_type": "llama"}'})


def put(folder: Path, files: dict[str, bytes | File]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(data.head if isinstance(data, File) else data)
            if isinstance(data, File):
                stream.truncate(data.size)
    return folder


def test_one_file_and_shards_give_the_same_tensors(tmp_path: Path, folder: Path) -> None:
    put(folder, {"model.safetensors": safetensors(TENSORS)})
    one = read_folder(folder).weights
    assert one is not None
    assert (one.format, one.tensor_bytes, len(one.files)) == ("safetensors", BYTES, 1)
    several = read_folder(put(tmp_path / "sharded", {"config.json": b"{}", **sharded(TENSORS, 3)})).weights
    assert several is not None
    assert {(t.name, t.shape, t.bytes) for t in several.tensors} == {(t.name, t.shape, t.bytes) for t in one.tensors}
    assert len(several.files) == 3


def test_a_missing_shard_is_said_and_nothing_is_claimed(folder: Path) -> None:
    files = sharded(TENSORS, 3)
    del files["model-00003-of-00003.safetensors"]
    found = read_folder(put(folder, dict(files)))
    assert found.weights is None
    assert "1 of 3 weight files are missing, among them model-00003-of-00003.safetensors" in found.notes[0]


def test_a_shard_cut_short_is_an_error(folder: Path) -> None:
    put(folder, dict(sharded(TENSORS, 3)))
    second = folder / "model-00002-of-00003.safetensors"
    os.truncate(second, second.stat().st_size - 1)
    with pytest.raises(UnsafeInputError, match="incomplete"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a\\b", "a\x1bb", ".."])
def test_an_index_that_leads_out_of_the_folder(folder: Path, name: str) -> None:
    put(folder, {"model.safetensors.index.json": json.dumps({"weight_map": {"a": name}}).encode()})
    with pytest.raises(UnsafeInputError, match="outside of the model"):
        read_folder(folder)


def test_pickles_are_counted_and_not_opened(folder: Path) -> None:
    bomb = b"cos\nsystem\n(S'exit 66'\ntR."
    found = read_folder(
        put(folder, {"pytorch_model.bin": bomb, "training_args.bin": b"x" * 1000, "optimizer.pt": b"x" * 10**6})
    )
    assert found.weights is not None
    assert (found.weights.format, found.weights.file_bytes) == ("pickle", len(bomb))
    assert "none is opened" in found.notes[0]


def test_safetensors_win_over_pickles_and_copies(folder: Path) -> None:
    found = read_folder(
        put(folder, {
            "model.safetensors": safetensors(TENSORS), "model.fp16.safetensors": b"", "pytorch_model.bin": b"x",
            "consolidated.00.pth": b"x", "onnx/model.onnx": b"x",
        })
    ).weights  # fmt: skip
    assert found is not None
    assert found.tensor_bytes == BYTES


def test_dense_layers_of_sentence_transformers_count(folder: Path) -> None:
    dense = safetensors({"linear.weight": ("F32", (2, 2))})
    found = read_folder(
        put(folder, {"model.safetensors": safetensors(TENSORS), "2_Dense/model.safetensors": dense})
    ).weights
    assert found is not None
    assert found.tensor_bytes == BYTES + 16
    assert {file.name for file in found.files} == {"model.safetensors", "2_Dense/model.safetensors"}


def test_a_folder_of_quantisations(tmp_path: Path) -> None:
    files = {name: file for name, file in gguf_files().items() if not name.startswith(("mmproj", "imatrix"))}
    found = read_folder(put(tmp_path / "gguf", dict(files)))
    assert [one.label for one in found.variants] == ["Q2_K", "Q4_K_M", "Q6_K", "Q8_0", "F16"]
    assert all(one.weights is not None for one in found.variants)
    split = next(one.weights for one in found.variants if one.label == "Q8_0")
    assert split is not None
    assert len(split.files) == 2


def test_an_adapter_and_a_pipeline(tmp_path: Path) -> None:
    adapter = read_folder(
        put(tmp_path / "lora", {
            "adapter_config.json": b'{"base_model_name_or_path": "org/base", "r": "many"}',
            "adapter_model.safetensors": safetensors(TENSORS),
        })
    )  # fmt: skip
    assert adapter.adapter is not None
    assert (adapter.adapter.base, adapter.adapter.rank) == ("org/base", None)
    assert adapter.weights is not None
    assert adapter.weights.tensor_bytes == BYTES
    pipeline = read_folder(put(tmp_path / "pipe", {"model_index.json": b"{}", "unet/x.safetensors": b"12345"}))
    assert [(one.name, one.bytes) for one in pipeline.components] == [("unet", 5)]


def test_one_weight_file_with_and_without_config(tmp_path: Path, folder: Path) -> None:
    put(folder, {"part.safetensors": safetensors(TENSORS)})
    assert read_weight_file(folder / "part.safetensors").config == {"model_type": "llama"}
    put(tmp_path / "alone", {"x.safetensors": safetensors(TENSORS)})
    found = read_weight_file(tmp_path / "alone" / "x.safetensors")
    assert (found.layout, found.config) == ("weights-only", None)
    with pytest.raises(ModelNotFoundError):
        read_weight_file(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "model.fp16.safetensors", "model-00001-of-00002.safetensors"]
)
def test_a_weight_file_of_any_name_is_sized(tmp_path: Path, name: str) -> None:
    found = read_weight_file(put(tmp_path, {name: safetensors(TENSORS)}) / name).weights
    assert found is not None
    assert (found.tensor_bytes, [file.name for file in found.files]) == (BYTES, [name])


def test_a_pipe_in_place_of_a_file_does_not_hang(folder: Path) -> None:
    os.mkfifo(folder / "model.safetensors")
    assert read_folder(folder).layout == "config-only"
    with pytest.raises(UnsafeInputError, match="regular file"):
        read_weight_file(folder / "model.safetensors")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"no config\.json and no weights"):
        read_folder(tmp_path / "empty")


def test_names_of_weights() -> None:
    assert safetensors_of({"consolidated.safetensors": 1}) is not None
    assert safetensors_of({"a.safetensors": 1, "b.safetensors": 1}) is None
    assert safetensors_of({"sub/model.safetensors": 1}) is None
    huge = safetensors_of({"model-00001-of-99999.safetensors": 1})
    assert huge is not None
    assert huge.missing == ()
    assert pickles_of({"pytorch_model-00001-of-00002.bin": 1, "pytorch_model-00002-of-00002.bin": 2}) is not None
    assert pickles_of({"tokenizer.bin": 1, "sub/x.bin": 1}) is None
    assert [one.label for one in variants_of({"a-Q4_K_M.gguf": 1, "b-Q4_K_M.gguf": 2})] == ["a-Q4_K_M", "b-Q4_K_M"]
