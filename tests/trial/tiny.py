"""Tiny models of every kind, and a way to try one in this process: a child process costs seconds of imports each."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from fmkit.trial.checks import CHECKS
from fmkit.trial.request import TrialOutcome, TrialRequest
from fmkit.trial.stages import run_trial

VOCAB = 300
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
    "projection_dim": 32,
}
SPEECH: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "vocab_size": VOCAB,
}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("decoder", {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **TEXT}),
    "gpt2": (
        "decoder",
        {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": VOCAB,
            "n_positions": 256,
        },
    ),
    "gemma3": (
        "decoder",
        {
            "model_type": "gemma3_text",
            "architectures": ["Gemma3ForCausalLM"],
            "head_dim": 16,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention"],
            **TEXT,
        },
    ),
    "mixtral": (
        "decoder",
        {
            "model_type": "mixtral",
            "architectures": ["MixtralForCausalLM"],
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            **TEXT,
        },
    ),
    "deepseek": (
        "decoder",
        {
            "model_type": "deepseek_v3",
            "architectures": ["DeepseekV3ForCausalLM"],
            **TEXT,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 24,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "first_k_dense_replace": 1,
            "n_shared_experts": 1,
        },
    ),
    "mamba": (
        "state-space",
        {
            "model_type": "mamba",
            "architectures": ["MambaForCausalLM"],
            "hidden_size": 64,
            "state_size": 8,
            "num_hidden_layers": 2,
            "vocab_size": VOCAB,
            "intermediate_size": 128,
        },
    ),
    "bert": ("encoder", {"model_type": "bert", "architectures": ["BertForMaskedLM"], **TEXT}),
    "minilm": ("encoder", {"model_type": "bert", "architectures": ["BertModel"], **TEXT}),
    "t5": (
        "encoder-decoder",
        {
            "model_type": "t5",
            "architectures": ["T5ForConditionalGeneration"],
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 96,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": VOCAB,
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
        },
    ),
    "bart": (
        "encoder-decoder",
        {
            "model_type": "bart",
            "architectures": ["BartForConditionalGeneration"],
            "max_position_embeddings": 256,
            **SPEECH,
        },
    ),
    "clip": (
        "clip",
        {
            "model_type": "clip",
            "architectures": ["CLIPModel"],
            "text_config": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "vocab_size": VOCAB,
                "max_position_embeddings": 77,
            },
            "vision_config": VISION,
            "projection_dim": 32,
        },
    ),
    "llava": (
        "vision-language",
        {
            "model_type": "llava",
            "architectures": ["LlavaForConditionalGeneration"],
            "text_config": {"model_type": "llama", **TEXT},
            "vision_config": {"model_type": "clip_vision_model", **VISION},
            "image_token_index": VOCAB - 1,
            "vision_feature_layer": -2,
        },
    ),
    "whisper": (
        "speech",
        {
            "model_type": "whisper",
            "architectures": ["WhisperForConditionalGeneration"],
            "max_source_positions": 50,
            "max_target_positions": 128,
            "num_mel_bins": 20,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            **SPEECH,
        },
    ),
}

TOKENS = 64
WHISPER_ENCODER_TOKENS = 50
IMAGE_TOKENS = 4


def request(name: str, **changes: Any) -> TrialRequest:
    """A trial of a tiny model with random weights, 64 tokens, float32 unless changed."""
    kind, config = CONFIGS[name]
    fields: dict[str, Any] = {
        "model": name,
        "kind": kind,
        "config": config,
        "dtype": "float32",
        "context_tokens": TOKENS,
        "encoder_tokens": WHISPER_ENCODER_TOKENS if kind == "speech" else TOKENS,
        "image_tokens": IMAGE_TOKENS if kind == "vision-language" else None,
        "decode_steps": 2,
        "repeat": 2,
        "checks": tuple(CHECKS),
    }
    return TrialRequest(**{**fields, **changes})


def trial(name: str, **changes: Any) -> TrialOutcome:
    """Run it here."""
    return run_trial(request(name, **changes), lambda _: None)


def parameters(name: str) -> int:
    """Parameters of a tiny model, counted on the meta device by transformers itself."""
    _, config = CONFIGS[name]
    parsed = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(parsed)
    return sum(parameter.numel() for parameter in model.parameters())
