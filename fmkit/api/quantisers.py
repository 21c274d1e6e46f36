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
}
"""How the transformers engine makes each layout of the catalog."""
