"""8-bit and 4-bit weights through bitsandbytes: which linears it touches, and how one is made from random values."""

from __future__ import annotations

from typing import Any

import torch

from fmkit.errors import MissingExtraError

SETTINGS: dict[str, dict[str, Any]] = {
    "bnb-int8": {"load_in_8bit": True},
    "bnb-nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
"""Arguments of transformers' BitsAndBytesConfig for the quantiser of a layout: LLM.int8, and nf4 with double quantisation."""


def require_bitsandbytes() -> Any:  # noqa: ANN401
    """The bitsandbytes package; MissingExtraError where it is not installed or can't be imported here."""
    try:
        import bitsandbytes  # noqa: PLC0415  optional
    except Exception as error:  # its import loads native code, which fails in many ways
        raise MissingExtraError(
            f"int8 and int4 weights need bitsandbytes, which can't be imported here ({type(error).__name__})",
            next_command="pip install bitsandbytes",
        ) from error
    return bitsandbytes


def settings_for(quantiser: str, compute_dtype: Any) -> Any:  # noqa: ANN401
    """The transformers configuration of a quantiser."""
    require_bitsandbytes()
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    arguments = dict(SETTINGS[quantiser])
    if quantiser == "bnb-nf4":
        arguments["bnb_4bit_compute_dtype"] = compute_dtype
    return BitsAndBytesConfig(**arguments)


def replace_linears(model: Any, quantiser: str, compute_dtype: Any) -> None:  # noqa: ANN401
    """Swap the linears that transformers would quantise (all but the output head) for bitsandbytes' own, without storage."""
    bnb = require_bitsandbytes()
    from accelerate import init_empty_weights  # noqa: PLC0415

    kept = _head_modules(model)
    for name, module in list(model.named_modules()):
        if type(module) is not torch.nn.Linear or module in kept:
            continue
        arguments: dict[str, Any] = {"bias": module.bias is not None}
        if quantiser == "bnb-int8":
            cls = bnb.nn.Linear8bitLt
            arguments |= {"has_fp16_weights": False, "threshold": 6.0}
        else:
            cls = bnb.nn.Linear4bit
            arguments |= {"compute_dtype": compute_dtype, "quant_type": "nf4", "compress_statistics": True}
        with init_empty_weights(include_buffers=False):
            linear = cls(module.in_features, module.out_features, **arguments)
        _quantise_later(linear, quantiser, bnb, compute_dtype)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent) if parent else model, child, linear)


def _quantise_later(linear: Any, quantiser: str, bnb: Any, dtype: Any) -> None:  # noqa: ANN401
    """Hang on the weight how it becomes a quantised one once it has values; the bias stays in `dtype`."""
    weight = torch.nn.Parameter(torch.empty(linear.weight.shape, dtype=dtype, device="meta"), requires_grad=False)

    def finish(tensor: Any, device: str) -> Any:  # noqa: ANN401
        if quantiser == "bnb-int8":
            return bnb.nn.Int8Params(tensor, requires_grad=False, has_fp16_weights=False).to(device)
        made = bnb.nn.Params4bit(
            tensor, requires_grad=False, quant_type="nf4", compress_statistics=True, module=linear
        )
        return made.to(device)

    weight.fmkit_finish = finish  # type: ignore[attr-defined]
    linear._parameters["weight"] = weight  # noqa: SLF001
    if linear.bias is not None:
        bias = torch.nn.Parameter(torch.empty(linear.bias.shape, dtype=dtype, device="meta"), requires_grad=False)
        linear._parameters["bias"] = bias  # noqa: SLF001


def _head_modules(model: Any) -> set[Any]:  # noqa: ANN401
    """The output head, and whatever is tied to the input embedding: transformers leaves both alone."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    embedding = model.get_input_embeddings().weight if hasattr(model, "get_input_embeddings") else None
    kept = {module for module in model.modules() if getattr(module, "weight", None) is embedding}
    return {*kept, head} - {None}
