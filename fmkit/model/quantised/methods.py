"""The quantisation methods with one scheme for all modules: GPTQ, AWQ, AutoRound, FP8, bitsandbytes, MXFP4, HQQ, torchao, optimum-quanto."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.matrices import ScaleLevel
from fmkit.model.quantised import schemes
from fmkit.model.quantised.names import layers_meant, starts_or_ends
from fmkit.model.quantised.schemes import scheme

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.quantised.fields import Fields
    from fmkit.model.spec import ModelSpec

_LINEAR = ("linear", "conv1d")


def gptq(config: Fields, spec: ModelSpec) -> Layout:
    """GPTQ as GPTQModel and AutoGPTQ write it: the linear layers of the blocks, the head where `lm_head` says so."""
    bits = _bits(config, (2, 3, 4, 8), "bits", "w_bit")
    if config.text("checkpoint_format", "format", default="gptq") not in ("gptq", "gptq_v2"):
        config.refuse("checkpoint_format" if "checkpoint_format" in config.values else "format")
    if config.values.get("dynamic"):
        config.refuse("dynamic", "changes single modules, which is not known here")
    layout = schemes.gptq(bits, config.group_size("group_size", default=128))
    if config.flag("lm_head"):
        layout = msgspec.structs.replace(layout, parts=(*schemes.TEXT_PARTS, "head"), keeps_head=False)
    chosen = _block_names(config)
    if chosen:
        layout = msgspec.structs.replace(layout, chosen=_meant(chosen, spec))
    return layout


def _block_names(config: Fields) -> tuple[str, ...]:
    """`modules_in_block_to_quantize`: lists of names, or one list."""
    asked = config.values.get("modules_in_block_to_quantize")
    if asked is None:
        return ()
    flat = (
        [name for item in asked for name in (item if isinstance(item, list) else [item])]
        if isinstance(asked, list)
        else None
    )
    if flat is None or not all(isinstance(name, str) for name in flat):
        config.refuse("modules_in_block_to_quantize", "is no list of names")
    return tuple(flat)


def awq(config: Fields, spec: ModelSpec) -> Layout:
    """AWQ as AutoAWQ writes it. Without a list of what is left alone only the language model is quantised."""
    bits = _bits(config, (4,), "bits", "w_bit")
    if config.text("version", "format", default="gemm") not in ("gemm", "gemv", "gemv_fast", "llm-awq"):
        config.refuse("version")
    layout = schemes.awq(bits, config.group_size("group_size", "q_group_size", default=128))
    skipped = config.names("modules_to_not_convert")
    if not skipped:
        return msgspec.structs.replace(layout, parts=schemes.TEXT_PARTS)
    return _without(layout, skipped, spec)


def auto_round(config: Fields, _spec: ModelSpec) -> Layout:
    """AutoRound in the packings of GPTQ (without g_idx) and AWQ."""
    bits = _bits(config, (2, 3, 4, 8), "bits")
    group = config.group_size("group_size", default=128)
    packing = config.text("packing_format", default="auto_round:auto_gptq") or ""
    if config.values.get("extra_config") or config.text("data_type", default="int") != "int":
        config.refuse("extra_config" if config.values.get("extra_config") else "data_type")
    if packing.endswith("gptq"):
        return schemes.gptq(bits, group, order=False)
    if packing.endswith("awq"):
        return msgspec.structs.replace(schemes.awq(bits, group), parts=schemes.TEXT_PARTS)
    return config.refuse("packing_format")


def fp8(config: Fields, spec: ModelSpec) -> Layout:
    """FP8 as DeepSeek publishes it (blocks with a float32 scale), and per tensor; experts as packed FP4 where `expert_dtype` says so."""
    block = config.values.get("weight_block_size")
    static = config.text("activation_scheme", default="dynamic") == "static"
    if block is None:
        layout = schemes.fp8_tensor(inputs=int(static))
    elif isinstance(block, list) and len(block) == 2 and all(type(side) is int and 0 < side <= 2**16 for side in block):
        layout = schemes.fp8_block(block[0], block[1])
    else:
        config.refuse("weight_block_size", "is no pair of numbers")
    layout = _without(layout, config.names("modules_to_not_convert", "ignored_layers"), spec)
    if config.text("expert_dtype", default="fp8") != "fp4":
        return layout
    dense = tuple(part for part in layout.parts if part != "experts")
    experts = msgspec.structs.replace(schemes.mx(4), parts=("experts",))
    return msgspec.structs.replace(
        layout, id=f"{layout.id}-experts-fp4", name=f"{layout.name}, experts in FP4", parts=dense, others=(experts,)
    )


def mxfp8(config: Fields, spec: ModelSpec) -> Layout:
    """FP8 with a byte of scale for 32 inputs."""
    return _without(schemes.mx(8), config.names("modules_to_not_convert"), spec)


def fbgemm_fp8(config: Fields, spec: ModelSpec) -> Layout:
    """FP8 with a float32 scale for each row."""
    layout = scheme("fp8-channel", "FP8, one scale per row", 8, schemes.per_row(4))
    return _without(layout, config.names("modules_to_not_convert"), spec)


def bitsandbytes(config: Fields, spec: ModelSpec) -> Layout:
    """LLM.int8, and nf4 or fp4 with and without double quantisation. Fused experts are no Linear modules and stay as they are."""
    skipped = config.names("llm_int8_skip_modules")
    if config.flag("load_in_8bit") or config.flag("_load_in_8bit"):
        layout = scheme("bnb-llm-int8", "bitsandbytes LLM.int8", 8, schemes.per_row(4), modules=_LINEAR)
        return _without(layout, skipped, spec)
    if not (config.flag("load_in_4bit") or config.flag("_load_in_4bit")):
        config.refuse("load_in_4bit", "and load_in_8bit say of no width what it is")
    kind = config.text("bnb_4bit_quant_type", default="fp4")
    if kind not in ("nf4", "fp4"):
        config.refuse("bnb_4bit_quant_type")
    if config.flag("bnb_4bit_use_double_quant"):
        layout = scheme(
            f"bnb-{kind}-dq", f"bitsandbytes {kind} with double quantisation", 4, ScaleLevel(params=64, bytes=1),
            ScaleLevel(params=16384, bytes=4), matrix_bytes=1092, modules=_LINEAR,
        )  # fmt: skip
    else:
        layout = scheme(
            f"bnb-{kind}", f"bitsandbytes {kind} without double quantisation", 4, ScaleLevel(params=64, bytes=4), matrix_bytes=64,
            modules=_LINEAR,
        )  # fmt: skip
    return _without(layout, skipped, spec)


def mxfp4(config: Fields, spec: ModelSpec) -> Layout:
    """gpt-oss's own format: the experts only."""
    layout = msgspec.structs.replace(schemes.mx(4), parts=("experts",), modules=("parameter",))
    return _without(layout, config.names("modules_to_not_convert"), spec)


