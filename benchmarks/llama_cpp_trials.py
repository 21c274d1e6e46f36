"""llama.cpp's own buffers against the prediction: GGUF files of three architectures in three types, written here and run through xllamacpp.

    python benchmarks/llama_cpp_trials.py [--write]

The files have the true tensors of each architecture with six layers, a vocabulary of 512 and random weights, and lie in a temporary
folder (60 MB at most). Model and KV buffers have to be equal to what llama.cpp logs, to the 0.01 MiB that it prints; compute and output
buffers within 5 %. `--write` keeps the result in benchmarks/results/llama_cpp_trials.json. Needs the extra `llama-cpp`, and takes about
a minute on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' writer of GGUF files

from fmkit.api.try_model import try_model
from fmkit.units import MIB
from tests.trial.gguf_models import small_spec, write_running_model

RESULTS = Path(__file__).parent / "results" / "llama_cpp_trials.json"

MODELS = (
    ("HuggingFaceTB--SmolLM2-135M-Instruct", 300, 1),
    ("Qwen--Qwen3-0.6B", 512, 2),
    ("google--gemma-3-1b-it", 1100, 1),
)
"""A config of the catalog, the context, and the sequences."""

FILE_TYPES = ("F16", "Q8_0", "Q4_K_M")

PRINTED_BYTES = 0.02 * MIB
"""llama.cpp prints buffers to 0.01 MiB, and the weights as up to two of them."""

MOST_ERROR = 0.05
"""Of compute and output buffers together."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.name}")
    chosen = parser.parse_args()
    if find_spec("xllamacpp") is None:
        print("xllamacpp is not installed: pip install 'fmkit[llama-cpp]'")
        return 0
    print(
        f"{'model':38} {'type':7} {'context':>9} {'model buffer':>22} {'KV buffer':>22} {'compute, output':>22} {'':>7}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for config, context, sequences in MODELS:
            for file_type in FILE_TYPES:
                path = write_running_model(Path(folder) / "model.gguf", small_spec(config), file_type)
                rows.append(run(path, config, file_type, context, sequences))
                print(line(rows[-1]), flush=True)
    failed = [f"{row['model']} {row['file_type']}" for row in rows if not row["holds"]]
    summary = {"date": datetime.now(UTC).date().isoformat(), "llama_cpp": rows[0]["llama_cpp"], "failed": failed}
    print(json.dumps(summary, indent=1))
    if chosen.write:
        RESULTS.write_text(json.dumps({**summary, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def run(path: Path, config: str, file_type: str, context: int, sequences: int) -> dict[str, Any]:
    """One file, loaded and run by llama.cpp."""
    found = try_model(
        str(path), engine="llama.cpp", device="cpu", context=context, sequences=sequences, repeat=1, checks=["none"],
        keep=False, trials=False, offline=True,
    )  # fmt: skip
    parts = ("weights", "cache", "activations")
    predicted, measured = ({part: figures[part] for part in parts} for figures in (found.predicted, found.measured))
    exact = all(abs(predicted[part] - measured[part]) <= PRINTED_BYTES for part in ("weights", "cache"))
    return {
        "model": config,
        "file_type": file_type,
        "context_tokens": context,
        "sequences": sequences,
        "predicted": predicted,
        "measured": measured,
        "holds": exact and abs(found.error["activations"]) <= MOST_ERROR,
        "activations_error": round(found.error["activations"], 5),
        "decode_tokens_per_s": None
        if found.speed.decode_tokens_per_s is None
        else round(found.speed.decode_tokens_per_s.mean, 1),
        "llama_cpp": found.engine.version,
        "device": found.machine.device,
    }


def line(row: dict[str, Any]) -> str:
    """One row: predicted and logged MiB of each buffer."""
    pairs = " ".join(
        f"{row['predicted'][part] / MIB:>10.2f} {row['measured'][part] / MIB:>10.2f} "
        for part in ("weights", "cache", "activations")
    )
    size = f"{row['sequences']} x {row['context_tokens']}"
    verdict = "holds" if row["holds"] else "FAILS"
    return f"{row['model']:38} {row['file_type']:7} {size:>9} {pairs} {row['activations_error']:>+6.1%} {verdict}"


if __name__ == "__main__":
    sys.exit(main())
