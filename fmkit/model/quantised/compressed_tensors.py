"""compressed-tensors: groups of modules with a scheme each, and a list of what is ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.matrices import ScaleLevel
from fmkit.model.quantised import schemes
from fmkit.model.quantised.names import exact_or_regex, layers_meant
from fmkit.model.quantised.schemes import scheme

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.quantised.fields import Fields
    from fmkit.model.spec import ModelSpec

_PACKED = "pack-quantized"
_WHOLE = ("int-quantized", "float-quantized", "naive-quantized")


def read(config: Fields, spec: ModelSpec) -> Layout:
    """The schemes of all config groups; the first that means a tensor has it."""
    groups = config.inner("config_groups")
    if groups is None or not groups.values:
        config.refuse("config_groups", "names no scheme")
    default = config.text("format", default="") or ""
    found = [_group(group, default, spec) for name in groups.values if (group := groups.inner(name)) is not None]
    layers = max(stack.layers for stack in spec.stacks)
    ignored = layers_meant(config.names("ignore") or (), spec.tensors, exact_or_regex, layers)
    first = found[0]
    name = first.name if len(found) == 1 else " and ".join(dict.fromkeys(layout.name for layout in found))
    return msgspec.structs.replace(first, name=name, kept=ignored, others=tuple(found[1:]))


def _group(group: Fields, default: str, spec: ModelSpec) -> Layout:
    weights = group.inner("weights")
    if weights is None:
        group.refuse("weights", "says of no type what it is")
    inputs = group.values.get("input_activations")
    static = isinstance(inputs, dict) and inputs.get("dynamic") in (False, "local")  # a scale of the input is stored
    stored_as = group.text("format", default=default)
    layout = _weights(weights, stored_as or default, static_inputs=static)
    targets = group.names("targets") or ("Linear",)
    named = tuple(target for target in targets if target != "Linear")
    if len(named) < len(targets):
        return layout
    meant = layers_meant(named, spec.tensors, exact_or_regex, max(stack.layers for stack in spec.stacks))
    if not meant:
        group.refuse("targets", "means no module of this model")
    return msgspec.structs.replace(layout, chosen=meant, keeps_head=not any("head" in name for name in meant))


def _weights(weights: Fields, stored_as: str, *, static_inputs: bool) -> Layout:
    """The layout of one scheme: how scales are shared out is its strategy, how weights are written its format."""
    bits = weights.whole("num_bits", default=8) or 8
    kind = weights.text("type", default="int")
    strategy = weights.text("strategy") or ("group" if weights.values.get("group_size") else "tensor")
    group = weights.group_size("group_size", default=-1)
    if stored_as in ("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized"):
        return schemes.nvfp4(inputs=static_inputs) if stored_as.startswith("nv") else schemes.mx(bits, max(group, 1))
    symmetric = weights.values.get("symmetric") is not False
    if stored_as == _PACKED:
        return _packed(weights, bits, group if strategy == "group" else -1, strategy, symmetric=symmetric)
    if stored_as not in _WHOLE:
        weights.refuse("format", f"with {stored_as!r} is not known here")
    if bits > 8:
        weights.refuse("num_bits")
    return _whole(weights, "fp8" if kind == "float" else "int8", strategy, group, static_inputs=static_inputs)


def _packed(weights: Fields, bits: int, group: int, strategy: str, *, symmetric: bool) -> Layout:
    """Weights packed into int32 along each row, a 16-bit scale for each group, and the shape as two int64."""
    if strategy not in ("group", "channel") or not 2 <= bits <= 8:
        weights.refuse("strategy" if 2 <= bits <= 8 else "num_bits")
    zeros = () if symmetric else (schemes.packed_zeros(group, bits),)
    suffix = "" if symmetric else "-asym"
    order = weights.values.get("actorder") in ("group", True)
    index = (ScaleLevel(inputs=1, bytes=4),) if order else ()
    return scheme(
        f"w{bits}a16-{schemes.group_name(group)}{suffix}",
        f"W{bits}A16, {f'groups of {group}' if group > 0 else 'one scale per row'}{'' if symmetric else ' with zero points'}",
        bits,
        schemes.per_group(group, 2),
        *zeros,
        *index,
        word_bytes=4,
        matrix_bytes=16,
    )


def _whole(weights: Fields, name: str, strategy: str, group: int, *, static_inputs: bool) -> Layout:
    """A byte a weight, with scales in 16 bit."""
    inputs = 2 if static_inputs else 0
    label = "W8A8" if name == "int8" else "FP8"
    if strategy == "tensor":
        return scheme(f"{name}-tensor", f"{label}, one scale per tensor", 8, matrix_bytes=2 + inputs)
    if strategy == "channel":
        return scheme(f"{name}-channel", f"{label}, one scale per row", 8, schemes.per_row(2), matrix_bytes=inputs)
    if strategy == "group":
        return scheme(
            f"{name}-g{group}", f"{label}, groups of {group}", 8, schemes.per_group(group, 2), matrix_bytes=inputs
        )
    block = weights.values.get("block_structure")
    if (
        strategy == "block"
        and isinstance(block, list)
        and len(block) == 2
        and all(type(side) is int and side > 0 for side in block)
    ):
        return schemes.fp8_block(block[0], block[1], scale_bytes=2)
    return weights.refuse("strategy")
