"""`device_map="auto"`: our placement against what transformers' own functions return for the same model on the meta device."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from fmkit.model.architectures import read
from fmkit.model.spec import TensorGroup
from fmkit.sizing.device_map import balanced_limits, infer, module_tree, unfolded
from tests.sizing.real_models import config_of, on_meta

BUFFER_BYTES = {"int64": 8, "float32": 4, "bool": 1}
HOST = 10**13


def group_bytes(group: TensorGroup) -> int:
    return group.elements * (BUFFER_BYTES.get(group.dtype or "", 2) if group.part == "buffer" else 2)


def placed_by_transformers(model: Any, limits: dict[int | str, int], *, balanced: bool) -> dict[Any, int]:
    """Bytes of parameters on each place, tied ones once; buffers are where a module runs, wherever its weights lie."""
    from transformers.integrations import accelerate  # noqa: PLC0415  heavy, and an extra

    if balanced:
        limits = accelerate.get_balanced_memory(
            model, max_memory=dict(limits), no_split_module_classes=model._no_split_modules
        )
    found = accelerate.infer_auto_device_map(
        model, max_memory=dict(limits), no_split_module_classes=model._no_split_modules
    )
    placed: dict[Any, int] = {}
    for name, tensor in model.named_parameters():
        if name not in model.all_tied_weights_keys:
            place = accelerate._get_param_device(name, found)
            placed[place] = placed.get(place, 0) + tensor.numel() * tensor.element_size()
    return placed


def placed_by_us(name: str, free: list[int], host: int, *, balanced: bool) -> dict[Any, int]:
    spec = read(config_of(name), where=name)
    root = module_tree(unfolded(spec), group_bytes)
    rows = spec.vocab_size or 0
    tied = [
        (group.name.removesuffix(".weight"), "lm_head")
        for group in spec.tensors
        if spec.tied_head and group.part == "embedding" and group.shape[0] >= rows
    ]
    found = infer(root, balanced_limits(root, free) if balanced else free, host, tied)
    placed: dict[Any, int] = {}
    for leaf in root.leaves():
        place = found.place_of(leaf.name)
        placed[place] = placed.get(place, 0) + leaf.own_bytes - leaf.own_buffer_bytes
    return {place: size for place, size in placed.items() if size}


BALANCED = [
    ("HuggingFaceTB--SmolLM2-135M-Instruct", 2), ("openai-community--gpt2", 2), ("google-bert--bert-base-uncased", 2),
    ("openai--clip-vit-base-patch32", 2), ("google--gemma-2-2b", 3),
]  # fmt: skip
MORE_BALANCED = [
    ("meta-llama--Llama-3.1-8B-Instruct", 2), ("meta-llama--Llama-3.1-8B-Instruct", 3), ("google--gemma-3-27b-it", 4),
    ("mistralai--Mixtral-8x7B-v0.1", 4), ("google-t5--t5-base", 2), ("openai--whisper-large-v3", 3),
    ("llava-hf--llava-1.5-7b-hf", 2), ("meta-llama--Llama-3.2-11B-Vision-Instruct", 2), ("state-spaces--mamba-2.8b-hf", 2),
    ("openai--gpt-oss-20b", 2), ("microsoft--Phi-3.5-mini-instruct", 2), ("microsoft--deberta-v3-base", 2),
]  # fmt: skip


def check_balanced(name: str, devices: int) -> None:
    model = on_meta(name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    free = [2 * size] * devices
    theirs = placed_by_transformers(model, {**dict(enumerate(free)), "cpu": HOST}, balanced=True)
    assert placed_by_us(name, free, HOST, balanced=True) == theirs


@pytest.mark.parametrize(("name", "devices"), BALANCED)
def test_balanced_over_devices(name: str, devices: int) -> None:
    pytest.importorskip("accelerate")
    check_balanced(name, devices)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "devices"), MORE_BALANCED)
def test_balanced_over_devices_of_larger_models(name: str, devices: int) -> None:
    pytest.importorskip("accelerate")
    check_balanced(name, devices)


@pytest.mark.parametrize("share", [0.15, 0.4, 0.7, 0.95])
@pytest.mark.parametrize(
    "name", ["HuggingFaceTB--SmolLM2-135M-Instruct", "google-bert--bert-base-uncased", "openai-community--gpt2"]
)
def test_off_loaded_where_devices_are_too_small(name: str, share: float) -> None:
    """One device with `share` of the weights' bytes, main memory with a third of them: the rest goes to disk."""
    pytest.importorskip("accelerate")
    model = on_meta(name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in chain(model.parameters(), model.buffers()))
    limit, host = int(share * size), size // 3
    theirs = placed_by_transformers(model, {0: limit, "cpu": host}, balanced=False)
    assert placed_by_us(name, [limit], host, balanced=False) == theirs
