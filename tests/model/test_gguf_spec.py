"""The spec of a GGUF file: what its keys and tensors say is what the config.json of the same model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.gguf_sizes import load
from fmkit.catalog.load import load_catalog
from fmkit.errors import ArchitectureUnknownError, ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.hub.gguf import read_gguf, read_gguf_set
from fmkit.hub.gguf_header import parse_gguf
from fmkit.machine import memory_machine
from fmkit.model.gguf_mix import mixed
from fmkit.model.gguf_spec import read_gguf_spec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate
from fmkit.speed.operations import decode_weight_bytes
from fmkit.units import GIB
from tests.gguf_file import header, key, tensor, write_model

FIXTURES = Path(__file__).parents[1] / "fixtures" / "gguf"


def spec_of(path: Path) -> Any:
    found = read_gguf(path)
    return read_gguf_spec(found.keys, found.tensors, where=str(path))


@pytest.mark.parametrize(
    ("config", "file_type"),
    [("HuggingFaceTB--SmolLM2-135M-Instruct", "Q4_K_M"), ("google--gemma-3-1b-it", "Q5_K_M"), ("google--gemma-2-2b", "Q8_0"),
     ("Qwen--Qwen3-4B", "Q6_K")],
)  # fmt: skip
def test_the_file_says_what_the_config_says(config: str, file_type: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    from_config = load(config)
    write_model(path, from_config, file_type)
    from_file = spec_of(path)
    assert from_file.params == from_config.params
    assert from_file.tied_head == from_config.tied_head
    catalog = load_catalog()
    engine = catalog.engines["llama.cpp"]
    precision = file_type.lower()
    for options in ({}, {"gpu_layers": "5"}):
        workload = Workload(context_tokens=9000, sequences=2, options=options)
        on = memory_machine(24 * GIB)
        by_file = estimate(from_file, engine, catalog.layouts["gguf-stored"], "stored", workload, on)
        by_config = estimate(from_config, engine, catalog.layouts[engine.layouts[precision]], precision, workload, on)
        assert by_file.weights_bytes == by_config.weights_bytes
        assert by_file.cache_bytes == by_config.cache_bytes
        assert by_file.peak_bytes == by_config.peak_bytes
        assert {line.basis for line in by_file.lines if line.part.startswith("weights") and line.bytes} == {"header"}


def test_bytes_are_the_files() -> None:
    path = FIXTURES / "llama-q4_0.gguf"
    found = read_gguf(path)
    spec = spec_of(path)
    assert sum(entry.bytes for entry in mixed(spec, "stored")) == found.tensor_bytes == 67_040
    stored = load_catalog().layouts["gguf-stored"]
    read = decode_weight_bytes(spec, stored, 1)
    assert read == found.tensor_bytes - 300 * 64 // 32 * 18  # all but the token embedding


def test_a_file_has_its_own_precision_only() -> None:
    with pytest.raises(UsageError, match="stored with"):
        mixed(spec_of(FIXTURES / "llama-q4_0.gguf"), "Q8_0")
    with pytest.raises(UsageError, match="only a GGUF file"):
        mixed(load("openai-community--gpt2-xl"), "stored")


@pytest.mark.parametrize(
    ("keys", "tensors", "error"),
    [
        ([], [], "general.architecture"),
        ([key("general.architecture", "clip")], [], "clip"),
        ([key("general.architecture", "llama")], [], "token_embd"),
        ([key("general.architecture", "llama")], [tensor("token_embd.weight", (64, 300), 0, 0)], "block_count"),
        ([key("general.architecture", "llama"), key("llama.block_count", "two")], [tensor("token_embd.weight", (64, 300), 0, 0)],
         "whole number"),
        ([key("general.architecture", "llama"), key("llama.block_count", 2**31)], [tensor("token_embd.weight", (64, 300), 0, 0)],
         "layers"),
        ([key("general.architecture", "llama"), key("llama.block_count", 2), key("llama.embedding_length", 64),
          key("llama.attention.head_count", 0)], [tensor("token_embd.weight", (64, 300), 0, 0)], "head_count"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(keys: list[bytes], tensors: list[bytes], error: str) -> None:
    found = parse_gguf(header(keys, tensors), file_bytes=10**6, where="x")
    with pytest.raises((ArchitectureUnknownError, UnsafeInputError), match=error):
        read_gguf_spec(found.keys, found.tensors, where="x")


def test_parts_of_a_split_file(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2))
    first.write_bytes(header([key("a", 1)], [tensor("x", (32,), 0, 0)]) + bytes(4096))
    with pytest.raises(ModelNotFoundError, match="m-00002-of-00002"):
        read_gguf_set(first)
    second.write_bytes(header([], [tensor("y", (32,), 0, 0)]) + bytes(4096))
    _, weights = read_gguf_set(second)
    assert [one.name for one in weights.tensors] == ["x", "y"]
