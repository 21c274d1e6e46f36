"""What the blocks of transformers 5.23 hold in memory while they run, per implementation.

A forward pass peaks inside a block: in its feed-forward, or in its attention (norms included). `Held` counts the
tensors alive at that moment as multiples of widths that scale with tokens. The multiples were read from traces of the
real implementations with fake tensors on CPU, every live storage counted, and are held against such traces in
tests/sizing/test_activations.py and test_more_activations.py. To add an implementation: one row. What recurrent layers
hold while they scan a prompt is in `fmkit.sizing.scans`.
"""

from __future__ import annotations

import msgspec


class Held(msgspec.Struct, frozen=True):
    """Tensors held at one moment, per token of each sequence.

    `h` of the hidden width, `i` of the feed-forward's inner width, `q` of all query heads, `kv` of all key heads (for
    latent attention: of all heads' expanded keys and values); `h32`, `q32`, `kv32` the same in float32 whatever the
    model's type; `h_cast`, `q_cast`, `kv_cast`, `scores_cast` copies made to convert to float32, absent in a float32
    model, and `scores_back` those made to convert back; `scores` and `scores32` of query heads x keys, in the model's
    type and in float32; `relative` of query heads x rows of a relative-position table. `positions` of the hidden width
    and `rope32` of one head's width in float32 are held once, whatever the number of sequences.
    """

    h: float = 0
    i: float = 0
    q: float = 0
    kv: float = 0
    h32: float = 0
    q32: float = 0
    kv32: float = 0
    h_cast: float = 0
    q_cast: float = 0
    kv_cast: float = 0
    scores: float = 0
    scores32: float = 0
    scores_cast: float = 0
    scores_back: float = 0
    relative: float = 0
    positions: float = 0
    rope32: float = 0


class Implementation(msgspec.Struct, frozen=True):
    """What one implementation of a block holds in its feed-forward and in its attention.

    `fused` says whether it calls scaled_dot_product_attention; where it does not, it runs eager attention unless
    `flash` attention is asked for and its class supports that (`_supports_flash_attn` of transformers 5.23).
    `cpu_attention` replaces `attention` where PyTorch has no fused CPU kernel for the call (one key head for all
    queries, or keys and values of different width) and computes float32 scores. `experts` are the moments of a mixture,
    per row routed to an expert (every row to each of them with `every_expert`), beside `experts_beside` tensors of the
    hidden width. `position_bias` is T5's table of heads x tokens x tokens; `relative_rows` the rows of DeBERTa's table
    of relative positions. `bool_mask` says that a fused call is given an explicit mask of a byte per pair of tokens and
    sequence; `float32_positions` that rotary cos and sin stay in float32, `positions_each` that each sequence has its
    own rows of the position table. `fused_projection` is for `fmkit.sizing.scans`.
    """

    mlp: Held
    attention: tuple[Held, ...]
    fused: bool = True
    flash: bool = False
    cpu_attention: tuple[Held, ...] = ()
    experts: tuple[Held, ...] = (Held(h=1, i=4), Held(h=4))
    experts_beside: float = 4
    every_expert: bool = False
    position_bias: bool = False
    relative_rows: int = 0
    bool_mask: bool = False
    float32_positions: bool = False
    positions_each: bool = False
    fused_projection: bool = True


EAGER = (Held(h=3, q=3, scores=1, scores32=1, scores_cast=1),)
"""Eager attention: masked scores in the model's type, their float32 copy and its softmax, keys and values per query head."""

CHUNKED = Held(h=3, q=2)
"""Fused attention of one chunk of a prompt to all before it: queries and their output."""

QUANTISING = Held(h=3, q=2, kv=5)
"""An attention whose keys are being quantised for the cache, beside what that takes."""

INDEXER = Held(h=10 / 3, q=3.875, kv=1)
"""Latent attention while its indexer scores the tokens, beside those scores."""

_LLAMA = Implementation(mlp=Held(h=4, i=3), attention=(Held(h=3, h32=1, h_cast=1),))
_QK_NORM = Implementation(mlp=Held(h=4, i=3), attention=(Held(h=3, q=1, q32=1, q_cast=1),))
_FLOAT32_EXPERTS = (Held(h=1, i=4), Held(h=2, h32=2))
"""Routed outputs weighted in float32, and their copy in the tokens' order."""

_LATENT = Implementation(
    mlp=Held(h=4, i=3),
    attention=(Held(h=3, q=3, kv=1),),
    cpu_attention=(
        Held(h=3, q=10 / 3, kv=1, q32=1, q_cast=2, kv_cast=0.5, scores32=2),
        Held(h=3, q=10 / 3, kv=1.5, q32=1, kv32=0.5, q_cast=2, kv_cast=0.5, scores_back=1, scores32=1),
    ),
    experts=_FLOAT32_EXPERTS,
)
_POST_NORM = Implementation(mlp=Held(h=3, i=3), attention=_QK_NORM.attention)
_GEMMA = Implementation(mlp=Held(h=4, i=3), attention=(Held(h=4, h32=1, h_cast=1),))
_FUSED_GATE = Implementation(mlp=Held(h=4, i=4), attention=_LLAMA.attention)
"""One matrix for gate and input, whose output outlives both halves."""

