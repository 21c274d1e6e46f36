"""How long a context can each precision of a model hold on a few cards?

Usage: python examples/largest_context.py [MODEL] [DEVICE...]
"""

from __future__ import annotations

import sys

import fmkit
from fmkit.units import format_tokens


def main(model: str, devices: list[str]) -> None:
    for device in devices:
        fit = fmkit.vram(model, gpu=device, fit=True, offline=True).fit
        if fit is None:  # a model that only an API offers
            print(f"{model} has no weights to size")
            return
        lengths = [
            f"{found.precision} {format_tokens(found.max_context_tokens) if found.max_context_tokens else 'no'}"
            for found in fit.precisions
        ]
        print(f"{device:<16} {', '.join(lengths)}")


if __name__ == "__main__":
    model_name, *device_names = sys.argv[1:] or ["llama-3.1-8b"]
    main(model_name, device_names or ["rtx-4060", "rtx-4090", "h100-sxm5-80gb"])
