"""XVERSE, the dense models: a Llama without a class of its own in transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures import llama
from fmkit.model.architectures.decoder import causal_lm

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("xverse",)
NOTE = "transformers 5.23 has no class of this type: counted as LlamaForCausalLM, whose modules and names it has"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an XVERSE config: XVERSE-7B has 7,299,846,144 parameters."""
    return causal_lm(config, text_model, default_class="XverseForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """XverseModel of the repository; XVERSE-MoE, of the same type, has experts and is refused."""
    if config.has("num_experts"):
        raise config.unknown("the experts of XVERSE-MoE (num_experts) are not understood")
    text = llama.text_model(config, tensors)
    return replace(text, stack=msgspec.structs.replace(text.stack, implementation="llama"), notes=(NOTE,))
