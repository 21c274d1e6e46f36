"""Peak memory of prefill and decode on a CPU: the real model, run in the trial's own process, beside the estimate."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.proofs.proof import Aim, Proof, Table, quantile
from fmkit.api.trial_options import TrialOptions
from fmkit.api.try_model import try_sweep
from fmkit.errors import FmkitError
from fmkit.units import format_bytes
from tests.configs import beside_the_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fmkit.results.trial import TrialResult

TIMEOUT_S = 900.0
WORST = 8
SHARE = 0.2
"""A cell shows something of activations and cache where they are at least this share of the peak."""

ABOUT = (
    "Models at their true widths with random weights, some cut to their first layers so that activations and cache weigh beside the "
    "weights, run by `fmkit try`: 3 lengths x 2 numbers of sequences each. The allocated peak is every live tensor of PyTorch; above the "
    "weights is that peak less the weights. The process peak is what the system charges the process with."
)


class Case(msgspec.Struct, frozen=True):
    """One architecture: a catalog id or the name of a fixture's config, its kind in words, layers (None: all), lengths.

    Most run in float32: without a kernel of its own, attention in bfloat16 takes ten times as long on a CPU.
    """

    model: str
    stands_for: str
    layers: int | None = None
    lengths: tuple[int, ...] = (256, 512, 1024)
    precision: str = "fp32"
    sequences: tuple[int, ...] = (2, 8)


CASES = (
    Case("smollm2-135m", "decoder, grouped queries", 4),
    Case("qwen2.5-0.5b", "decoder, biases", 2, (128, 256, 512), precision="fp16", sequences=(1, 4)),
    Case("gpt2", "learned positions", 4),
    Case("gemma-3-1b-it", "sliding windows", 6, (128, 256, 512), sequences=(1, 4)),
    Case("falcon-7b", "multi-query, parallel halves", 1, (128, 256, 512), sequences=(1, 4)),
    Case("MiniCPM3-4B", "latent attention", 1, (128, 256, 512)),
    Case("OLMoE-1B-7B-0924", "mixture of experts", 1, (128, 256, 512), sequences=(1, 4)),
    Case("bert-base-uncased", "encoder", 4, (128, 256, 512), sequences=(4, 16)),
    Case("ModernBERT-base", "encoder, local layers", 4),
    Case("deberta-v3-xsmall", "encoder, disentangled", 4, (128, 256, 512), sequences=(4, 16)),
    Case("t5-small", "encoder-decoder", None, (128, 256, 512), sequences=(4, 16)),
    Case("bart-base", "encoder-decoder, learned positions", 2, sequences=(4, 12)),
    Case("whisper-tiny", "speech", None, (64, 224, 448)),
    Case("clip-vit-base-patch32", "image and text", 2, (19, 38, 77), sequences=(16, 64)),
    Case("SmolVLM-256M-Instruct", "vision-language", 1, (1280, 1408, 1536), sequences=(1, 4)),
    Case("mamba-130m-hf", "state space", 2, (64, 128, 256)),
    Case("granite-4.0-h-1b", "hybrid of Mamba 2 and attention", 6, (128, 256, 512), sequences=(1, 4)),
    Case("LFM2-1.2B", "short convolutions and attention", 3, (128, 256, 512), sequences=(1, 4)),
    Case("rwkv-4-169m-pile", "RWKV", 2, (64, 128, 256), sequences=(8, 32)),
)


def prove(only: Sequence[str] = (), workers: int = 2) -> Proof:
    """Run every case, `workers` at a time: the allocator's figures do not depend on what else runs."""
    chosen = [case for case in CASES if not only or any(name.lower() in case.model.lower() for name in only)]
    with ThreadPoolExecutor(workers) as pool:
        found = [cell for cells in pool.map(run, chosen) for cell in cells]
    done = [cell for cell in found if "failed" not in cell]
    return Proof(
        name="peaks",
        about=ABOUT,
        aims=tuple(_aims(done, found)),
        tables=tuple(_tables(chosen, done, found)),
        cases=tuple(found),
    )


def run(case: Case) -> list[dict[str, Any]]:
    """The cells of one architecture, or why there are none."""
    fixture = next((path for path in beside_the_catalog() if path.stem.endswith(f"--{case.model}")), None)
    started = time.monotonic()
    options = TrialOptions(
        device="cpu", random_weights=True, layers=case.layers, checks=["none"], repeat=0, keep=False, offline=True, timeout_s=TIMEOUT_S
    )  # fmt: skip
    try:
        sweep = try_sweep(
            case.model if fixture is None else str(fixture),
            precision=(case.precision,),
            context=case.lengths,
            sequences=case.sequences,
            options=options,
        )
    except FmkitError as error:
        return [{"model": case.model, "failed": error.message}]
    took = round(time.monotonic() - started, 1)
    failed = [{"model": case.model, "tokens": one.context_tokens, "sequences": one.sequences, "failed": one.reason}
              for one in sweep.failed]  # fmt: skip
    return [*({"model": case.model, **cell(trial), "took_s": took} for trial in sweep.trials), *failed]


