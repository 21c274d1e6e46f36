"""How llama.cpp reads each lineage: its name for the architecture, and its names for the tensors of transformers' models.

Source: the converter and model loaders of llama.cpp; the inventories were loaded by it (tests/sizing/test_llama_cpp.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.errors import ArchitectureUnknownError

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

AttentionNorms = Literal["ffn_norm", "post_attention_norm"]


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """How llama.cpp reads the models of one `model_type`.

    `after_attention` is what the norm called post_attention_layernorm becomes; `windowed` says whether its sliding
    windows are kept: where not, every layer keeps the whole context. `experts_transposed` is for experts held as
    [expert, in, out]. `renames` are block names that differ from the usual, `outer_renames` those of tensors outside of
    the blocks, where they are looked up by name. `position_offset` rows of learned positions are left out;
    `state_groups` is set for Mamba 2, whose A and D are columns and whose norm has a row of each group. `causal` is
    False for an encoder: no cache, no output matrix.
    """

    architecture: str
    after_attention: AttentionNorms = "ffn_norm"
    windowed: bool = False
    experts_transposed: bool = False
    renames: dict[str, str] = {}
    outer_renames: dict[str, str] = {}
    position_offset: int = 0
    state_groups: bool = False
    causal: bool = True


_LLAMA = Lineage(architecture="llama")
_GEMMA_2 = Lineage(architecture="gemma2", after_attention="post_attention_norm", windowed=True)
_GEMMA_3 = Lineage(architecture="gemma3", after_attention="post_attention_norm", windowed=True)
_DEEPSEEK = Lineage(architecture="deepseek2")
_BERT = Lineage(
    architecture="bert",
    causal=False,
    renames={
        "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
    },
    outer_renames={
        "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
    },
)  # fmt: skip
_ROBERTA = msgspec.structs.replace(_BERT, position_offset=2)
LINEAGES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "qwen2": Lineage(architecture="qwen2"),
    "qwen3": Lineage(architecture="qwen3"),
    "qwen3_moe": Lineage(architecture="qwen3moe"),
    "gemma": Lineage(architecture="gemma"),
    "gemma2": _GEMMA_2,
    "gemma3": _GEMMA_3,
    "gemma3_text": _GEMMA_3,
    "phi": Lineage(
        architecture="phi2",
        renames={"self_attn.dense": "attn_output", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"},
    ),
    "phi3": Lineage(architecture="phi3"),
    "phimoe": Lineage(architecture="phimoe"),
    "gpt2": Lineage(
        architecture="gpt2",
        renames={
            "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_1": "attn_norm", "ln_2": "ffn_norm",
            "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
        },
    ),
    "gpt_neox": Lineage(architecture="gptneox"),
    "falcon": Lineage(architecture="falcon", renames={"ln_attn": "attn_norm_2", "ln_mlp": "attn_norm"}),
    "starcoder2": Lineage(architecture="starcoder2", renames={"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}),
    "stablelm": Lineage(architecture="stablelm"),
    "olmo2": Lineage(architecture="olmo2", after_attention="post_attention_norm"),
    "granite": Lineage(architecture="granite"),
    "smollm3": Lineage(architecture="smollm3"),
    "seed_oss": Lineage(architecture="seed_oss", after_attention="post_attention_norm"),
    "cohere": Lineage(architecture="command-r"),
    "cohere2": Lineage(architecture="cohere2", windowed=True),
    "olmoe": Lineage(architecture="olmoe"),
    "gpt_oss": Lineage(architecture="gpt-oss", after_attention="post_attention_norm", windowed=True, experts_transposed=True),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "llama4": Lineage(architecture="llama4", windowed=True, experts_transposed=True),
    "lfm2": Lineage(
        architecture="lfm2",
        renames={
            "conv.conv": "shortconv.conv", "conv.in_proj": "shortconv.in_proj", "conv.out_proj": "shortconv.out_proj",
            "self_attn.out_proj": "attn_output", "self_attn.q_layernorm": "attn_q_norm", "self_attn.k_layernorm": "attn_k_norm",
            "feed_forward.w1": "ffn_gate", "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down", "operator_norm": "attn_norm",
            "ffn_norm": "ffn_norm",
        },
        outer_renames={"embedding_norm": "token_embd_norm"},
    ),
    "falcon_h1": Lineage(
        architecture="falcon-h1",
        state_groups=True,
        renames={
            "mamba.A_log": "ssm_a", "mamba.D": "ssm_d", "mamba.dt_bias": "ssm_dt", "mamba.conv1d": "ssm_conv1d",
            "mamba.in_proj": "ssm_in", "mamba.out_proj": "ssm_out", "mamba.norm": "ssm_norm", "feed_forward.gate_proj": "ffn_gate",
            "feed_forward.up_proj": "ffn_up", "feed_forward.down_proj": "ffn_down", "pre_ff_layernorm": "ffn_norm",
        },
    ),
    "mamba": Lineage(architecture="mamba"),
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}  # fmt: skip
"""The lineages whose GGUF files are understood, by `model_type` of transformers."""

BLOCK_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.sinks": "attn_sinks", "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm", "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
    "self_attention.query_key_value": "attn_qkv", "self_attention.dense": "attn_output", "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up", "mlp.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp",
    "mlp.experts.down_proj": "ffn_down_exps", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp",
    "feed_forward.gate_proj": "ffn_gate", "feed_forward.up_proj": "ffn_up", "feed_forward.down_proj": "ffn_down",
    "feed_forward.router": "ffn_gate_inp", "feed_forward.experts.down_proj": "ffn_down_exps",
    "feed_forward.shared_expert.gate_proj": "ffn_gate_shexp", "feed_forward.shared_expert.up_proj": "ffn_up_shexp",
    "feed_forward.shared_expert.down_proj": "ffn_down_shexp", "mlp.gate.e_score_correction_bias": "exp_probs_b", "input_layernorm": "attn_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm", "norm": "attn_norm",
    "mixer.A_log": "ssm_a", "mixer.D": "ssm_d", "mixer.conv1d": "ssm_conv1d", "mixer.in_proj": "ssm_in",
    "mixer.x_proj": "ssm_x", "mixer.dt_proj": "ssm_dt", "mixer.out_proj": "ssm_out",
}  # fmt: skip
"""Names inside a block: transformers' without the layer and `.weight` or `.bias`, to llama.cpp's."""

WINDOW_PATTERNS = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2, "llama4": 4}
"""Of how many layers one, the last, keeps the whole context. Source: llama.cpp src/llama-model.cpp, `set_swa_pattern`."""

GGUF_PREFIX = "gguf:"
"""How the `model_type` of a spec begins that was read from a GGUF file; the architecture follows."""


def lineage_of(spec: ModelSpec) -> Lineage:
    """How llama.cpp reads the model; ArchitectureUnknownError for a lineage whose GGUF files are not understood here."""
    lineage = LINEAGES.get(spec.model_type)
    if spec.model_type.startswith(GGUF_PREFIX):
        named = spec.model_type.removeprefix(GGUF_PREFIX)
        lineage = next((one for one in LINEAGES.values() if one.architecture == named), None)
    if lineage is None:
        raise ArchitectureUnknownError(
            f"the tensors of a GGUF file of {spec.model_type!r} are not known to this version; "
            f"llama.cpp models are sized for {', '.join(LINEAGES)}",
            where="--engine llama.cpp",
            next_command="fmkit vram MODEL --engine transformers",
        )
    return lineage
