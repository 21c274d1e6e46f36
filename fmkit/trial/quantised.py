"""8-bit and 4-bit weights through bitsandbytes: transformers decides which linears, one is quantised after the other."""

from __future__ import annotations

from typing import Any

from fmkit.errors import MissingExtraError

SETTINGS: dict[str, dict[str, Any]] = {
    "bnb-int8": {"load_in_8bit": True},
    "bnb-nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
"""Arguments of transformers' BitsAndBytesConfig: LLM.int8, and nf4 with double quantisation."""

QUANTISED_CLASSES = ("Int8Params", "Params4bit")


def settings_for(quantiser: str, dtype: Any) -> Any:  # noqa: ANN401
    """The transformers configuration of a quantiser; MissingExtraError where bitsandbytes can't be imported here."""
    try:
        import bitsandbytes  # noqa: F401, PLC0415  optional, and its import loads native code
    except Exception as error:
        raise MissingExtraError(
            f"int8 and int4 weights need bitsandbytes, which can't be imported here ({type(error).__name__})",
            next_command="pip install bitsandbytes",
        ) from error
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    compute = {"bnb_4bit_compute_dtype": dtype} if quantiser == "bnb-nf4" else {}
    return BitsAndBytesConfig(**SETTINGS[quantiser], **compute)


def replace_linears(model: Any, quantiser: str, dtype: Any) -> None:  # noqa: ANN401
    """Swap the linears that `from_pretrained` would quantise for bitsandbytes' own, still without storage."""
    settings = settings_for(quantiser, dtype)
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear  # noqa: PLC0415
    from transformers.quantizers.base import HfQuantizer  # noqa: PLC0415

    kept = HfQuantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules)  # noqa: SLF001
    replace_with_bnb_linear(model, modules_to_not_convert=kept, quantization_config=settings)


def is_quantised(parameter: Any) -> bool:  # noqa: ANN401
    """Whether a parameter is to become a quantised one."""
    return type(parameter).__name__ in QUANTISED_CLASSES


def quantise(parameter: Any, values: Any, device: str) -> Any:  # noqa: ANN401
    """`values` in the layout of `parameter`: moving a parameter of bitsandbytes to its device quantises it."""
    attributes = {name: value for name, value in parameter.__dict__.items() if name != "SCB"}
    return type(parameter)(values, requires_grad=False, **attributes).to(device)