_SINKS = Implementation(
    mlp=Held(h=4, i=3, scores=1),
    attention=(Held(h=3, q=3, scores=2),),
    fused=False,
    flash=True,
    experts=_FLOAT32_EXPERTS,
)
"""Eager attention with a sink beside the scores; the probabilities live on beside the feed-forward."""

_ERNIE = Implementation(
    mlp=Held(h=4, i=3),
    attention=(Held(h=3, q=1, kv=2, q32=2, q_cast=1, rope32=2),),
    experts_beside=5,
    float32_positions=True,
)
_FALCON = Implementation(
    mlp=Held(h=5, i=2),
    attention=(Held(h=3, q=3, kv=2),),
    cpu_attention=(
        Held(h=3, q=2, kv=4, q32=1, q_cast=1, kv_cast=2, scores32=2),
        Held(h=3, q=3, kv=4, q32=2, q_cast=1, kv_cast=2, scores_back=1, scores32=1),
    ),
)
"""Falcon with a norm of its own for the feed-forward; with one for both halves its output is held once."""
_BERT = Implementation(mlp=Held(h=3, i=2), attention=(Held(h=6),))
_PRE_NORM = Implementation(mlp=Held(h=4, i=2), attention=(Held(h=4, q=3),))

IMPLEMENTATIONS: dict[str, Implementation] = {
    "llama": _LLAMA,
    "mllama_text_model": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _QK_NORM,
    "qwen3_moe": _QK_NORM,
    "hunyuan_v1_dense": _LLAMA,
    "ministral3": _LLAMA,
    "seed_oss": _LLAMA,
    "smollm3": _LLAMA,
    "granite": _LLAMA,
    "olmoe": _LLAMA,
    "ernie4_5": _ERNIE,
    "ernie4_5_moe": _ERNIE,
    "hunyuan_v1_moe": Implementation(
        mlp=Held(h=4, i=3), attention=_LLAMA.attention, experts=_FLOAT32_EXPERTS, experts_beside=5
    ),
    "glm": _FUSED_GATE,
    "glm4": _FUSED_GATE,
    "granitemoehybrid": _FUSED_GATE,
    "lfm2": _QK_NORM,
    "cohere2": _LLAMA,
    "stablelm": Implementation(mlp=Held(h=6, i=3), attention=(Held(h=4, q=2),)),
    "nomic_bert": Implementation(mlp=Held(h=4, i=3), attention=(Held(h=6),)),
    "phi": Implementation(mlp=Held(h=4, i=4), attention=(Held(h=3, q=4, kv=1),)),
    "gpt_neox": Implementation(mlp=Held(h=4, i=2), attention=(Held(h=3, q=5),)),
    "gptj": Implementation(
        mlp=Held(h=4, i=4, scores=2),
        attention=(Held(h=3, q=3.5, q32=2, scores=1, scores32=2),),
        fused=False,
        flash=True,
    ),
    "bloom": Implementation(
        mlp=Held(h=4, i=4),
        attention=(Held(h=3, q=4, scores=3, scores32=1, scores_cast=1), Held(h=5, q=5, scores=4)),
        fused=False,
    ),
    "mpt": Implementation(
        mlp=Held(h=5, i=2, scores=2),
        attention=(Held(h=3, q=3, scores=1, scores32=2, scores_back=1),),
        fused=False,
    ),
    "biogpt": Implementation(mlp=Held(h=3, i=2), attention=(Held(h=3, q=3),), bool_mask=True),
    "llama4_text": Implementation(
        mlp=Held(h=4, i=3), attention=_QK_NORM.attention, experts_beside=5, every_expert=True
    ),
    "gemma4_text": Implementation(
        mlp=Held(h=4, i=3), attention=_GEMMA.attention, experts=_FLOAT32_EXPERTS, experts_beside=6
    ),
    "gemma3n_text": Implementation(mlp=Held(h=20, i=4), attention=(Held(h=20),)),
    "mimo_v2_flash": _SINKS,
    "mamba2": _LLAMA,
    "bamba": _LLAMA,
    "falcon_h1": _LLAMA,
    "nemotron_h": Implementation(
        mlp=Held(h=3, i=3), attention=_LLAMA.attention, experts=(Held(h=1, i=3), Held(h=2, h32=2)), experts_beside=3
    ),
    "qwen3_next": _QK_NORM,
    "qwen3_5_text": msgspec.structs.replace(_QK_NORM, fused_projection=False),
    "qwen3_5_moe_text": msgspec.structs.replace(_QK_NORM, fused_projection=False),
    "jamba": _LLAMA,
    "mamba": _LLAMA,
    "falcon_mamba": _LLAMA,
    "minimax": Implementation(mlp=Held(h=3, i=3), attention=_LLAMA.attention, experts_beside=3),
    "olmo2": _POST_NORM,
    "olmo3": _POST_NORM,
    "starcoder2": _PRE_NORM,
    "glm4_moe": _LATENT,
    "minimax_m2": _LATENT,
    "minimax_m3_vl_text": Implementation(
        # The choice of blocks as a mask of every head over all keys: three times a byte, twice a number.
        mlp=Held(h=4, i=3),
        attention=(Held(h=3, q=1, kv=1, scores=3.5),),
        experts=_FLOAT32_EXPERTS,
        experts_beside=5,
        bool_mask=True,
    ),
    "minicpm3": _LATENT,
    "phi3": Implementation(mlp=Held(h=4, i=4), attention=(Held(h=3, q=4, kv=2),)),
    "gpt2": Implementation(mlp=Held(h=5, i=4), attention=(Held(h=4, q=2, kv=2),)),
    "gpt_oss": Implementation(
        mlp=Held(h=4, i=3, scores=1),
        attention=(Held(h=3, q=3, scores=3),),
        fused=False,
        flash=True,
        experts=(Held(h=1, i=9), Held(h=4)),
    ),
    "gemma": _GEMMA,
    "gemma2": Implementation(mlp=Held(h=4, i=3, scores=1), attention=EAGER, fused=False, flash=True),
    "gemma3_text": _GEMMA,
    "cohere": Implementation(mlp=Held(h=4, i=3), attention=(Held(h=3, q=1, kv=2, q32=3, q_cast=1, kv_cast=1),)),
    "falcon": _FALCON,
    "falcon-one-norm": msgspec.structs.replace(_FALCON, mlp=Held(h=4, i=2)),
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "deepseek_v32": _LATENT,
    "glm_moe_dsa": msgspec.structs.replace(_LATENT, cpu_attention=()),
    "deepseek_v4": Implementation(
        mlp=Held(h=8, i=3),
        attention=(Held(h=8, q=1, scores=3), Held(h=8, q=3, scores=2)),
        fused=False,
        experts=_FLOAT32_EXPERTS,
        experts_beside=8,
    ),
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "distilbert": _BERT,
    "electra": _BERT,
    "albert": Implementation(mlp=Held(h=2, i=4), attention=(Held(h=5),)),
    "mpnet": Implementation(mlp=Held(h=3, i=2, scores=1), attention=(Held(h=7, scores=3),), fused=False),
    "deberta-v2": Implementation(
        mlp=Held(h=3, i=2),
        attention=(Held(h=6, scores=5), Held(h=6, scores=4, relative=1)),
        fused=False,
        relative_rows=512,
    ),
    "t5gemma": Implementation(
        mlp=Held(h=4, i=3),
        attention=(Held(h=3, q=3, kv=2, scores=1, scores32=1, scores_cast=1),),
        fused=False,
        flash=True,
    ),
    "t5": Implementation(mlp=Held(h=4, i=2), attention=(Held(h=3, q=4),), position_bias=True),
    "t5-gated": Implementation(mlp=Held(h=4, i=4), attention=(Held(h=3, q=4),), position_bias=True),
    "bart": _PRE_NORM,
    "m2m_100": Implementation(mlp=Held(h=5, i=2), attention=(Held(h=4, q=3),)),
    "opt": Implementation(mlp=Held(h=3, i=2), attention=(Held(h=3, q=3),), positions_each=True),
    "pegasus": Implementation(mlp=Held(h=4, i=2, positions=1), attention=(Held(h=4, q=3, positions=1),)),
    "whisper": _PRE_NORM,
    "clip": Implementation(mlp=Held(h=4, i=3), attention=(Held(h=4, q=3),)),
    "siglip": _PRE_NORM,
    "blip_2_vision_model": _PRE_NORM,
    "mllama_vision_model": _PRE_NORM,
    "blip_2_qformer": _BERT,
}
"""Multiples by the transformers model type whose code runs the block."""

ASSUMED = _LLAMA
"""The pattern for an implementation without a row; estimates that rest on it say so."""


def implementation_of(model_type: str, *, gated: bool) -> tuple[Implementation, bool]:
    """The row of a model type, and whether there is one; T5 and mT5 have two, by their feed-forward."""
    name = model_type.removesuffix("_text_model").removesuffix("_vision_model")
    name = model_type if model_type in IMPLEMENTATIONS else {"mt5": "t5"}.get(name, name)
    if name == "t5" and gated:
        name = "t5-gated"
    found = IMPLEMENTATIONS.get(name)
    return found or ASSUMED, found is not None
