"""The model that ships with fmkit as a GGUF file: trained weights that llama.cpp runs, and numpy can run beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import quants

from fmkit.trial.embedded import MODEL_PATH
from tests.trial.numpy_models import Llama

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
"""What the tensors of a layer are called in a folder, and in a file."""


def write_embedded(path: Path, file_type: str) -> Path:
    """All matrices in one type, norms in float32; the tokenizer is the model's own."""
    model = Llama(MODEL_PATH)
    config, kind = model.config, gguf.GGMLQuantizationType[file_type]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if file_type == "F32" else f"MOSTLY_{file_type}"])
    _write_tokenizer(writer, config["vocab_size"])
    for name, weights in model.weights.items():
        in_file, matrix = _tensor(name, weights.astype(np.float32), config)
        as_kind = kind if matrix.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(in_file, quants.quantize(matrix, as_kind), raw_dtype=as_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rounded_as(file_type: str) -> Llama:
    """The model in numpy with its matrices rounded as a file of that type stores them."""
    model, kind = Llama(MODEL_PATH), gguf.GGMLQuantizationType[file_type]
    for name, weights in model.weights.items():
        if weights.ndim == 2:
            stored = quants.quantize(weights.astype(np.float32), kind)
            model.weights[name] = quants.dequantize(stored, kind).astype(np.float64)
    return model


def _tensor(name: str, weights: Any, config: dict[str, Any]) -> tuple[str, Any]:
    """A tensor's name in the file, and its rows in the order of llama.cpp: pairs that turn together lie side by side there."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight", weights
    if name == "model.norm.weight":
        return "output_norm.weight", weights
    _, _, number, rest = name.split(".", 3)
    part = rest.removesuffix(".weight")
    if part in ("self_attn.q_proj", "self_attn.k_proj"):
        halves = weights.reshape(-1, 2, config["head_dim"] // 2, weights.shape[1])
        weights = halves.swapaxes(1, 2).reshape(weights.shape)
    return f"blk.{number}.{NAMES[part]}.weight", weights


def _write_tokenizer(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    model = json.loads((MODEL_PATH / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    by_number = {number: token for token, number in model["vocab"].items()}
    tokens = [by_number.get(number, f"[unused{number}]") for number in range(vocabulary)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if number < 2 else gguf.TokenType.NORMAL for number in range(vocabulary)]
    )
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(True)
