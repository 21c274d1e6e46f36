"""How a repository's weights are stored: the layout that its quantization_config names, where it is one fmkit can size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def stored_layout(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The id of the layout in catalog/precisions.yaml, and the quantisation method where there is one.

    (None, None) for weights that are not quantised; (None, method) for a method that has no layout here.

    >>> stored_layout({"quantization_config": {"quant_method": "mxfp4"}})
    ('mxfp4', 'mxfp4')
    >>> stored_layout({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}})
    ('fp8-block', 'fp8')
    >>> stored_layout({"quantization_config": {"quant_method": "gptq", "bits": 4}})
    (None, 'gptq')
    """
    quantised = config.get("quantization_config")
    if not isinstance(quantised, Mapping):
        return None, None
    method = quantised.get("quant_method")
    if not isinstance(method, str):
        return None, "unknown"
    return next((layout for name, layout, fits in _LAYOUTS if name == method and fits(quantised)), None), method


def _is_nf4(quantised: Mapping[str, Any]) -> bool:
    double = quantised.get("bnb_4bit_use_double_quant") is True
    return quantised.get("load_in_4bit") is True and quantised.get("bnb_4bit_quant_type") == "nf4" and double


def _is_awq(quantised: Mapping[str, Any]) -> bool:
    bits = quantised.get("bits", quantised.get("w_bit"))
    return (bits, quantised.get("group_size", quantised.get("q_group_size"))) == (4, 128)


_LAYOUTS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("mxfp4", "mxfp4", lambda _: True),
    ("fp8", "fp8-block", lambda quantised: quantised.get("weight_block_size") == [128, 128]),
    ("awq", "awq-g128", _is_awq),
    ("bitsandbytes", "bnb-llm-int8", lambda quantised: quantised.get("load_in_8bit") is True),
    ("bitsandbytes", "bnb-nf4-dq", _is_nf4),
)
"""Method of the quantization_config, layout, and what else the config must say."""
