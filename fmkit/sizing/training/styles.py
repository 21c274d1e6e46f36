"""How the blocks of transformers 5.23 are put together, as far as training memory depends on it. One row per model type."""

from __future__ import annotations

from typing import Literal

import msgspec

Norm = Literal["rms", "rms-float", "t5", "layer"]
"""`rms` weighs in the model's type, `rms-float` (Gemma, OLMo 2) in float32, `t5` multiplies before it casts, `layer` is LayerNorm."""

Order = Literal["pre", "post", "both", "after"]
"""Norms before each half (`pre`), after the sum (`post`, BERT), on both sides (`both`, Gemma 2), or after it only (`after`, OLMo 2)."""

Rotary = Literal["add", "join", "none"]
"""Whether rotated queries and keys come out of a sum, or out of a join with the part that is not rotated."""

Activation = Literal["silu", "gelu", "gelu-new", "relu", "quick-gelu"]


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation of a block.

    `fused_qkv` and `fused_gate` are single projections whose parts are views (cut by index where `sliced_qkv`);
    `dropout` and `attention_dropout` say whether published configs of the type train with them; `inner_dropout` is T5's
    inside the feed-forward; `bias_per_head` T5's table of positions; `softcap` tanh on the scores and the logits;
    `parallel` attention and feed-forward on the same input, after `one_norm` or two; `float_loss` converts the logits
    to float32 first, `biased_logits` adds a float32 bias to them.
    """

    norm: Norm = "rms"
    order: Order = "pre"
    activation: Activation = "silu"
    rotary: Rotary = "add"
    qk_norm: bool = False
    fused_qkv: bool = False
    sliced_qkv: bool = False
    fused_gate: bool = False
    dropout: bool = False
    attention_dropout: bool = False
    inner_dropout: bool = False
    bias_per_head: bool = False
    softcap: bool = False
    fused_attention: bool = True
    parallel: bool = False
    one_norm: bool = False
    float_loss: bool = True
    biased_logits: bool = False


_LLAMA = Style()
_BERT = Style(
    norm="layer", order="post", activation="gelu", rotary="none", dropout=True, attention_dropout=True, float_loss=False
)
_BART = Style(
    norm="layer", order="post", activation="gelu", rotary="none", dropout=True, float_loss=False, biased_logits=True
)
_GEMMA = Style(norm="rms-float", activation="gelu")

STYLES: dict[str, Style] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "ministral3": _LLAMA,
    "mixtral": _LLAMA,
    "qwen2": _LLAMA,
    "seed_oss": _LLAMA,
    "smollm3": _LLAMA,
    "granite": _LLAMA,
    "qwen3": Style(qk_norm=True),
    "qwen3_moe": Style(qk_norm=True),
    "olmo2": Style(norm="rms-float", order="after", qk_norm=True),
    "olmo3": Style(norm="rms-float", order="after", qk_norm=True),
    "phi3": Style(fused_qkv=True, sliced_qkv=True, fused_gate=True, rotary="join"),
    "gemma": _GEMMA,
    "gemma2": Style(norm="rms-float", order="both", activation="gelu", softcap=True, fused_attention=False),
    "gemma3_text": Style(norm="rms-float", order="both", activation="gelu", qk_norm=True),
    "phi": Style(norm="layer", activation="gelu-new", parallel=True, one_norm=True, rotary="join"),
    "gpt_neox": Style(norm="layer", activation="gelu", fused_qkv=True, parallel=True, rotary="join"),
    "starcoder2": Style(norm="layer", activation="gelu"),
    "gpt2": Style(norm="layer", activation="gelu-new", rotary="none", fused_qkv=True, dropout=True, attention_dropout=True),
    "opt": Style(norm="layer", activation="relu", rotary="none", dropout=True),
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "distilbert": _BERT,
    "bart": _BART,
    "t5": Style(
        norm="t5", activation="relu", rotary="none", dropout=True, attention_dropout=True, inner_dropout=True,
        bias_per_head=True, float_loss=False,
    ),
    "t5-gated": Style(
        norm="t5", activation="gelu-new", rotary="none", dropout=True, attention_dropout=True, inner_dropout=True,
        bias_per_head=True, float_loss=False,
    ),
}  # fmt: skip
"""Styles by the transformers model type whose code runs the block."""


def style_of(model_type: str, *, gated: bool) -> tuple[Style, bool]:
    """The style of a model type, Llama's where there is no row, and whether there is one."""
    name = {"mt5": "t5"}.get(model_type, model_type)
    if name == "t5" and gated:
        name = "t5-gated"
    found = STYLES.get(name)
    return found or _LLAMA, found is not None
