"""From what a trial measured and what was predicted for it to the answer of `fmkit try`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.hardware.kept import machine_key
from fmkit.results.trial import RankResult, TrialResult, TrialSpeed, sample
from fmkit.results.trial_setting import TrialMachine, TrialWorkload
from fmkit.sizing.engines.transformers_shares import BROUGHT_IN, ON_DISK
from fmkit.trial.memory_limit import limit_as_held

if TYPE_CHECKING:
    from fmkit.api.trial_plan import Plan
    from fmkit.machine import Machine
    from fmkit.results.vram import Estimate
    from fmkit.trial.request import CellOutcome, RankOutcome, TrialOutcome, TrialRequest


def trial_result(
    plan: Plan,
    request: TrialRequest,
    outcome: TrialOutcome,
    cell: CellOutcome,
    estimate: Estimate,
    *,
    layers: int | None,
    warnings: Sequence[str],
    busy_share: float | None,
) -> TrialResult:
    """The answer for one workload: `request` is the trial at it, `cell` what was measured there, `outcome` what all share.

    `busy_share` is what others used of the processors before it; what they used while times were taken counts instead where it is known.
    """
    resolved, machine = plan.resolved, plan.machine
    predicted = predicted_parts(estimate)
    return TrialResult(
        fmkit=__version__,
        catalog=plan.catalog.date,
        id=uuid.uuid4().hex[:12],
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=resolved.ref,
        hub_id=resolved.hub_id,
        engine=outcome.engine,
        machine=machine_of(
            machine,
            device=outcome.device,
            key=machine_key(machine),
            busy_share=busy_share if cell.timing.others_share is None else cell.timing.others_share,
        ),
        workload=_workload(request, outcome, estimate, layers),
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
        asked=outcome.asked,
        inputs=outcome.inputs,
        output_error=outcome.output_error,
        random_weights=request.random_weights,
        ranks=rank_results(cell.ranks, predicted),
        warnings=(*warnings, *outcome.warnings),
        next=(f"fmkit vram {resolved.ref} --fit",),
        memory_limit=limit_as_held(request, outcome),
    )


def predicted_parts(estimate: Estimate) -> dict[str, int]:
    """The estimate by the parts that are measured: the runtime is no allocation of PyTorch, but part of the process.

    weights + cache + activations = allocated_peak_bytes; with the runtime it is the process's peak, on a CPU in memory, else on
    the device. `runtime` is what of the rest is the engine's own, and no copy of the model's; low and high bound the process's peak.
    """
    runtime = sum(line.bytes for line in estimate.lines if line.kind == "runtime")
    allocated = estimate.peak_bytes - runtime
    beside = sum(line.bytes for line in estimate.lines if line.part in ("runtime", "runtime: scratch"))
    brought_in = sum(line.bytes for line in estimate.lines if line.part == BROUGHT_IN)
    weights = estimate.weights_bytes - brought_in  # measured before anything runs
    return {
        "weights": weights,
        "cache": estimate.cache_bytes,
        "activations": allocated - weights - estimate.cache_bytes,
        "allocated_peak_bytes": allocated,
        "process_peak_bytes": estimate.peak_bytes,
        "runtime": beside,
        "low_bytes": estimate.low_bytes,
        "high_bytes": estimate.high_bytes,
        **_elsewhere(estimate),
    }


def _elsewhere(estimate: Estimate) -> dict[str, int]:
    """Weights in main memory beside a device, and on disk; absent where there are none."""
    host = estimate.host
    if host is None:
        return {}
    on_disk = sum(line.bytes for line in host.lines if line.part == ON_DISK)
    parts = {"weights_in_host_bytes": host.weights_bytes - on_disk, "weights_on_disk_bytes": on_disk}
    return {name: size for name, size in parts.items() if size}


def errors(predicted: dict[str, int], measured: dict[str, int]) -> dict[str, float]:
    """(predicted - measured) / measured for each part that both have and of which something was measured.

    >>> errors({"weights": 110, "cache": 0}, {"weights": 100, "cache": 0})
    {'weights': 0.1}
    """
    return {
        part: (bytes_ - measured[part]) / measured[part] for part, bytes_ in predicted.items() if measured.get(part)
    }


def rank_results(ranks: Sequence[RankOutcome], predicted: dict[str, int]) -> tuple[RankResult, ...]:
    """Each rank's figures; `predicted` is of all of them, and counts the first as many times as there are ranks."""
    share = {part: bytes_ // len(ranks) for part, bytes_ in predicted.items()} if ranks else {}
    return tuple(
        RankResult(
            rank=one.rank,
            host=one.host,
            device=one.device,
            predicted=share,
            measured=one.measured,
            error=errors(share, one.measured),
        )
        for one in ranks
    )


def machine_of(machine: Machine, *, device: str, key: str = "", busy_share: float | None = None) -> TrialMachine:
    """The machine of a trial, with the device as the engine names it."""
    return TrialMachine(
        key=key,
        busy_share=busy_share,
        name=machine.name,
        origin=machine.origin,
        device=device,
        device_id=machine.device.id if machine.device is not None else None,
        count=machine.count,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        free_bytes=machine.free_bytes,
        cpu_cores=machine.cpu_cores,
    )


def _workload(request: TrialRequest, outcome: TrialOutcome, estimate: Estimate, layers: int | None) -> TrialWorkload:
    return TrialWorkload(
        task=outcome.task,
        kind=request.kind,
        context_tokens=request.context_tokens,
        encoder_tokens=request.encoder_tokens,
        sequences=request.sequences,
        image_tokens=request.image_tokens,
        timed_prompt_tokens=max(1, request.context_tokens - request.decode_steps),
        timed_decode_tokens=request.decode_steps,
        dtype=request.dtype,
        layout=estimate.layout,
        cache_dtype=estimate.cache_dtype,
        quantiser=request.quantiser,
        device=request.device,
        offload=request.offload,
        max_memory_bytes=request.max_memory_bytes,
        gpu_layers=request.gpu_layers,
        n_cpu_moe=request.n_cpu_moe,
        layers=layers,
        tensor_parallel=estimate.tensor_parallel,
        hosts=1 if request.ranks is None else request.ranks.hosts,
    )
