"""From what a trial measured and what was predicted for it to the answer of `fmkit try`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit import __version__
from fmkit.results.trial import Sample, TrialResult, TrialSpeed

if TYPE_CHECKING:
    from fmkit.api.resolve import ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.results.vram import Estimate
    from fmkit.trial.request import CellOutcome, TrialOutcome, TrialRequest

EMBEDDED = "embedded"
"""What the model that ships with fmkit is called in results."""


def trial_result(
    resolved: ResolvedModel,
    request: TrialRequest,
    outcome: TrialOutcome,
    cell: CellOutcome,
    estimate: Estimate,
    machine: Machine,
    layers: int | None,
    catalog: Catalog,
    warnings: Sequence[str],
) -> TrialResult:
    """The answer for one workload: `request` is the trial at it, `cell` what was measured there, `outcome` what all share."""
    predicted = predicted_parts(estimate)
    ref = EMBEDDED if resolved.id == EMBEDDED else resolved.ref
    return TrialResult(
        fmkit=__version__,
        catalog=catalog.date,
        id=uuid.uuid4().hex[:12],
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=ref,
        hub_id=resolved.hub_id,
        engine=outcome.engine,
        machine=_machine_facts(machine, outcome),
        workload=_workload_facts(request, outcome, layers),
        precision=estimate.precision,
        predicted=predicted,
        measured=cell.measured,
        error=errors(predicted, cell.measured),
        unaccounted_bytes=cell.measured["allocated_peak_bytes"] - predicted["allocated_peak_bytes"],
        speed=TrialSpeed(
            load_s=outcome.load_s,
            ttft_s=sample(cell.timing.ttft_s),
            prefill_tokens_per_s=sample(cell.timing.prefill_tokens_per_s),
            decode_tokens_per_s=sample(cell.timing.decode_tokens_per_s),
            predicted={} if estimate.speed is None else msgspec.to_builtins(estimate.speed),
        ),
        output=outcome.output,
        checks=outcome.checks,
        random_weights=request.random_weights,
        warnings=(*warnings, *outcome.warnings),
        next=() if ref == EMBEDDED else (f"fmkit vram {ref} --fit",),
    )


def predicted_parts(estimate: Estimate) -> dict[str, int]:
    """The estimate by the parts that are measured: the runtime is no allocation of PyTorch, but part of the process.

    weights + cache + activations = allocated_peak_bytes; with the runtime it is the process's peak, on a CPU in memory, else on
    the device.
    """
    runtime = sum(line.bytes for line in estimate.lines if line.part.startswith("runtime"))
    allocated = estimate.peak_bytes - runtime
    return {
        "weights": estimate.weights_bytes,
        "cache": estimate.cache_bytes,
        "activations": allocated - estimate.weights_bytes - estimate.cache_bytes,
        "allocated_peak_bytes": allocated,
        "process_peak_bytes": estimate.peak_bytes,
    }


def errors(predicted: dict[str, int], measured: dict[str, int]) -> dict[str, float]:
    """(predicted - measured) / measured for each part that both have and of which something was measured.

    >>> errors({"weights": 110, "cache": 0}, {"weights": 100, "cache": 0})
    {'weights': 0.1}
    """
    return {
        part: (bytes_ - measured[part]) / measured[part] for part, bytes_ in predicted.items() if measured.get(part)
    }


def sample(values: Sequence[float]) -> Sample | None:
    """Mean and sample standard deviation (0 for a single value) of repeated measurements; None where there are none.

    >>> sample([1.0, 2.0, 3.0])
    Sample(mean=2.0, sd=1.0, n=3)
    """
    if not values:
        return None
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    return Sample(mean=mean, sd=(spread / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0, n=len(values))


def _machine_facts(machine: Machine, outcome: TrialOutcome) -> dict[str, Any]:
    return {
        "name": machine.name,
        "origin": machine.origin,
        "device": outcome.device,
        "device_id": machine.device.id if machine.device is not None else None,
        "count": machine.count,
        "memory_bytes": machine.memory_bytes,
        "usable_bytes": machine.usable_bytes,
        "free_bytes": machine.free_bytes,
        "cpu_cores": machine.cpu_cores,
    }


def _workload_facts(request: TrialRequest, outcome: TrialOutcome, layers: int | None) -> dict[str, Any]:
    return {
        "task": outcome.task,
        "kind": request.kind,
        "context_tokens": request.context_tokens,
        "encoder_tokens": request.encoder_tokens,
        "sequences": request.sequences,
        "image_tokens": request.image_tokens,
        "timed_prompt_tokens": max(1, request.context_tokens - request.decode_steps),
        "timed_decode_tokens": request.decode_steps,
        "dtype": request.dtype,
        "quantiser": request.quantiser,
        "device": request.device,
        "layers": layers,
    }
