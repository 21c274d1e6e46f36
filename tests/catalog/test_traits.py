"""What a model is built of, as read from its configuration, against the papers and against the modules of transformers."""

from __future__ import annotations

import json

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.catalog.paths import source_folder
from fmkit.selection.facts import Candidate

CONFIGS = source_folder() / "configs"

PUBLISHED = {
    # model: norm, activation, positions, inner width over width; from the papers and model cards
    "llama-2-7b-hf": ("RMSNorm", "SwiGLU", "RoPE", 2.69),  # 11008 / 4096
    "llama-3.1-8b": ("RMSNorm", "SwiGLU", "RoPE", 3.5),  # 14336 / 4096
    "gpt2": ("LayerNorm", "gelu_new", "learned", 4.0),
    "bert-base-uncased": ("LayerNorm", "gelu", "learned", 4.0),
    "bloom-7b1": ("LayerNorm", "gelu", "ALiBi", 4.0),
    "t5-small": ("RMSNorm", "relu", "relative", 4.0),
    "flan-t5-xl": ("RMSNorm", "GeGLU", "relative", 2.5),  # 5120 / 2048
    "deberta-v3-base": ("LayerNorm", "gelu", "relative", 4.0),
    "nllb-200-3.3b": ("LayerNorm", "relu", "sinusoidal", 4.0),
    "gemma-2-9b": ("RMSNorm", "GeGLU", "RoPE", 4.0),  # 14336 / 3584
    "mixtral-8x7b-v0.1": ("RMSNorm", "SwiGLU", "RoPE", 7.0),  # two experts of 14336 over 4096
    "aya-23-8b": ("LayerNorm", "SwiGLU", "RoPE", 3.5),
    "glm-5": ("RMSNorm", "SwiGLU", "RoPE", 3.0),  # its indexer alone has LayerNorm
    "llava-1.5-7b-hf": ("RMSNorm", None, "RoPE", 2.69),  # the copy of its text part names no activation
    "mamba-2.8b-hf": ("RMSNorm", "silu", "none", None),
    "clip-vit-base-patch32": ("LayerNorm", "quick_gelu", "learned", 4.0),
}

INSTANTIATED = (
    "llama-3.1-8b", "gpt2", "bert-base-uncased", "t5-small", "aya-23-8b", "gemma-2-9b", "mixtral-8x7b-v0.1", "bloom-7b1",
    "deberta-v3-base", "olmo-2-1124-7b", "stablelm-3b-4e1t", "starcoder2-3b", "falcon-7b", "phi-4", "granite-3.3-8b-instruct",
    "falcon-mamba-7b", "mpt-7b", "opt-1.3b", "modernbert-base", "qwen3-8b", "lfm2-1.2b", "glm-4-9b-0414", "dbrx-base",
)  # fmt: skip


def _model(model_id: str) -> Candidate:
    return load_catalog().model(model_id).candidate


@pytest.mark.parametrize("model_id", PUBLISHED)
def test_traits_are_those_of_the_papers(model_id: str) -> None:
    traits = _model(model_id).traits
    assert traits is not None
    assert (traits.norm, traits.activation, traits.positions, traits.ffn_ratio) == PUBLISHED[model_id]


def test_layers_are_named_by_kind_and_counted() -> None:
    kinds = {
        "gemma-2-2b": "13 full, 13 sliding",
        "deepseek-v2": "60 latent",
        "jamba-v0.1": "28 state-space, 4 full",
        "nemotron-h-8b-base-8k": "24 mamba-2, 4 full",
    }
    for model_id, attention in kinds.items():
        traits = _model(model_id).traits
        assert traits is not None
        assert traits.attention == attention


def test_training_tokens_stand_beside_parameters() -> None:
    """Llama 3.1 8B: 15 trillion tokens, 8.03 billion parameters; TinyLlama: 3 trillion and 1.1 billion."""
    for model_id, ratio in {"llama-3.1-8b": 1868, "tinyllama-1.1b-chat-v1.0": 2727}.items():
        found = _model(model_id).tokens_per_param
        assert found is not None
        assert round(found) == ratio
    assert _model("gpt-4o").tokens_per_param is None


def test_a_quantised_repository_is_named_and_is_no_model() -> None:
    catalog = load_catalog()
    named = [hub_id for model in catalog.candidates() for hub_id in model.quantised]
    assert len(named) >= 100
    assert [hub_id for hub_id in named if catalog.resolve(hub_id) is not None] == []
    assert "Qwen/Qwen3-8B-FP8" in _model("qwen3-8b").quantised


@pytest.mark.full
@pytest.mark.parametrize("model_id", INSTANTIATED)
def test_norms_are_those_of_the_instantiated_model(model_id: str) -> None:
    """The norm that most modules of the class have, on the meta device."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    file = load_catalog().model(model_id).config_file
    config = transformers.AutoConfig.for_model(**json.loads((CONFIGS / str(file)).read_text(encoding="utf-8")))
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    names = [type(module).__name__ for module in model.modules() if "norm" in type(module).__name__.lower()]
    rms = [name for name in names if "RMS" in name or name == "T5LayerNorm"]
    traits = _model(model_id).traits
    assert traits is not None
    assert traits.norm == ("RMSNorm" if 2 * len(rms) > len(names) else "LayerNorm")
