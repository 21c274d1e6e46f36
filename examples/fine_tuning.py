"""What does it take to fine-tune a model on one card, from full training down to adapters on 4-bit weights?

Usage: python examples/fine_tuning.py [MODEL] [DEVICE]
"""

from __future__ import annotations

import sys

import fmkit
from fmkit.units import format_bytes

RECIPES = (("full", False), ("full", True), ("lora", True), ("qlora", True))


def main(model: str, device: str) -> None:
    print(f"{model} on {device}, one sequence of 2k tokens, AdamW")
    for method, checkpointing in RECIPES:
        result = fmkit.vram(
            model, train=method, checkpointing=checkpointing, context="2k", gpu=device, fit=True, offline=True
        )
        for found in result.estimates:
            name = f"{method} {found.precision}{' checkpointing' if checkpointing else ''}"
            print(f"{name:<26} {format_bytes(found.peak_bytes):>11} {'fits' if found.fits else 'no'}")
        if result.fit is not None and result.fit.max_sequences:
            print(f"{'':<26} largest batch at {result.fit.best_precision}: {result.fit.max_sequences}")


if __name__ == "__main__":
    model_name, device_name = sys.argv[1:] or ("qwen3-4b", "rtx-4090")
    main(model_name, device_name)
