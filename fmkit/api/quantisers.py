"""Which layouts `fmkit try` can make with transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmkit.trial.request import Quantiser

QUANTISERS: dict[str, Quantiser | None] = {
    "plain-16": None,
    "plain-32": None,
    "bnb-llm-int8": "bnb-int8",
    "bnb-nf4-dq": "bnb-nf4",
    "bnb-nf4": "bnb-nf4-single",
    "bnb-fp4": "bnb-fp4",
    "torchao-int8": "torchao-int8",
    "torchao-int4-g128": "torchao-int4-g128",
    "torchao-int4-g64": "torchao-int4-g64",
    "torchao-int4-g32": "torchao-int4-g32",
    "quanto-int8": "quanto-int8",
    "quanto-int4": "quanto-int4",
}
"""How the transformers engine makes each layout of the catalog."""

NOT_ON_CPU = ("torchao-int4-g128", "torchao-int4-g64", "torchao-int4-g32")
"""What its library makes on a GPU only."""
