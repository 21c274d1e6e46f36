"""Granite 3: a Llama whose sums are scaled by constants of the config, with the same tensors and the same class defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm
from fmkit.model.architectures.llama import text_model

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("granite",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Granite config. Class defaults: GraniteConfig, transformers 5.23, which are LlamaConfig's."""
    return causal_lm(config, text_model, default_class="GraniteForCausalLM")
