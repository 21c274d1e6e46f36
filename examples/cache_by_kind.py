"""Why "7B" says little about memory: the cache at 32k tokens of models of about one size, each with its own kind of layer."""

from __future__ import annotations

import fmkit
from fmkit.units import format_bytes

MODELS = ["llama-2-7b-hf", "llama-3.1-8b", "mistral-7b-v0.1", "falcon-7b", "mamba-2.8b-hf"]


def main() -> None:
    print(f"{'model':<18} {'weights':>10} {'cache at 32k':>13}  kept by")
    for model in MODELS:
        result = fmkit.vram(model, memory="80GiB", precision=["fp16"], context=["32k"], offline=True)
        (estimate,) = result.estimates
        kinds = [line.part.removeprefix("cache: ") for line in estimate.lines if line.part.startswith("cache: ")]
        print(
            f"{model:<18} {format_bytes(estimate.weights_bytes):>10} {format_bytes(estimate.cache_bytes):>13}  "
            f"{', '.join(kinds)}{'' if estimate.valid else ' (past the model limit)'}"
        )


if __name__ == "__main__":
    main()
