"""vLLM's memory as fmkit sizes it, held against published start-up logs, part by part.

    python benchmarks/vllm_memory.py [--write]

The logs are tests/fixtures/vllm/measured.csv, with their sources; `--write` keeps the result in benchmarks/results/vllm_memory.json.
Weights and cache are compared per device; the total is weights, activations and what lies outside of PyTorch.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from fmkit.catalog.load import Catalog, load_catalog
from fmkit.machine import memory_machine
from fmkit.model.architectures import read
from fmkit.model.spec import ModelSpec
from fmkit.sizing.engines import vllm
from fmkit.sizing.engines.plan import total
from fmkit.sizing.engines.vllm_cache import Group, groups_of, pool_tokens
from fmkit.sizing.engines.vllm_options import read_options
from fmkit.sizing.estimate import Workload
from fmkit.sizing.parallel import rank_spec
from fmkit.units import GIB

ROOT = Path(__file__).parent
FIXTURE = ROOT.parent / "tests" / "fixtures" / "vllm"
CACHE_TYPES = {"fp8": "fp8"}


class Comparison(NamedTuple):
    """One part of one log: bytes (tokens, for `tokens`; 0 or 1, for `fits`)."""

    measurement_id: str
    model: str
    part: str
    predicted: int
    measured: int

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1 if self.measured else float(self.predicted != self.measured)


def rows() -> list[dict[str, str]]:
    """The logs."""
    with (FIXTURE / "measured.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def compare(row: dict[str, str], catalog: Catalog) -> list[Comparison]:
    """Every part of one log that can be scored."""
    left_out = row["left_out"].split()
    if "all" in left_out:
        return []
    spec, plan, options = _sized(row, catalog)
    found: list[tuple[str, int, int]] = []
    weights = total(plan.weights)
    activation = total(plan.prefill)
    if row["weights_bytes"]:
        found.append(("weights", weights, int(row["weights_bytes"])))
    if row["kv_tokens"] and int(row["kv_tokens"]) > 0 and row["kv_bytes"] and "kv" not in left_out:
        groups = groups_of(spec, options, int(row["context_tokens"] or 4096), 0)
        found.append(("tokens", pool_tokens(groups, int(row["kv_bytes"])), int(row["kv_tokens"])))
    if stated := re.search(r"([\d.]+)x for ([\d,]+)", row["reported"]):
        groups = groups_of(spec, options, int(stated[2].replace(",", "")), 0)
        found.append(("concurrency", *_concurrency(groups, int(row["kv_tokens"]), float(stated[1]))))
    if row["activation_bytes"] and row["options"]:
        found.append(("activation", activation, int(row["activation_bytes"])))
    outside = vllm.rank_runtime_bytes(int(row["tp"] or 1))[0]
    if row["activation_bytes"] and row["overhead_bytes"] and row["options"]:
        measured = sum(int(row[name]) for name in ("weights_bytes", "activation_bytes", "overhead_bytes"))
        found.append(("total", weights + activation + outside, measured))
    if row["gpu_total_bytes"] and row["context_tokens"] and row["options"] and "total" not in left_out:
        budget = int(int(row["gpu_total_bytes"]) * float(row["gpu_mem_utilization"]))
        need = weights + activation + outside + total(plan.cache)
        found.append(("fits", int(need <= budget), int(row["outcome"] == "ok")))
    return [
        Comparison(row["measurement_id"], row["model"], part, predicted, measured)
        for part, predicted, measured in found
        if part not in left_out
    ]


def _concurrency(groups: list[Group], tokens: int, stated: float) -> tuple[int, int]:
    """Requests that a pool of `tokens` tokens holds at once, predicted and stated, in hundredths."""
    block = min(group.page.block_tokens for group in groups if group.page.block_tokens)
    count = sum(group.groups for group in groups)
    request = sum(group.groups * group.blocks for group in groups)
    return round(100 * (tokens // block * count) / request), round(100 * stated)


def _sized(row: dict[str, str], catalog: Catalog) -> tuple[ModelSpec, Any, Any]:
    if row["model"].startswith("configs/"):
        config = json.loads((FIXTURE / row["model"]).read_text(encoding="utf-8"))
        spec = read(config, where=row["model"])
    else:
        known = catalog.model(row["model"]).spec
        assert known is not None
        spec = known
    layout = catalog.layouts[row["layout"]]
    given = dict(setting.split("=") for setting in row["options"].split())
    if row["kv_dtype"] in CACHE_TYPES:
        given["kv_cache_dtype"] = row["kv_dtype"]
    rank = rank_spec(spec, int(row["tp"] or 1))
    machine = memory_machine(int(row["gpu_total_bytes"] or 24 * GIB))
    workload = Workload(context_tokens=int(row["context_tokens"] or 4096), options=given)
    return rank, vllm.plan(rank, layout, workload, machine), read_options(given, "bfloat16", machine)


def summary(comparisons: list[Comparison]) -> list[dict[str, Any]]:
    """Median and worst error by part."""
    out = []
    for part in ("weights", "tokens", "concurrency", "activation", "total"):
        errors = sorted(abs(each.error) for each in comparisons if each.part == part)
        gap = max((abs(each.predicted - each.measured) for each in comparisons if each.part == part), default=0)
        worst = max((each for each in comparisons if each.part == part), key=lambda each: abs(each.error))
        out.append(
            {
                "part": part,
                "rows": len(errors),
                "within_1_percent": sum(error <= 0.01 for error in errors),
                "median_error": median(errors),
                "max_error": errors[-1],
                "worst": f"{worst.model} ({worst.measurement_id})",
                "max_gap_gib": None if part in ("tokens", "concurrency") else gap / GIB,
            }
        )
    return out


def fit_table(comparisons: list[Comparison]) -> dict[str, int]:
    """How many logs of each outcome were foreseen."""
    fits = [each for each in comparisons if each.part == "fits"]
    return {
        "ok": sum(each.measured == 1 for each in fits),
        "ok_foreseen": sum(each.measured == 1 and each.predicted == 1 for each in fits),
        "oom": sum(each.measured == 0 for each in fits),
        "oom_foreseen": sum(each.measured == 0 and each.predicted == 0 for each in fits),
    }


def main() -> None:
    """Print the tables; with --write, keep them."""
    catalog = load_catalog()
    logs = rows()
    comparisons = [each for row in logs for each in compare(row, catalog)]
    left_out = [
        {
            "measurement_id": row["measurement_id"],
            "model": row["hub_id"],
            "parts": row["left_out"],
            "reason": row["left_out_reason"],
        }
        for row in logs
        if row["left_out"]
    ]
    for each in comparisons:
        sys.stdout.write(
            f"{each.measurement_id} {each.model[:34]:34} {each.part:10} {each.predicted:>14,} {each.measured:>14,} {each.error:+8.2%}\n"
        )
    for line in summary(comparisons):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{fit_table(comparisons)}\n")
    for skipped in left_out:
        sys.stdout.write(
            f"left out: {skipped['measurement_id']} {skipped['model']} ({skipped['parts']}): {skipped['reason']}\n"
        )
    if "--write" in sys.argv:
        result = {
            "catalog": catalog.date,
            "summary": summary(comparisons),
            "fits": fit_table(comparisons),
            "rows": [{**each._asdict(), "error": each.error} for each in comparisons],
            "left_out": left_out,
        }
        target = ROOT / "results" / "vllm_memory.json"
        target.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


if __name__ == "__main__":
    main()
