"""The proof of names, shapes, modules and buffers: the class that a config names, instantiated without memory.

One config per lineage or more from the catalog and the fixtures, and small variants for the branches that no published config takes.
"""

from __future__ import annotations

import csv
import inspect
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fmkit.model.architectures import lineages, read

torch = pytest.importorskip("torch", reason="the proof instantiates the model's class: pip install 'fmkit[try]'")
transformers = pytest.importorskip(
    "transformers", reason="the proof instantiates the model's class: pip install 'fmkit[try]'"
)
from tests.meta_model import instantiate  # noqa: E402  needs torch

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")
TWICE = {
    "idefics3": 2,
    "gemma4": 3,
    "nemotron_h": 2,
    "granitemoehybrid": 2,
    "instructblip": 2,
    "minimax_m2": 2,
    "llava": 4,
}
"""Types whose published configs take different branches: how many of them are compared (one, for the others)."""


def samples() -> list[Path]:
    """The first configs of each known model type that transformers can instantiate."""
    seen: Counter[str] = Counter()
    found = []
    for folder in FOLDERS:
        for row in csv.DictReader((folder / "INDEX.csv").read_text("utf-8").splitlines()):
            model_type = json.loads((folder / row["file"]).read_text("utf-8")).get("model_type")
            if model_type in lineages() and row["params_meta"] and seen[model_type] < TWICE.get(model_type, 1):
                seen[model_type] += 1
                found.append(folder / row["file"])
    return sorted(found)


SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90}
ENCODER = {**SMALL, "max_position_embeddings": 40}
SEQ2SEQ = {
    "d_model": 32, "vocab_size": 90, "max_position_embeddings": 40, "encoder_layers": 2, "decoder_layers": 3,
    "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 56,
}  # fmt: skip
MLA = {
    **SMALL, "kv_lora_rank": 16, "q_lora_rank": None, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_group": 2, "topk_group": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
MOE = {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "vocab_size": 90}
LLAMA_TEXT = {"model_type": "llama", **SMALL}

VARIANTS: dict[str, dict[str, Any]] = {
    "llama, biases, tied": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SMALL, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 2, "head_dim": 16},
    "llama, bare": {"model_type": "llama", "architectures": ["LlamaModel"], **SMALL},
    "llama, classifier": {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"], **SMALL, "num_labels": 5},
    "gpt2, untied": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 90, "n_positions": 40, "n_inner": 50, "tie_word_embeddings": False},
    "gpt2, bare": {"model_type": "gpt2", "architectures": ["GPT2Model"], "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 90, "n_positions": 40},
    "mistral, layer types": {"model_type": "mistral", "architectures": ["MistralForCausalLM"], **SMALL, "num_key_value_heads": 2, "sliding_window": 8, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
    "mixtral, window": {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], **MOE, "sliding_window": 8},
    "qwen2, window": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **SMALL, "num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3, biases": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **SMALL, "num_key_value_heads": 2, "attention_bias": True},
    "qwen3_moe, dense layers": {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], **SMALL, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "mlp_only_layers": [0], "decoder_sparse_step": 1, "head_dim": 8},
    "qwen3_moe, every other layer": {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], **SMALL, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 2, "head_dim": 8},
    "gemma, biases, untied": {"model_type": "gemma", "architectures": ["GemmaForCausalLM"], **SMALL, "num_key_value_heads": 1, "head_dim": 16, "attention_bias": True, "tie_word_embeddings": False},
    "gemma3, pattern": {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 3},
    "gemma3, all sliding": {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 6},
    "gemma3, both ways": {"model_type": "gemma3_text", "architectures": ["Gemma3TextModel"], **SMALL, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8, "use_bidirectional_attention": True},
    "phi3, partial rotary": {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"], **SMALL, "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "pad_token_id": 0, "head_dim": 16},
    "phimoe, plain": {"model_type": "phimoe", "architectures": ["PhiMoEForCausalLM"], **MOE},
    "falcon, sequential": {"model_type": "falcon", "architectures": ["FalconForCausalLM"], **SMALL, "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
    "falcon, one norm": {"model_type": "falcon", "architectures": ["FalconForCausalLM"], **SMALL, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1, "tie_word_embeddings": False},
    "cohere, norms, biases": {"model_type": "cohere", "architectures": ["CohereForCausalLM"], **SMALL, "num_key_value_heads": 2, "use_qk_norm": True, "attention_bias": True},
    "cohere2, default pattern": {"model_type": "cohere2", "architectures": ["Cohere2ForCausalLM"], **SMALL, "num_hidden_layers": 5, "num_key_value_heads": 2, "sliding_window": 8},
    "deepseek_v2": {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], **MLA},
    "deepseek_v3, biases": {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], **MLA, "attention_bias": True, "q_lora_rank": 10, "dtype": "bfloat16"},
    "gpt_oss, float16": {"model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], **MOE, "torch_dtype": "float16", "head_dim": 8},
    **{f"bert, {head}": {"model_type": "bert", "architectures": [f"Bert{head}"], **ENCODER, "num_labels": 3} for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForPreTraining")},
    "bert, untied": {"model_type": "bert", "architectures": ["BertForMaskedLM"], **ENCODER, "tie_word_embeddings": False},
    **{f"roberta, {head}": {"model_type": "roberta", "architectures": [f"Roberta{head}"], **ENCODER} for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")},
    "roberta, untied": {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], **ENCODER, "tie_word_embeddings": False},
    **{f"distilbert, {head}": {"model_type": "distilbert", "architectures": [f"DistilBert{head}"], "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 90, "max_position_embeddings": 40} for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")},
    **{f"mpnet, {head}": {"model_type": "mpnet", "architectures": [f"MPNet{head}"], **ENCODER} for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")},
    **{f"electra, {head}": {"model_type": "electra", "architectures": [f"Electra{head}"], **ENCODER, "embedding_size": 20} for head in ("Model", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")},
    **{f"deberta, {head}": {"model_type": "deberta-v2", "architectures": [f"DebertaV2{head}"], **ENCODER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 6} for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")},
    "deberta, plain": {"model_type": "deberta-v2", "architectures": ["DebertaV2Model"], **ENCODER, "type_vocab_size": 2, "embedding_size": 20},
    "deberta, convolution": {"model_type": "deberta-v2", "architectures": ["DebertaV2Model"], **ENCODER, "relative_attention": True, "share_att_key": True, "conv_kernel_size": 3, "norm_rel_ebd": "layer_norm", "max_relative_positions": 9, "position_biased_input": False},
    "t5, encoder": {"model_type": "t5", "architectures": ["T5EncoderModel"], **T5},
    "t5, gated, bfloat16": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], **T5, "feed_forward_proj": "gated-gelu", "dtype": "bfloat16"},
    "mt5": {"model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"], **T5},
    "bart, classifier": {"model_type": "bart", "architectures": ["BartForSequenceClassification"], **SEQ2SEQ},
    "mbart": {"model_type": "mbart", "architectures": ["MBartForConditionalGeneration"], **SEQ2SEQ},
    "pegasus": {"model_type": "pegasus", "architectures": ["PegasusForConditionalGeneration"], **SEQ2SEQ},
    "marian": {"model_type": "marian", "architectures": ["MarianMTModel"], **SEQ2SEQ, "pad_token_id": 1, "decoder_start_token_id": 1},
    "siglip": {"model_type": "siglip", "architectures": ["SiglipModel"], "text_config": {**SMALL, "max_position_embeddings": 12, "projection_size": 32}, "vision_config": VISION},
    "llava, two layers, mistral": {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": {**LLAMA_TEXT, "model_type": "mistral", "num_key_value_heads": 2}, "vision_config": {**VISION, "model_type": "clip_vision_model"}, "vision_feature_layer": [-2, -1], "multimodal_projector_bias": False},
    "llava_next": {"model_type": "llava_next", "architectures": ["LlavaNextForConditionalGeneration"], "text_config": LLAMA_TEXT, "vision_config": {**VISION, "model_type": "clip_vision_model"}},
    "gemma3, images": {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"model_type": "gemma3_text", **SMALL, "num_key_value_heads": 2, "head_dim": 16}, "vision_config": {"model_type": "siglip_vision_model", **VISION}},
    "blip-2, t5, float16": {"model_type": "blip-2", "architectures": ["Blip2ForConditionalGeneration"], "torch_dtype": "float16", "text_config": {"model_type": "t5", **T5}, "vision_config": VISION, "qformer_config": {**ENCODER, "num_hidden_layers": 5, "cross_attention_frequency": 2}},
    "opt, 350m": {"model_type": "opt", "architectures": ["OPTForCausalLM"], **{k: v for k, v in SMALL.items() if k != "intermediate_size"}, "ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "max_position_embeddings": 40},
    "opt, plain": {"model_type": "opt", "architectures": ["OPTForCausalLM"], **{k: v for k, v in SMALL.items() if k != "intermediate_size"}, "ffn_dim": 48, "enable_bias": False, "layer_norm_elementwise_affine": False, "max_position_embeddings": 40},
    "mamba, biases": {"model_type": "mamba", "architectures": ["MambaForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 90, "use_bias": True, "use_conv_bias": False, "state_size": 4, "expand": 2},
    "falcon_mamba": {"model_type": "falcon_mamba", "architectures": ["FalconMambaForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 90, "state_size": 4, "time_step_rank": 3},
    "mllama": {"model_type": "mllama", "architectures": ["MllamaForConditionalGeneration"], "text_config": {**SMALL, "num_key_value_heads": 2, "cross_attention_layers": [1], "pad_token_id": 0}, "vision_config": {"hidden_size": 32, "num_hidden_layers": 6, "num_global_layers": 2, "attention_heads": 4, "intermediate_size": 40, "image_size": 28, "patch_size": 14, "vision_output_dim": 96, "intermediate_layers_indices": [1, 2]}},
    "granite, biases": {"model_type": "granite", "architectures": ["GraniteForCausalLM"], **SMALL, "num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True},
    "smollm3, window": {"model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"], **SMALL, "num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 8, "no_rope_layer_interval": 2, "pad_token_id": 0},
    "olmo2": {"model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"], **SMALL, "num_key_value_heads": 2},
    "starcoder2, no biases": {"model_type": "starcoder2", "architectures": ["Starcoder2ForCausalLM"], **SMALL, "use_bias": False, "sliding_window": 8},
    "stablelm, parallel": {"model_type": "stablelm", "architectures": ["StableLmForCausalLM"], **SMALL, "num_key_value_heads": 2, "use_qkv_bias": True, "use_parallel_residual": True},
    "glm": {"model_type": "glm", "architectures": ["GlmForCausalLM"], **SMALL, "head_dim": 8, "pad_token_id": 0},
    "glm4": {"model_type": "glm4", "architectures": ["Glm4ForCausalLM"], **SMALL, "head_dim": 8, "pad_token_id": 0, "attention_bias": False},
    "phi": {"model_type": "phi", "architectures": ["PhiForCausalLM"], **SMALL, "num_key_value_heads": 2},
    "gpt_neox": {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], **SMALL, "rotary_pct": 0.5},
    "olmo": {"model_type": "olmo", "architectures": ["OlmoForCausalLM"], **SMALL, "attention_bias": True},
    "qwen2_moe, dense layers": {"model_type": "qwen2_moe", "architectures": ["Qwen2MoeForCausalLM"], **SMALL, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40, "mlp_only_layers": [0]},
    "qwen2_moe, sliding": {"model_type": "qwen2_moe", "architectures": ["Qwen2MoeForCausalLM"], **SMALL, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40, "use_sliding_window": True, "sliding_window": 8, "qkv_bias": False},
    "exaone4, sliding": {"model_type": "exaone4", "architectures": ["Exaone4ForCausalLM"], **SMALL, "num_key_value_heads": 2, "sliding_window": 8, "sliding_window_pattern": 2},
    "exaone4, full": {"model_type": "exaone4", "architectures": ["Exaone4ForCausalLM"], **SMALL, "num_key_value_heads": 2, "sliding_window": None, "layer_types": ["full_attention"] * SMALL["num_hidden_layers"]},
    "olmo3, all sliding": {"model_type": "olmo3", "architectures": ["Olmo3ForCausalLM"], **SMALL, "sliding_window": 8},
    "olmoe, biases": {"model_type": "olmoe", "architectures": ["OlmoeForCausalLM"], **SMALL, "num_experts": 4, "num_experts_per_tok": 2, "attention_bias": True},
    "ernie4_5, biases": {"model_type": "ernie4_5", "architectures": ["Ernie4_5ForCausalLM"], **SMALL, "num_key_value_heads": 2, "use_bias": True, "head_dim": 8, "tie_word_embeddings": False},
    "ernie4_5_moe, every other": {"model_type": "ernie4_5_moe", "architectures": ["Ernie4_5_MoeForCausalLM"], **SMALL, "num_hidden_layers": 5, "num_key_value_heads": 2, "moe_intermediate_size": 24, "moe_num_experts": 4, "moe_k": 2, "moe_layer_interval": 2, "moe_layer_start_index": 1, "moe_layer_end_index": -1, "use_bias": True},
    "seed_oss, all biases": {"model_type": "seed_oss", "architectures": ["SeedOssForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 8, "attention_out_bias": True, "mlp_bias": True},
    "glm4_moe, no norms": {"model_type": "glm4_moe", "architectures": ["Glm4MoeForCausalLM"], **SMALL, "num_key_value_heads": 2, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "jamba, few experts": {"model_type": "jamba", "architectures": ["JambaForCausalLM"], **SMALL, "num_hidden_layers": 5, "num_key_value_heads": 2, "num_experts": 2, "num_experts_per_tok": 1, "mamba_dt_rank": "auto", "mamba_proj_bias": True, "mamba_conv_bias": False, "mamba_d_state": 4},
    "bamba, auto": {"model_type": "bamba", "architectures": ["BambaForCausalLM"], **SMALL, "num_key_value_heads": 2, "attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": "auto", "mamba_d_state": 8, "mlp_bias": True, "mamba_proj_bias": True, "attention_bias": True},
    "falcon_h1, norms": {"model_type": "falcon_h1", "architectures": ["FalconH1ForCausalLM"], **SMALL, "num_key_value_heads": 2, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_rms_norm": True, "projectors_bias": True, "mamba_proj_bias": True, "attention_bias": True, "mlp_bias": True},
    "mamba2, biases": {"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 90, "num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 2, "use_bias": True, "use_conv_bias": False, "tie_word_embeddings": True},
    "nemotron_h, all kinds": {"model_type": "nemotron_h", "architectures": ["NemotronHForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 8, "hybrid_override_pattern": "M*-E", "mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "moe_shared_expert_intermediate_size": 20, "mlp_bias": True},
    "lfm2, all attention": {"model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"], **SMALL, "num_key_value_heads": 2, "block_auto_adjust_ff_dim": False},
    "lfm2, biases, adjusted": {"model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"], **SMALL, "num_key_value_heads": 2, "full_attn_idxs": [1], "conv_bias": True, "block_multiple_of": 10, "block_ffn_dim_multiplier": 1.5},
    "minimax, default pattern": {"model_type": "minimax", "architectures": ["MiniMaxForCausalLM"], **MOE, "block_size": 16},
    "qwen3_next, dense layers": {"model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], **SMALL, "num_hidden_layers": 5, "num_key_value_heads": 2, "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 20, "mlp_only_layers": [0], "attention_bias": True},
    "qwen3_5, text alone": {"model_type": "qwen3_5_text", "architectures": ["Qwen3_5ForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 8},
    "rwkv, sizes": {"model_type": "rwkv", "architectures": ["RwkvForCausalLM"], "hidden_size": 32, "attention_hidden_size": 48, "num_hidden_layers": 2, "vocab_size": 90, "torch_dtype": "float16"},
    "deepseek_v4, default pattern": {"model_type": "deepseek_v4", "architectures": ["DeepseekV4ForCausalLM"], "hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 4, "head_dim": 16, "vocab_size": 90, "q_lora_rank": 12, "o_groups": 2, "o_lora_rank": 6, "index_n_heads": 2, "index_head_dim": 8, "moe_intermediate_size": 24, "n_routed_experts": 4, "num_experts_per_tok": 2, "hc_mult": 2, "torch_dtype": "float16"},
    "llama4, text alone": {"model_type": "llama4_text", "architectures": ["Llama4ForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "intermediate_size_mlp": 40, "attention_bias": True},
    "gemma4, shared, text alone": {"model_type": "gemma4_text", "architectures": ["Gemma4ForCausalLM"], **SMALL, "num_hidden_layers": 14, "num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 16, "num_kv_shared_layers": 3, "use_double_wide_mlp": True, "hidden_size_per_layer_input": 6, "vocab_size_per_layer_input": 90, "attention_bias": True, "dtype": "bfloat16"},
    "gemma3n, text alone": {"model_type": "gemma3n_text", "architectures": ["Gemma3nForCausalLM"], **SMALL, "num_hidden_layers": 11, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": [40] * 6 + [48] * 5, "num_kv_shared_layers": 3, "hidden_size_per_layer_input": 6, "vocab_size_per_layer_input": 90, "laurel_rank": 5, "altup_num_inputs": 3, "activation_sparsity_pattern": [0.0] * 11, "attention_bias": True, "dtype": "bfloat16"},
    **{f"albert, {head}": {"model_type": "albert", "architectures": [f"Albert{head}"], **ENCODER, "embedding_size": 20, "num_hidden_groups": 2} for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")},
    **{f"modernbert, {head}": {"model_type": "modernbert", "architectures": [f"ModernBert{head}"], **ENCODER, "pad_token_id": 0, "num_labels": 3} for head in ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")},
    "modernbert, biases, untied": {"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"], **ENCODER, "pad_token_id": 0, "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True, "tie_word_embeddings": False, "global_attn_every_n_layers": 2},
    "t5gemma, untied": {"model_type": "t5gemma", "architectures": ["T5GemmaForConditionalGeneration"], "encoder": {**SMALL, "num_key_value_heads": 2, "head_dim": 8}, "decoder": {**SMALL, "num_key_value_heads": 2, "head_dim": 8, "is_decoder": True, "cross_attention_hidden_size": 32}, "tie_word_embeddings": False, "vocab_size": 90},
    "wav2vec2, bare, norms": {"model_type": "wav2vec2", "architectures": ["Wav2Vec2Model"], **SMALL, "conv_dim": [16, 24], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    "mimo_v2_flash, layer types": {"model_type": "mimo_v2_flash", "architectures": ["MiMoV2FlashForCausalLM"], **SMALL, "num_key_value_heads": 2, "head_dim": 12, "v_head_dim": 8, "swa_num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"], "mlp_layer_types": ["dense", "sparse", "dense"], "attention_bias": True},
    "minicpm3, plain queries": {"model_type": "minicpm3", "architectures": ["MiniCPM3ForCausalLM"], **SMALL, "q_lora_rank": None, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "mlp_bias": True, "attention_bias": True},
    "gptj, half rotated": {"model_type": "gptj", "architectures": ["GPTJForCausalLM"], "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "vocab_size": 90, "n_positions": 40, "n_inner": 50},
    "biogpt, bare": {"model_type": "biogpt", "architectures": ["BioGptModel"], **SMALL, "max_position_embeddings": 40},
    "bloom, bare": {"model_type": "bloom", "architectures": ["BloomModel"], "hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 90},
    "internvl, rms, no pooling": {"model_type": "internvl", "architectures": ["InternVLForConditionalGeneration"], "text_config": {"model_type": "llama", **SMALL}, "vision_config": {**VISION, "image_size": [28, 28], "patch_size": [14, 14], "norm_type": "rms_norm", "use_qk_norm": True, "attention_bias": True, "use_mask_token": True}, "tie_word_embeddings": False},
    "smolvlm": {"model_type": "smolvlm", "architectures": ["SmolVLMForConditionalGeneration"], "text_config": LLAMA_TEXT, "vision_config": VISION, "scale_factor": 2},
    "llava, siglip": {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": LLAMA_TEXT, "vision_config": {**VISION, "model_type": "siglip_vision_model"}},
    "mistral3, mistral, biases": {"model_type": "mistral3", "architectures": ["Mistral3ForConditionalGeneration"], "text_config": {"model_type": "mistral", **SMALL, "num_key_value_heads": 2}, "vision_config": {**VISION, "model_type": "pixtral"}, "multimodal_projector_bias": True},
    "lfm2_vl, norm": {"model_type": "lfm2_vl", "architectures": ["Lfm2VlForConditionalGeneration"], "text_config": {"model_type": "lfm2", **SMALL, "num_key_value_heads": 2, "full_attn_idxs": [0]}, "vision_config": {"model_type": "siglip2_vision_model", **{k: v for k, v in VISION.items() if k != "image_size"}, "num_patches": 16, "vision_use_head": False}, "projector_hidden_size": 24, "projector_bias": False},
    "nomic_bert": {"model_type": "nomic_bert", "architectures": ["NomicBertModel"], **ENCODER},
    "kimi_linear, named layers": {"model_type": "kimi_linear", "architectures": ["KimiLinearForCausalLM"], **SMALL, "num_hidden_layers": 5, "pad_token_id": 0, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12, "num_experts": 4, "num_experts_per_token": 2, "moe_intermediate_size": 24, "num_shared_experts": 2, "first_k_dense_replace": 2, "linear_attn_config": {"head_dim": 8, "num_heads": 4, "short_conv_kernel_size": 3, "full_attn_layers": [2, 5], "kda_layers": [1, 3, 4]}},
    "kimi_linear, latent queries, biases": {"model_type": "kimi_linear", "architectures": ["KimiLinearForCausalLM"], **SMALL, "num_hidden_layers": 5, "pad_token_id": 0, "q_lora_rank": 10, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12, "num_experts": 4, "num_experts_per_token": 2, "moe_intermediate_size": 24, "attention_bias": True},
    "minimax_m3_vl, both kinds of layer": {"model_type": "minimax_m3_vl", "architectures": ["MiniMaxM3SparseForConditionalGeneration"], "projector_hidden_size": 40, "text_config": {"model_type": "minimax_m3_vl_text", **SMALL, "num_key_value_heads": 2, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "dense_intermediate_size": 40, "shared_intermediate_size": 20, "layer_types": ["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"], "mlp_layer_types": ["dense", "sparse", "sparse"], "index_n_heads": 2, "index_head_dim": 8, "partial_rotary_factor": 0.5}, "vision_config": {"hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}},
}  # fmt: skip


def folded(name: str) -> str:
    """A parameter's name with its layer numbers as `*`."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)


def owner_kind(module: Any) -> str:
    """The spec's name for the class that owns a tensor."""
    kinds = (
        ("linear", torch.nn.Linear),
        ("conv1d", transformers.pytorch_utils.Conv1D),
        ("embedding", torch.nn.Embedding),
        ("conv", (torch.nn.Conv1d, torch.nn.Conv2d)),
    )
    known = next((kind for kind, classes in kinds if isinstance(module, classes)), None)
    return known or ("norm" if "norm" in type(module).__name__.lower() else "parameter")


def true_parameters(model: Any) -> Counter[tuple[str, str, tuple[int, ...]]]:
    """Every distinct parameter by name, owner and shape."""
    seen: set[int] = set()
    found: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                full = folded(f"{path}.{name}" if path else name)
                found[full, owner_kind(module), tuple(parameter.shape)] += 1
    return found


def true_buffers(model: Any) -> Counter[tuple[str, tuple[int, ...]]]:
    """Every buffer by name and shape."""
    return Counter((folded(name), tuple(buffer.shape)) for name, buffer in model.named_buffers())


def quantised_by_bitsandbytes(model: Any) -> set[str]:
    """The modules that `replace_with_bnb_linear` of transformers 5.23 would replace."""
    base = pytest.importorskip("transformers.quantizers.base", reason="quantisers moved in this transformers")
    utils = pytest.importorskip(
        "transformers.quantizers.quantizers_utils", reason="quantisers moved in this transformers"
    )
    skipped = [*base.get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ())]
    conv1d = transformers.pytorch_utils.Conv1D
    return {
        folded(name)
        for name, module in model.named_modules()
        if (isinstance(module, conv1d) or type(module) is torch.nn.Linear)
        and utils.should_convert_module(name, skipped)
    }


def check(config: dict[str, Any]) -> None:
    spec = read(config, where="config.json")
    model = instantiate(config)
    ours: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    buffers: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for group in spec.tensors:
        if group.part == "buffer":
            buffers[group.name, group.shape] += group.count
        else:
            ours[group.name, group.module, group.shape] += group.count
    assert ours == true_parameters(model)
    assert buffers == true_buffers(model)
    assert spec.params == sum(parameter.numel() for parameter in {id(p): p for p in model.parameters()}.values())
    quantised = {
        group.name.removesuffix(".weight")
        for group in spec.tensors
        if group.quantisable and group.module in ("linear", "conv1d") and group.part != "head" and len(group.shape) > 1
    }
    assert quantised == quantised_by_bitsandbytes(model)
    head = model.get_output_embeddings()
    assert spec.has_head == (head is not None)
    if head is not None:
        embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
        assert spec.tied_head == any(head.weight is embedding.weight for embedding in embeddings)
        assert spec.logits_to_keep == ("logits_to_keep" in inspect.signature(type(model).forward).parameters)


def check_float32(config: dict[str, Any]) -> None:
    """Tensors kept in float32 are those that `_keep_in_fp32_modules` names, if the model is not bfloat16."""
    spec, model = read(config, where="config.json"), instantiate(config)
    patterns = set() if spec.config_dtype == "bfloat16" else set(model._keep_in_fp32_modules or ())
    for group in spec.tensors:
        if group.part != "buffer":
            kept = any(re.search(rf"(^|\.){re.escape(pattern)}(\.|$)", group.name) for pattern in patterns)
            assert (group.dtype == "float32") == kept, group.name


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.stem)
def test_a_published_config_is_its_class(path: Path) -> None:
    config = json.loads(path.read_text("utf-8"))
    check(config)
    check_float32(config)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_its_class(name: str) -> None:
    check(VARIANTS[name])
    check_float32(VARIANTS[name])
