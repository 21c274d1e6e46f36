"""The class that a config.json names, instantiated by transformers without memory: a witness for names, shapes and counts."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import transformers

RENAMED = {"kimi_k2": "deepseek_v3", "llava_llama": "llava", "minimax_m3": "minimax_m3_vl_text", "xverse": "llama"}
"""Model types that repositories write for an implementation that transformers has under another name."""

CLASSES = {
    "LlavaLlamaForCausalLM": "LlavaForConditionalGeneration",
    "PhiMoEForCausalLM": "PhimoeForCausalLM",
    "KimiK25ForConditionalGeneration": "Kimi_K25ForConditionalGeneration",
    "Step3p7FlashForCausalLM": "Step3p7ForConditionalGeneration",
    "MiniMaxM3ForCausalLM": "MiniMaxM3VLForCausalLM",
    "XverseForCausalLM": "LlamaForCausalLM",
}
"""The same for class names."""


def instantiate(config: dict[str, Any]) -> Any:
    """The class that the config names, on the meta device, unquantised, tied tensors tied."""
    model_type = RENAMED.get(config["model_type"], config["model_type"])
    plain = {key: value for key, value in config.items() if key not in ("quantization_config", "auto_map")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        settings = transformers.CONFIG_MAPPING[model_type].from_dict({**plain, "model_type": model_type})
        name = config["architectures"][0]
        with torch.device("meta"):
            model = getattr(transformers, CLASSES.get(name, name))._from_config(settings)
        model.tie_weights()
    return model


def parameters_by_name(model: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every distinct parameter; one that is tied has the name that comes first."""
    seen: dict[int, tuple[str, tuple[int, ...]]] = {}
    for name, parameter in model.named_parameters():
        seen.setdefault(id(parameter), (name, tuple(parameter.shape)))
    return dict(seen.values())
