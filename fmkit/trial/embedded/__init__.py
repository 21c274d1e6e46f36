"""The embedded model: a small language model that fmkit trains itself and ships, for trials without a network.

`model/` loads like any other model folder; `train.py` makes it from `corpus.txt.xz`, and `held_out.txt` holds
passages that it was not trained on. Importing this module needs the standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"
"""What the model is called in commands and results."""

MODEL_PATH = Path(__file__).parent / "model"
HELD_OUT_PATH = Path(__file__).parent / "held_out.txt"
CARD_PATH = MODEL_PATH / "training.json"

PASSAGE_SEPARATOR = "\n\n\n"  # paragraphs of one passage are a single blank line apart


def card() -> dict[str, Any]:
    """What is recorded of the training: data and its hash, split, seed, steps, held-out figures, versions."""
    facts: dict[str, Any] = json.loads(CARD_PATH.read_text(encoding="utf-8"))
    return facts


def held_out_passages() -> list[str]:
    """The passages of `held_out.txt`; each fits, after a BOS token, into the context of the model."""
    return HELD_OUT_PATH.read_text(encoding="utf-8").strip("\n").split(PASSAGE_SEPARATOR)
