"""Tiny models of awkward shapes, and what one of them really takes: every stored byte, the quantiser's tables included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fmkit.model.spec import TensorGroup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEXT = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}
_LLAMA = {**_TEXT, "intermediate_size": 160, "num_key_value_heads": 2}
_WIDE = {
    "hidden_size": 192,
    "intermediate_size": 320,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
_VISION = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14, "projection_dim": 64,
}  # fmt: skip
_T5 = {"d_model": 96, "d_ff": 200, "d_kv": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 300}

# name: class, config class, fields, parameters that the class keeps in float32 beside float16
MODELS: dict[str, tuple[str, str, dict[str, Any], str | None]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", _LLAMA, None),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "tie_word_embeddings": True}, None),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**_WIDE, "vocab_size": 301}, None),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**_LLAMA, "num_local_experts": 4}, None),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 96, "n_layer": 2, "n_head": 4, "vocab_size": 300, "n_positions": 64}, None),
    "bert": ("BertModel", "BertConfig", {**_TEXT, "intermediate_size": 200}, None),
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5, "DenseReluDense.wo"),
    "llava": ("LlavaForConditionalGeneration", "LlavaConfig", {
        "vision_config": {**_VISION, "model_type": "clip_vision_model"}, "text_config": {**_LLAMA, "model_type": "llama"},
    }, None),
    "mamba": ("MambaForCausalLM", "MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 300}, None),
}  # fmt: skip


def build(name: str, folder: Path, **fields: Any) -> Any:
    """The model of that name with random weights in float16, saved in `folder`."""
    torch = pytest.importorskip("torch", reason="quantised models are built with torch, which is not installed")
    transformers = pytest.importorskip("transformers", reason="quantised models are loaded by transformers")
    class_name, config_name, known, _ = MODELS[name]
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(getattr(transformers, config_name)(**{**known, **fields})).to(
        torch.float16
    )
    model.save_pretrained(folder)
    return model


def plain_groups(model: Any, float32_name: str | None = None) -> Iterator[TensorGroup]:
    """One group per parameter of a plain model, with what transformers says about it and nothing of our readers."""
    classes = {"Linear": "linear", "NonDynamicallyQuantizableLinear": "linear", "Conv1D": "conv1d"}
    head = model.get_output_embeddings()
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        kind: Any = classes.get(type(module).__name__, "parameter")
        keeps_float32 = float32_name is not None and module_name.endswith(float32_name)
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue  # tied to one counted before
            seen.add(id(parameter))
            yield TensorGroup(
                name=f"{module_name}.{name}",
                part="head" if module is head else "mlp",
                module=kind if name == "weight" else "parameter",
                shape=tuple(parameter.shape),
                dtype="float32" if keeps_float32 else None,
                quantisable=not keeps_float32,
                keeps_float32=keeps_float32,
            )


def stored_bytes(model: Any, *, buffers: bool = False) -> int:
    """Bytes of all distinct storages that hold weights: parameters, scales on them and on module states, quantiser tables."""
    sizes: dict[int, int] = {}
    for tensor in _tensors(model, buffers=buffers):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def _tensors(model: Any, *, buffers: bool) -> Iterator[Any]:
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            yield from _inner(parameter.data)
            yield from _held(parameter, "CB", "SCB")
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                yield from _held(state, "absmax", "code", "offset")
                yield from _held(state.state2, "absmax", "code", "offset")
        yield from _held(getattr(module, "state", None), "CB", "SCB")
        for name, buffer in module.named_buffers(recurse=False):
            if buffers or name in _QUANTISER_BUFFERS:
                yield buffer
        meta = getattr(module, "meta", None)  # HQQ
        if isinstance(meta, dict):
            yield from (value for value in meta.values() if hasattr(value, "untyped_storage"))


_QUANTISER_BUFFERS = ("input_scale", "output_scale")


def _inner(tensor: Any) -> Iterator[Any]:
    """The plain tensors that a tensor subclass is made of."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _inner(getattr(tensor, name))


def _held(owner: object, *names: str) -> Iterator[Any]:
    return (value for value in (getattr(owner, name, None) for name in names) if hasattr(value, "untyped_storage"))
