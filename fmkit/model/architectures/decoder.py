"""What most decoder-only lineages share: heads, windows, rotary positions, gated feed-forwards and the wrapping class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fmkit.model.architectures.build import Tensors
from fmkit.model.attention import FullAttention, SlidingAttention
from fmkit.model.spec import Block, Mlp, ModelSpec, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fmkit.errors import ArchitectureUnknownError
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.attention import CrossAttention
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import Kind, StackRole

Positions = Literal["rope", "learned", "sinusoidal", "alibi", "relative", "none"]
DEFAULT_LABELS = 2
"""Labels of a classification head where the config names none: default of PreTrainedConfig, transformers 5.23."""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Attention heads: `query` that ask, `kv` that are stored, each `dim` wide."""

    query: int
    kv: int
    dim: int


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A decoder without its head, once its tensors are built."""

    stack: Stack
    vocab_size: int
    max_context_tokens: int | None
    tied: bool
    positions: Positions = "rope"
    context_is_hard: bool = False
    head_bias: bool = False
    head_name: str = "lm_head"
    kind: Kind = "decoder"
    logits_to_keep: bool = True
    notes: tuple[str, ...] = ()


def read_heads(
    config: ConfigReader, hidden_dim: int, *, heads: int, kv_heads: int | None = None, head_dim: int | None = None
) -> Heads:
    """The heads of a config; `heads`, `kv_heads` and `head_dim` are the class defaults.

    A `num_key_value_heads` of null means one per query head (all configs of transformers 5.23 that allow null).
    """
    query = config.core("num_attention_heads", class_default=heads)
    kv = config.size("num_key_value_heads", default=kv_heads or query, null=query)
    if query % kv:
        raise config.wrong("num_attention_heads", f"a multiple of num_key_value_heads ({kv})", query)
    dim = config.optional_size("head_dim") or head_dim
    return Heads(query=query, kv=kv, dim=dim or config.divide("hidden_size", hidden_dim, "num_attention_heads", query))


def causal(heads: Heads, window_tokens: int | None) -> Mixer:
    """Causal attention, sliding where there is a window."""
    if window_tokens is None:
        return FullAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    return SlidingAttention(
        query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim, window_tokens=window_tokens
    )


def windows_of(
    config: ConfigReader, layers: int, window_tokens: int | None, *, default: Sequence[str] | None = None
) -> list[int | None]:
    """The window of each layer, None for full attention.

    From `layer_types` where it is there; else from `default`; else every layer has the window, if there is one
    (transformers 5.23 `get_layer_types_and_kwargs`).
    """
    types = config.texts("layer_types") or default
    if types is None:
        return [window_tokens] * layers
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    windows: list[int | None] = []
    for kind in types:
        if kind == "sliding_attention":
            if window_tokens is None:
                raise config.missing("sliding_window")
            windows.append(window_tokens)
        elif kind == "full_attention":
            windows.append(None)
        else:
            raise config.unknown(f"layer type {kind[:40]!r} is not understood")
    return windows


def stack_of(
    role: StackRole,
    hidden_dim: int,
    layers: Iterable[tuple[Mixer, Mlp | None]],
    *,
    cross: CrossAttention | None = None,
    fixed_tokens: int | None = None,
    max_tokens: int | None = None,
    implementation: str | None = None,
) -> Stack:
    """A stack of these layers, equal ones counted together; the order is kept where kinds alternate."""
    numbers: dict[tuple[Mixer, Mlp | None], int] = {}
    order = tuple(numbers.setdefault(layer, len(numbers)) for layer in layers)
    blocks = tuple(
        Block(count=order.count(number), mixer=mixer, cross=cross, mlp=mlp) for (mixer, mlp), number in numbers.items()
    )
    return Stack(
        role=role,
        hidden_dim=hidden_dim,
        blocks=blocks,
        fixed_tokens=fixed_tokens,
        max_tokens=max_tokens,
        implementation=implementation,
        order=() if order == tuple(sorted(order)) else order,
    )


def attention_tensors(
    layer: Tensors,
    hidden_dim: int,
    heads: Heads,
    *,
    bias: bool = False,
    output_bias: bool = False,
    name: str = "self_attn",
) -> None:
    """Separate projections of queries, keys, values and output."""
    attention = layer.at(name)
    attention.linear("q_proj", heads.query * heads.dim, hidden_dim, bias=bias, part="attention")
    attention.linear("k_proj", heads.kv * heads.dim, hidden_dim, bias=bias, part="attention")
    attention.linear("v_proj", heads.kv * heads.dim, hidden_dim, bias=bias, part="attention")
    attention.linear("o_proj", hidden_dim, heads.query * heads.dim, bias=output_bias, part="attention")


def gated_mlp_tensors(layer: Tensors, hidden_dim: int, ffn_dim: int, *, bias: bool = False, name: str = "mlp") -> None:
    """A feed-forward with a gate: two projections in, one out."""
    mlp = layer.at(name)
    mlp.linear("gate_proj", ffn_dim, hidden_dim, bias=bias, part="mlp")
    mlp.linear("up_proj", ffn_dim, hidden_dim, bias=bias, part="mlp")
    mlp.linear("down_proj", hidden_dim, ffn_dim, bias=bias, part="mlp")


def expert_tensors(layer: Tensors, hidden_dim: int, mlp: Mlp, *, router: str = "mlp.gate") -> None:
    """Fused experts (bare parameters in transformers 5.23, first dimension the expert) and their router."""
    experts = layer.at("mlp.experts")
    shape_in, shape_out = (mlp.experts, 2 * mlp.ffn_dim, hidden_dim), (mlp.experts, hidden_dim, mlp.ffn_dim)
    experts.parameter("gate_up_proj", shape_in, part="experts", active=mlp.experts_per_token)
    experts.parameter("down_proj", shape_out, part="experts", active=mlp.experts_per_token)
    layer.parameter(f"{router}.weight", (mlp.experts, hidden_dim), part="router")


def experts_of(
    config: ConfigReader, *names: str, per_token: int, experts: int, ffn_dim: int, shared_ffn_dim: int = 0
) -> Mlp:
    """A mixture of experts; `experts` and `per_token` are the class defaults of their fields."""
    count = config.core(*names, class_default=experts)
    active = config.core("num_experts_per_tok", class_default=per_token)
    if active > count:
        raise config.wrong("num_experts_per_tok", f"at most the {count} experts", active)
    return Mlp(ffn_dim=ffn_dim, gated=True, experts=count, experts_per_token=active, shared_ffn_dim=shared_ffn_dim)


def rotary_buffers(model: Tensors, dims: int, *, prefix: str = "") -> None:
    """The two frequency tables that every rotary module registers, float32, one entry per pair of dimensions."""
    for name in ("inv_freq", "original_inv_freq"):
        model.buffer(f"rotary_emb.{prefix}{name}", (dims // 2,), dtype="float32")


def rotary_dims(config: ConfigReader, head_dim: int, *, default: float = 1.0) -> int:
    """Dimensions of a head that are rotated: all (or the class default), unless `partial_rotary_factor` says less."""
    for reader in (config, rope_settings(config)):
        if reader is not None and reader.has("partial_rotary_factor"):
            return int(head_dim * min(1.0, reader.number("partial_rotary_factor", 1.0)))
    return int(head_dim * default)


def rope_settings(config: ConfigReader) -> ConfigReader | None:
    """`rope_parameters` (transformers 5) or `rope_scaling`, whichever is there."""
    return config.child("rope_parameters") or config.child("rope_scaling")


def rope_limit(config: ConfigReader, *, class_default: int) -> int | None:
    """The context the model was made for, in tokens; None where a top-level config doesn't say.

    `max_position_embeddings` has the scaling applied already (linear: deepseek-coder's 16384; llama3; longrope) except
    in YaRN configs that keep the old figure: there the limit is factor x `original_max_position_embeddings`, where
    larger (Yarn-Mistral: 16 x 8192 = 131072; DeepSeek-V3: 40 x 4096 = 163840, which is what it says).
    """
    limit = config.optional_size("max_position_embeddings") or (class_default if config.nested else None)
    settings = rope_settings(config)
    if settings is None or (settings.optional_text("rope_type") or settings.optional_text("type")) != "yarn":
        return limit
    original = settings.optional_size("original_max_position_embeddings") or limit
    if original is None:
        return None
    return max(limit or 0, int(original * settings.number("factor", 1.0)))


def linear_rope_factor(config: ConfigReader) -> float:
    """The factor of linear RoPE scaling, 1 without it; Gemma 3 gives each kind of layer settings of its own."""
    settings = rope_settings(config)
    if settings is None:
        return 1.0
    settings = settings.child("full_attention") or settings
    kind = settings.optional_text("rope_type") or settings.optional_text("type")
    return settings.number("factor", 1.0) if kind == "linear" else 1.0


def labels_of(config: ConfigReader) -> int:
    """Outputs of a classification head."""
    return config.optional_size("num_labels") or config.length("id2label") or DEFAULT_LABELS


def config_dtype(config: ConfigReader) -> tuple[str, tuple[str, ...]]:
    """The type the config names (its own or its text model's), with a note where it names none: float32 then, the class default."""
    dtype = named_dtype(config)
    if dtype is not None:
        return dtype, ()
    return "float32", ("the type of the stored weights is unknown: the configuration names none",)


def named_dtype(config: ConfigReader) -> str | None:
    """The type that the config or its text model's names, None where both are silent."""
    text = config.child("text_config")
    return config.dtype or (text.dtype if text is not None else None)


def float32_in_half(config: ConfigReader) -> str | None:
    """The type of modules in `_keep_in_fp32_modules`: float32 when the rest is float16, else the model's own.

    Source: transformers 5.23 `_get_dtype_plan`; a bfloat16 model casts them to bfloat16.
    """
    return None if config_dtype(config)[0] == "bfloat16" else "float32"


def unknown_class(config: ConfigReader, known: str) -> ArchitectureUnknownError:
    """The error for a class of a known lineage whose head is not understood."""
    return config.unknown(f"class {str(config.class_name)[:60]!r} is not understood; known: {known}")


def causal_lm(
    config: ConfigReader,
    build: Callable[[ConfigReader, Tensors], TextModel],
    *,
    default_class: str,
    prefix: str = "model",
    inner: str = "",
    class_name: str | None = None,
) -> ModelSpec:
    """A decoder in the class that `architectures` names: with its head, bare, or with a classifier on top.

    `prefix` is the module that holds the decoder inside the class, `inner` a module in it that holds all tensors (OPT);
    `class_name` stands for what `architectures` says, where that names a class without the head that is loaded
    (ChatGLM).
    """
    name = class_name or config.class_name or default_class
    bare = name.endswith("Model") and not name.endswith("LMHeadModel")
    classifier = name.endswith("ForSequenceClassification")
    if not bare and not classifier and not name.endswith(("ForCausalLM", "LMHeadModel")):
        raise unknown_class(config, "...ForCausalLM, ...Model, ...ForSequenceClassification")
    tensors = Tensors()
    text = build(config, tensors.at("" if bare else prefix).at(inner))
    if classifier:
        tensors.linear("score", labels_of(config), text.stack.hidden_dim, part="projector", quantisable=False)
    elif not bare:
        head_tensors(tensors, text)
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind=text.kind,
        stacks=(text.stack,),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=text.context_is_hard,
        tied_head=text.tied and not bare and not classifier,
        has_head=not bare and not classifier,
        logits_to_keep=text.logits_to_keep,
        positions=text.positions,
        linear_rope_factor=linear_rope_factor(config),
        embedding_dim=text.stack.hidden_dim,
        notes=(*notes, *text.notes),
    )


def head_tensors(tensors: Tensors, text: TextModel) -> None:
    """The output head: its weight unless tied to the embedding, and its bias."""
    if not text.tied:
        tensors.linear(text.head_name, text.vocab_size, text.stack.hidden_dim, bias=text.head_bias, part="head")
    elif text.head_bias:
        tensors.linear_bias(text.head_name, text.vocab_size, part="head")
