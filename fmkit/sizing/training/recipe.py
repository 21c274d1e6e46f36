"""How a model is fine-tuned: method, number types, optimiser, adapters, checkpointing."""

from __future__ import annotations

from typing import Literal

import msgspec

Method = Literal["full", "lora", "qlora"]
"""`full` trains every weight, `lora` adapters beside 16-bit weights, `qlora` adapters beside 4-bit ones."""

METHODS: tuple[Method, ...] = ("full", "lora", "qlora")

DEFAULT_RANK = 16
DEFAULT_TARGETS = ("all-linear",)

LAYOUTS: dict[Method, dict[str, str]] = {
    "full": {"fp16": "plain-16", "mixed": "plain-32", "fp32": "plain-32"},
    "lora": {"fp16": "plain-16", "mixed": "plain-16", "fp32": "plain-32"},
    "qlora": {"int4": "bnb-nf4-dq"},
}
"""The number types each method can be asked for, with the layout its weights are held in."""

DEFAULT_PRECISIONS: dict[Method, tuple[str, ...]] = {
    "full": ("fp16", "mixed", "fp32"),
    "lora": ("fp16",),
    "qlora": ("int4",),
}

ADAPTER_BYTES = 4
"""peft 0.21 casts the adapters of a 16-bit model to float32 (`autocast_adapter_dtype`)."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One way to train. `targets` are names of linear layers, or `all-linear`."""

    method: Method
    optimiser: str = "adamw"
    rank: int = DEFAULT_RANK
    targets: tuple[str, ...] = DEFAULT_TARGETS
    checkpointing: bool = False

    @property
    def has_adapters(self) -> bool:
        """Whether adapters are trained and the model itself is frozen."""
        return self.method != "full"


def recipe_name(method: Method, precision: str) -> str:
    """What the recipe is called.

    >>> recipe_name("full", "mixed")
    'mixed: float32 weights, bfloat16 autocast'
    >>> recipe_name("qlora", "int4")
    '4-bit weights (nf4), bfloat16 products, float32 adapters'
    """
    adapters = "" if method == "full" else ", float32 adapters"
    match precision:
        case "mixed" if method == "full":
            return "mixed: float32 weights, bfloat16 autocast"
        case "mixed":
            return f"mixed: 16-bit frozen weights, bfloat16 autocast{adapters}"
        case "int4":
            return f"4-bit weights (nf4), bfloat16 products{adapters}"
        case "fp32":
            return f"pure float32{adapters}"
        case _:
            return f"pure 16-bit (bfloat16){adapters}"