def hqq(config: Fields, spec: ModelSpec) -> Layout:
    """HQQ with one setting for all layers; scale and zero in the compute type for each group."""
    inner = config.inner("quant_config")
    weights = inner.inner("weight_quant_params") if inner is not None else None
    if weights is None:
        config.refuse("quant_config", "has no weight_quant_params for all layers, which is not known here")
    bits = _bits(weights, (1, 2, 4, 8), "nbits")
    group = weights.whole("group_size", default=64) or 64
    layout = scheme(f"hqq-int{bits}-g{group}", f"HQQ int{bits}, groups of {group}", bits, ScaleLevel(params=group, bytes=4), modules=("linear",))  # fmt: skip
    return _without(layout, config.names("skip_modules"), spec)


_TORCHAO_NAMES = {
    "int8_weight_only": "Int8WeightOnlyConfig", "int8_dynamic_activation_int8_weight": "Int8DynamicActivationInt8WeightConfig",
    "int4_weight_only": "Int4WeightOnlyConfig", "float8_weight_only": "Float8WeightOnlyConfig",
}  # fmt: skip


def torchao(config: Fields, spec: ModelSpec) -> Layout:
    """One setting of torchao for all Linear modules, of version 2 of its formats."""
    asked = config.values.get("quant_type")
    options = config.inner("quant_type_kwargs") if isinstance(asked, str) else None
    kind = _TORCHAO_NAMES.get(asked, asked) if isinstance(asked, str) else None
    if isinstance(asked, Mapping):
        default = config.inner("quant_type")
        chosen = default.inner("default") if default is not None else None
        kind, options = (chosen.values.get("_type"), chosen.inner("_data")) if chosen is not None else (None, None)
    if config.flag("include_input_output_embeddings"):
        config.refuse("include_input_output_embeddings")
    layout = _torchao_layout(str(kind), options, config)
    return _without(layout, config.names("modules_to_not_convert"), spec)


