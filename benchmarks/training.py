"""Fine-tuning budgets against real training steps: weights, gradients, optimiser states and the allocated peak.

    python benchmarks/training.py [--write] [--device cuda] [--only TEXT] [--recorded]

Runs two real steps of small models with true widths (transformers, peft, bitsandbytes, torch.optim) and counts every storage
alive in the second one (`fmkit.trial.tracker`; on a GPU the caching allocator's own peak). Prints one line per case and the errors
of the peak and of its part above weights and optimiser states. `--write` keeps the result in benchmarks/results/training-cpu.json, or -cuda.json;
`--recorded` takes what such a file measured, and runs only what it
lacks.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers

from fmkit.catalog.load import load_catalog
from fmkit.machine import Machine
from fmkit.model.architectures import read
from fmkit.sizing.estimate import Workload
from fmkit.sizing.training.plan import TrainingRules
from fmkit.sizing.training.recipe import LAYOUTS, Recipe
from tests.sizing.training_steps import Case, Measured, cases, cut_config, gpu_cases, run

RESULTS = Path(__file__).parent / "results"
CPU = Machine(name="this computer", memory_bytes=2**40, usable_bytes=2**40, origin="detected", device=None, count=1)


def predicted(case: Case, *, on_cpu: bool) -> Measured:
    """What fmkit says of the case."""
    recipe = Recipe(
        method=case.method,  # type: ignore[arg-type]  # the cases name methods only
        optimiser=case.optimiser,
        rank=case.rank,
        targets=case.targets,
        checkpointing=case.checkpointing,
    )
    spec = read(cut_config(case), where=case.config)
    layout = load_catalog().layouts[LAYOUTS[recipe.method][case.precision]]
    workload = Workload(
        context_tokens=case.tokens,
        sequences=case.sequences,
        attention=case.attention,  # type: ignore[arg-type]
    )
    machine = CPU if on_cpu else None
    rules = TrainingRules(recipe, case.precision)
    plan = rules(spec, layout, workload, machine).devices[0].plan
    facts = rules.facts(spec, layout, workload, machine)
    weights = sum(line.bytes for line in plan.weights)
    steady = sum(line.bytes for line in plan.decode)
    return Measured(
        weights_bytes=weights,
        adapter_bytes=facts.adapter_bytes,
        state_bytes=facts.optimizer_bytes,
        gradient_bytes=facts.gradient_bytes,
        peak_bytes=weights + steady + sum(line.bytes for line in plan.prefill),
    )


def row(case: Case, device: str, recorded: dict[str, Measured]) -> dict[str, Any]:
    """One case: predicted, measured (now, or as recorded), and the errors."""
    ours = predicted(case, on_cpu=device == "cpu")
    if case.name in recorded:
        real = recorded[case.name]
    else:
        with tempfile.TemporaryDirectory() as folder:
            real = run(case, Path(folder), device=device)
    held = real.weights_bytes + real.adapter_bytes + real.state_bytes
    ours_held = ours.weights_bytes + ours.adapter_bytes + ours.state_bytes
    return {
        "case": case.name,
        "predicted": ours._asdict(),
        "measured": real._asdict(),
        "exact": ours[:4] == real[:4],
        "peak_error": ours.peak_bytes / real.peak_bytes - 1,
        "above_error": (ours.peak_bytes - ours_held) / (real.peak_bytes - held) - 1,
        "above_share": (real.peak_bytes - held) / real.peak_bytes,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors over all cases."""
    result: dict[str, Any] = {"cases": len(rows), "exact_parts": sum(found["exact"] for found in rows)}
    for key in ("peak_error", "above_error"):
        errors = sorted(abs(found[key]) for found in rows)
        result[key] = {
            "median": statistics.median(errors),
            "p90": errors[min(len(errors) - 1, int(0.9 * len(errors)))],
            "worst": errors[-1],
            "lowest": min(found[key] for found in rows),
            "highest": max(found[key] for found in rows),
        }
    return result


def measured_before(device: str) -> tuple[dict[str, Any], dict[str, Measured]]:
    """A result file, and what it measured by case."""
    found = json.loads((RESULTS / f"training-{device}.json").read_text(encoding="utf-8"))
    return found, {each["case"]: Measured(**each["measured"]) for each in found["rows"]}


def keep(device: str, before: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the result so far."""
    made = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": str(torch.cuda.get_device_name()) if device == "cuda" and not before else device,
    }
    made = {key: before.get(key, value) for key, value in made.items()}
    text = json.dumps({**made, "overall": summary(rows), "rows": rows}, indent=1)
    (RESULTS / f"training-{device}.json").write_text(f"{text}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="")
    parser.add_argument("--recorded", action="store_true")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    before, recorded = measured_before(asked.device) if asked.recorded else ({}, {})
    rows: list[dict[str, Any]] = []
    for case in cases() if asked.device == "cpu" else gpu_cases():
        if asked.only not in case.name:
            continue
        found = row(case, asked.device, recorded)
        rows.append(found)
        parts = "exact" if found["exact"] else "PARTS"
        print(
            f"{parts} {found['peak_error']:+8.3%} above {found['above_error']:+8.3%} ({found['above_share']:4.0%} of the peak)  "
            f"{found['measured']['peak_bytes']:>14,} B  {found['case']}",
            flush=True,
        )
        if not found["exact"]:
            print("      predicted", found["predicted"], "\n      measured ", found["measured"])
        if asked.write:
            keep(asked.device, before, rows)
    print(json.dumps(summary(rows), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
