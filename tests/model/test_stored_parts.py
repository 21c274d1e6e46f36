"""Stored names against architectures: real shapes of published models, under the names that transformers writes checkpoints with."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.architectures import read
from fmkit.model.precision import DTYPE_BYTES
from fmkit.model.spec import ModelSpec
from fmkit.model.stored import StoredTensor
from fmkit.model.stored_parts import StoredMatch, match
from tests.configs import FOLDERS
from tests.sizing.real_models import config_of, on_meta

CHEAP = (
    "meta-llama--Llama-3.1-8B-Instruct", "openai-community--gpt2", "google-bert--bert-base-uncased", "google-t5--t5-small",
    "openai--whisper-small", "openai--clip-vit-base-patch32", "google--gemma-3-4b-it", "llava-hf--llava-1.5-7b-hf",
    "mistralai--Mixtral-8x7B-v0.1", "Qwen--Qwen3-30B-A3B", "state-spaces--mamba-130m-hf", "microsoft--deberta-v3-base",
)  # fmt: skip
STORED_BUFFERS = {"deepseek-ai--DeepSeek-V4-Flash": 18_616_320 + 20_480}
"""Bytes of buffers that are stored under names of their own, and loaded: tables of experts by token (int64), and biases of the router."""


def stored(name: str) -> tuple[ModelSpec, list[StoredTensor], int]:
    """The model's spec, the tensors of its checkpoint by the names transformers writes, and the bytes of its parameters."""
    model: Any = on_meta(name)
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    state = {key: tensor for key, tensor in model.state_dict().items() if key not in tied}
    written = import_module("transformers.core_model_loading").revert_weight_conversion(model, state)
    tensors = [
        StoredTensor(key, tuple(one.shape), str(one.dtype).removeprefix("torch."), one.numel() * one.element_size())
        for key, one in written.items()
    ]
    parameters = sum(one.numel() * one.element_size() for one in model.parameters())
    return read(config_of(name), where=name), tensors, parameters


def loaded_bytes(found: StoredMatch) -> int:
    return sum(group.elements * DTYPE_BYTES[group.dtype or "float32"] for group in found.groups if group.from_header)


def distinct() -> list[str]:
    """One config of each class of the catalog and the fixtures."""
    names, seen = [], set()
    for name in sorted({path.stem for folder in FOLDERS for path in folder.glob("*.json")}):
        config = config_of(name)
        key = (config.get("model_type"), tuple(config.get("architectures") or ()), config.get("tie_word_embeddings"))
        if key not in seen and key[1]:
            seen.add(key)
            names.append(name)
    return names


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers' own, about old configs
@pytest.mark.parametrize(
    "name", [*CHEAP, *(pytest.param(name, marks=pytest.mark.full) for name in distinct() if name not in CHEAP)]
)
def test_every_parameter_is_found_and_nothing_else(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = config_of(name)
    implementation = getattr(transformers, config["architectures"][0], None)
    if implementation is None or (
        "auto_map" in config and implementation.config_class.model_type != config["model_type"]
    ):
        pytest.skip("a class that transformers does not have")
    try:
        spec, tensors, parameters = stored(name)
    except (ImportError, ArchitectureUnknownError) as error:
        pytest.skip(str(error)[:80])
    found = match(spec, tensors)
    assert loaded_bytes(found) == parameters + STORED_BUFFERS.get(name, 0)
    assert found.notes == () or name in STORED_BUFFERS


def test_layers_of_the_next_token_are_left_out() -> None:
    spec, tensors, parameters = stored("meta-llama--Llama-3.1-8B-Instruct")
    extra = [
        StoredTensor(re.sub(r"layers\.0\.", "layers.32.", one.name), one.shape, one.dtype, one.bytes)
        for one in tensors
        if ".layers.0." in one.name
    ]
    found = match(spec, [*tensors, *extra, StoredTensor("mtp.fc.weight", (2, 2), "bfloat16", 8)])
    assert loaded_bytes(found) == parameters
    assert found.not_loaded_bytes == sum(one.bytes for one in extra) + 8


def test_parts_add_up_to_the_architectures() -> None:
    spec, tensors, _ = stored("mistralai--Mixtral-8x7B-v0.1")
    found: dict[str, int] = {}
    for group in match(spec, tensors).groups:
        found[group.part] = found.get(group.part, 0) + group.elements
    expected: dict[str, int] = {}
    for group in spec.tensors:
        expected[group.part] = expected.get(group.part, 0) + group.elements
    assert found == expected
    active = sum(group.active_elements for group in match(spec, tensors).groups if group.part == "experts")
    assert active == sum(group.active_elements for group in spec.tensors if group.part == "experts")