def _torchao_layout(kind: str, options: Fields | None, config: Fields) -> Layout:
    if kind in ("Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"):
        return scheme(
            "torchao-int8", f"torchao {kind}", 8, schemes.per_row(5), modules=("linear",), keeps_float32=False
        )
    if kind in ("Float8WeightOnlyConfig", "Float8DynamicActivationFloat8WeightConfig"):
        return scheme("torchao-fp8", f"torchao {kind}", 8, schemes.per_row(4), modules=("linear",), keeps_float32=False)
    if kind == "Int4WeightOnlyConfig":
        group = (options.whole("group_size", default=128) if options is not None else None) or 128
        layout = scheme(f"torchao-int4-g{group}", f"torchao int4, groups of {group}", 4, schemes.per_group(group, 4), modules=("linear",), keeps_float32=False)  # fmt: skip
        return msgspec.structs.replace(layout, inputs_multiple=group)
    return config.refuse("quant_type")


def quanto(config: Fields, spec: ModelSpec) -> Layout:
    """optimum-quanto: 8 bits with a scale for each row, 4 with scale and shift for groups that shrink until they divide the inputs."""
    kind = config.text("weights")
    if kind in ("int8", "float8"):
        layout = scheme(
            f"quanto-{kind}", f"optimum-quanto {kind}", 8, schemes.per_row(2), matrix_bytes=8, modules=("linear",)
        )
    elif kind in ("int4", "int2"):
        level = ScaleLevel(inputs=128, outputs=1, bytes=4, shrinks_by=32)
        layout = scheme(
            f"quanto-{kind}", f"optimum-quanto {kind}", int(kind[3:]), level, matrix_bytes=8, modules=("linear",)
        )
    else:
        config.refuse("weights")
    return _without(layout, config.names("modules_to_not_convert"), spec)


def _bits(config: Fields, known: tuple[int, ...], *keys: str) -> int:
    bits = config.whole(*keys)
    if bits not in known:
        config.refuse(next((key for key in keys if key in config.values), keys[0]))
    return bits


def _without(layout: Layout, skipped: tuple[str, ...] | None, spec: ModelSpec) -> Layout:
    return layout if not skipped else msgspec.structs.replace(layout, kept=_meant(skipped, spec))


def _meant(names: tuple[str, ...], spec: ModelSpec) -> dict[str, int]:
    return layers_meant(names, spec.tensors, starts_or_ends, max(stack.layers for stack in spec.stacks))


METHODS: dict[str, Callable[[Fields, ModelSpec], Layout]] = {
    "gptq": gptq, "awq": awq, "auto-round": auto_round, "fp8": fp8, "mxfp8": mxfp8, "fbgemm_fp8": fbgemm_fp8, "bitsandbytes": bitsandbytes,
    "mxfp4": mxfp4, "hqq": hqq, "torchao": torchao, "quanto": quanto,
}  # fmt: skip
"""The reader of each `quant_method`."""
