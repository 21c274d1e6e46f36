"""Parameters of every config of the catalog against the count of the instantiated model, and the cache of reference cases.

    python benchmarks/parameters.py [--write]

Prints one line per config: exact, explained (the publisher's count differs by a named amount), or listed (nobody could
instantiate it). `--write` keeps the result in benchmarks/results/parameters.json.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError
from fmkit.model.architectures import read
from fmkit.sizing.cache import cache_bytes
from fmkit.units import GIB

ROOT = Path(__file__).parent
CONFIGS = ROOT.parent / "catalog" / "configs"

CACHE_GIB = {
    # model: {(context, sequences): GiB} with a 16-bit cache, W tokens on a sliding layer; first principles, checked by filling caches
    "llama-3.1-8b": {(4096, 1): 0.5, (32768, 1): 4.0, (131072, 1): 16.0, (131072, 8): 128.0},
    "llama-3.1-70b": {(4096, 1): 1.25, (131072, 1): 40.0, (131072, 8): 320.0},
    "qwen2.5-14b": {(4096, 1): 0.75, (131072, 8): 192.0},
    "mistral-7b-v0.1": {(4096, 1): 0.5, (32768, 1): 0.5, (131072, 8): 4.0},
    "gemma-2-9b": {(4096, 1): 1.312, (32768, 1): 5.906, (131072, 1): 21.656, (131072, 8): 173.25},
    "gemma-3-27b-it": {(4096, 1): 0.719, (32768, 1): 2.906, (131072, 1): 10.406, (131072, 8): 83.25},
    "deepseek-v3": {(4096, 1): 0.268, (32768, 1): 2.145, (131072, 1): 8.578, (131072, 8): 68.625},
    "mixtral-8x7b-v0.1": {(4096, 1): 0.5, (131072, 8): 128.0},
    "mamba-2.8b-hf": {(4096, 1): 0.022, (131072, 8): 0.176},
    "whisper-large-v3": {(448, 1): 0.297, (448, 8): 2.378},
    "t5-large": {(4096, 1): 0.75, (32768, 8): 48.0},
    "bert-large-uncased": {(512, 8): 0.0},
    "clip-vit-large-patch14": {(77, 8): 0.0},
    "llava-1.5-7b-hf": {(4096, 1): 2.0, (131072, 8): 512.0},
    "gpt-oss-20b": {(4096, 1): 0.097, (32768, 1): 0.753, (131072, 1): 3.003, (131072, 8): 24.023},
}


def parameters() -> list[dict[str, Any]]:
    """One row per config of the index, with what fmkit counts and what the instantiated model has."""
    with (CONFIGS / "INDEX.csv").open(encoding="utf-8", newline="") as lines:
        return [_row(row) for row in csv.DictReader(lines)]


def _row(row: dict[str, str]) -> dict[str, Any]:
    counted = int(row["params_meta"]) if row["params_meta"] else None
    try:
        ours: int | None = read(
            json.loads((CONFIGS / row["file"]).read_text(encoding="utf-8")), where=row["file"]
        ).params
        refusal = ""
    except FmkitError as error:
        ours, refusal = None, error.message
    state = "listed" if counted is None else ("exact" if ours == counted else "WRONG")
    if counted is not None and ours is None:
        state = "refused"
    explained = row["notes"] if row["match"] != "y" else ""
    return {
        "hub_id": row["hub_id"],
        "match": row["match"],
        "ours": ours,
        "meta": counted,
        "state": state,
        "note": refusal or explained,
    }


def caches() -> list[dict[str, Any]]:
    """The reference cases: our cache in GiB beside the right answer."""
    catalog = load_catalog()
    rows = []
    for model, cases in CACHE_GIB.items():
        spec = catalog.model(model).spec
        assert spec is not None
        for (context, sequences), gib in cases.items():
            encoder = spec.stack("audio") or spec.stack("encoder")
            encoder_tokens = (encoder.fixed_tokens or context) if encoder is not None else 0
            ours = cache_bytes(spec, context, encoder_tokens, sequences, 2) / GIB
            rows.append(
                {
                    "model": model,
                    "context": context,
                    "sequences": sequences,
                    "ours_gib": round(ours, 4),
                    "right_gib": gib,
                }
            )
    return rows


def main() -> int:
    rows = parameters()
    for row in rows:
        ours = f"{row['ours']:,}" if row["ours"] is not None else "-"
        print(f"{row['state']:8} {row['hub_id']:58} {ours:>18} {row['note'][:110]}")
    states = [row["state"] for row in rows]
    print("\n" + ", ".join(f"{states.count(state)} {state}" for state in ("exact", "WRONG", "refused", "listed")))
    cached = caches()
    wrong = [row for row in cached if abs(row["ours_gib"] - row["right_gib"]) > 6e-4]
    print(
        f"cache: {len(cached) - len(wrong)} of {len(cached)} reference cases right"
        + "".join(f"\n  {row}" for row in wrong)
    )
    if "--write" in sys.argv:
        target = ROOT / "results" / "parameters.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps({"parameters": rows, "cache": cached}, indent=1) + "\n", encoding="utf-8")
    return 1 if "WRONG" in states or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