def cell(trial: TrialResult) -> dict[str, Any]:
    """The figures of one workload."""
    predicted, measured = trial.predicted, trial.measured
    above = [parts["allocated_peak_bytes"] - parts["weights"] for parts in (predicted, measured)]
    errors = {
        "weights": _error(predicted["weights"], measured["weights"]),
        "cache": _error(predicted["cache"], measured["cache"]),
        "peak": _error(predicted["allocated_peak_bytes"], measured["allocated_peak_bytes"]),
        "above": _error(*above),
    }
    if "process_peak_bytes" in measured:
        errors["process"] = _error(predicted["process_peak_bytes"], measured["process_peak_bytes"])
    return {
        "tokens": trial.workload.context_tokens,
        "sequences": trial.workload.sequences,
        "dtype": trial.workload.dtype,
        "weights_bytes": measured["weights"],
        "peak_bytes": measured["allocated_peak_bytes"],
        "above_bytes": above[1],
        "predicted_peak_bytes": predicted["allocated_peak_bytes"],
        "predicted_above_bytes": above[0],
        "process_peak_bytes": measured.get("process_peak_bytes"),
        "share_above": above[1] / measured["allocated_peak_bytes"],
        "errors": errors,
    }


def _error(predicted: int, measured: int) -> float:
    return predicted / measured - 1 if measured else float(predicted != measured)


def _aims(done: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterator[Aim]:
    limits = {"peak": ("allocated peak", 0.01, 0.03), "above": ("part above the weights", 0.05, 0.15),
              "process": ("process peak", 0.05, 0.12)}  # fmt: skip
    yield Aim("weights and cache of these runs, equal to the byte", "all",
              f"{sum(not cell['errors']['weights'] and not cell['errors']['cache'] for cell in done)} of {len(done)}")  # fmt: skip
    for key, (words, median, high) in limits.items():
        sizes = [abs(cell["errors"][key]) for cell in done if key in cell["errors"]]
        if sizes:
            half, most = quantile(sizes, 0.5), quantile(sizes, 0.9)
            met = half <= median and most <= high
            yield Aim(
                f"{words}: median and 90th percentile of the error",
                f"{median:.0%}, {high:.0%}",
                f"{half:.2%}, {most:.2%}",
                met,
            )
    heavy = sum(cell["share_above"] >= SHARE for cell in done)
    yield Aim(f"cells whose part above the weights is at least {SHARE:.0%} of the peak", "half", f"{heavy} of {len(done)}",
              2 * heavy >= len(done))  # fmt: skip
    architectures = {cell["model"] for cell in done}
    yield Aim(
        "architectures, cells",
        "15, 6 each",
        f"{len(architectures)}, {len(done)} of {len(found)}",
        len(architectures) >= 15,
    )


def _tables(chosen: list[Case], done: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterator[Table]:
    rows = []
    for case in chosen:
        cells = [cell for cell in done if cell["model"] == case.model]
        if cells:
            columns = [[cell["errors"].get(key, 0.0) for cell in cells] for key in ("peak", "above", "process")]
            worst = [max(column, key=abs) for column in columns]
            shares = [cell["share_above"] for cell in cells]
            layers = "all" if case.layers is None else str(case.layers)
            rows.append((case.model, case.stands_for, layers, "/".join(map(str, case.lengths)),
                         f"{min(shares):.0%}-{max(shares):.0%}", *(f"{error:+.2%}" for error in worst)))  # fmt: skip
    columns_of = ("model", "stands for", "layers", "tokens", "above the weights", "peak", "above", "process")
    yield Table("Peak memory on a CPU, worst error of six cells each", columns_of, tuple(rows))
    worst_cells = sorted(done, key=lambda cell: -abs(cell["errors"]["above"]))[:WORST]
    yield Table(
        "The worst cells by the part above the weights",
        ("model", "tokens", "sequences", "predicted", "measured", "error"),
        tuple((cell["model"], str(cell["tokens"]), str(cell["sequences"]), format_bytes(cell["predicted_above_bytes"]),
               format_bytes(cell["above_bytes"]), f"{cell['errors']['above']:+.2%}") for cell in worst_cells),
    )  # fmt: skip
    failed = tuple((cell["model"], str(cell.get("tokens", "")), cell["failed"]) for cell in found if "failed" in cell)
    if failed:
        yield Table("Failed", ("model", "tokens", "reason"), failed)
