"""A repository's quantization_config as the layout of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.model.quantised import compressed_tensors, modelopt
from fmkit.model.quantised.fields import Fields
from fmkit.model.quantised.methods import METHODS
from fmkit.model.spec import TOWER_PARTS

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec


_BESIDE = ("expert_dtype",)
"""What a config.json says of the quantisation outside of its quantization_config (DeepSeek-V4)."""


def quantisation_of(config: Mapping[str, Any], where: str | None = None) -> tuple[str, Fields] | None:
    """The quantisation method that a config.json names, with the object that does; None for weights that are not quantised.

    The text model's own counts where the outer config is silent. Under the key `hf_quant_config` lies what a file of
    that name says. UnsafeInputError, with the file `where` it is, for a quantisation that is no object.

    >>> quantisation_of({"quantization_config": {"quant_method": "gptq", "bits": 4}})[0]
    'gptq'
    """
    paths = ("", "text_config", "llm_config", "language_config", "thinker_config")
    for path in paths:
        holder = config.get(path) if path else config
        if not isinstance(holder, Mapping):
            continue
        for key in ("quantization_config", "compression_config"):
            name = f"{path}.{key}" if path else key
            found = holder.get(key)
            if found is not None and not isinstance(found, Mapping):
                raise UnsafeInputError(f"{name} is {str(found)[:40]!r}; expected an object", where=where)
            if found:
                beside = {option: holder[option] for option in _BESIDE if option in holder}
                fields = Fields({**beside, **found}, name)
                return _method(fields), fields
    outer = config.get("hf_quant_config")
    quantisation = outer.get("quantization") if isinstance(outer, Mapping) else None
    if isinstance(quantisation, Mapping) and quantisation.get("quant_algo"):
        return "modelopt", Fields(quantisation, "hf_quant_config.json: quantization")
    return None


def _method(fields: Fields) -> str:
    method = fields.text("quant_method")
    if method is None:
        if "quant_algo" in fields.values:
            return "modelopt"
        if "config_groups" in fields.values:
            return "compressed-tensors"
        bits = fields.values.get("load_in_8bit") or fields.values.get("load_in_4bit")
        return "bitsandbytes" if bits else "unknown"
    return "modelopt" if method.startswith("modelopt") else method.replace("auto_round", "auto-round")


def layout_of(method: str, fields: Fields, spec: ModelSpec) -> Layout:
    """The layout of the weights; ArchitectureUnknownError names a method or an option that is not known here."""
    if method == "compressed-tensors":
        layout = compressed_tensors.read(fields, spec)
    elif method == "modelopt":
        layout = modelopt.read(fields, spec)
    elif method in METHODS:
        layout = METHODS[method](fields, spec)
    else:
        fields.refuse("quant_method")
    if "." in fields.path and fields.path.endswith("_config"):  # the text model's own: towers are not meant
        layout = msgspec.structs.replace(layout, parts=tuple(part for part in layout.parts if part not in TOWER_PARTS))
    return msgspec.structs.replace(layout, method=method)
