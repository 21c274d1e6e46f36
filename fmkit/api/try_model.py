"""`fmkit try`: load a model, run it, and hold the estimate against what was measured."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit import __version__
from fmkit.api.asked import precision_id
from fmkit.api.resolve import ResolvedModel, resolve_model
from fmkit.api.sizing import estimate_for, layout_for
from fmkit.api.trial_refusal import refuse_if_too_large
from fmkit.api.trial_request import (
    Confirm,
    check_input,
    config_of,
    default_precision,
    machine_for,
    quantiser_for,
    require_libraries,
    weights_folder,
    workload_for,
)
from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError, UsageError
from fmkit.model.architectures import read
from fmkit.results.trial import Sample, TrialResult, TrialSpeed
from fmkit.trial.checks import check_names
from fmkit.trial.embedded import HELD_OUT_PATH, MODEL_PATH, held_out_passages
from fmkit.trial.request import TrialOutcome, TrialRequest
from fmkit.trial.runner import run_in_child
from fmkit.trial.shorten import with_layers
from fmkit.trial.store import TrialStore

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.results.vram import Estimate

EMBEDDED = "embedded"
"""What the model that ships with fmkit is called in results."""

LIBRARIES = ("torch", "transformers", "accelerate", "safetensors")
DECODE_STEPS = 16
MOST_REPEATS = 100
EMBEDDED_PROMPT_WORDS = 16
LATER_ENGINES = ("llama.cpp",)


def try_model(
    model: str | None = None,
    *,
    engine: str = "transformers",
    precision: str | None = None,
    device: str | None = None,
    context: str | int | None = None,
    sequences: int = 1,
    input: str | None = None,  # noqa: A002  the name of the option
    prompt: str | None = None,
    random_weights: bool = False,
    layers: int | None = None,
    checks: Sequence[str] | None = None,
    repeat: int = 3,
    yes: bool = False,
    keep: bool = True,
    offline: bool = False,
    timeout_s: float | None = None,
    confirm: Confirm | None = None,
    progress: Callable[[str], None] | None = None,
) -> TrialResult:
    """Run `model` (default: the small one that ships with fmkit) and compare what it takes with the estimate.

    Parameters are the long options of `fmkit try`; `precision` defaults to 16 bit, on a CPU to float32 where 16 bit would mean
    float16. `confirm` is asked before a download; without it and without `yes` nothing
    is downloaded. `progress` hears one line per phase. Raises FmkitError subclasses: DoesNotFitError before loading,
    TrialFailedError when the trial fails.
    """
    names = check_names(checks)
    _check_options(engine, random_weights=random_weights, layers=layers, repeat=repeat, model=model)
    catalog = load_catalog()
    resolved = _resolved(model, catalog, offline=offline)
    _require_weights(resolved)
    config = config_of(resolved, catalog, offline=offline)
    if layers is not None:
        config = with_layers(config, layers)
    spec = resolved.spec if layers is None and resolved.spec is not None else read(config, where=resolved.ref)
    machine, torch_device = machine_for(device, catalog)
    chosen = (
        precision_id(precision, catalog)
        if precision
        else default_precision(engine, spec, torch_device, machine, catalog)
    )
    layout = layout_for(engine, chosen, catalog, spec)
    workload = workload_for(spec, resolved, context, sequences)
    check_input(spec.kind, input, prompt)
    steps = min(DECODE_STEPS, max(1, workload.context_tokens // 2))
    estimate = estimate_for(
        spec, chosen, workload, machine, catalog, engine=engine, prompt_tokens=max(1, workload.context_tokens - steps)
    )
    refuse_if_too_large(resolved.ref, estimate, config, spec, workload, machine, catalog)
    require_libraries(LIBRARIES, "fmkit try")
    quantiser = quantiser_for(layout)
    folder = None
    warnings = [*estimate.warnings, *_config_warnings(config, random_weights=random_weights)]
    if not random_weights:
        folder = weights_folder(resolved, offline=offline, yes=yes, confirm=confirm, say=progress)
    request = TrialRequest(
        model=resolved.ref,
        kind=spec.kind,
        config=config,
        folder=None if folder is None else str(folder.resolve()),
        engine=engine,
        dtype=layout.rest_dtype_for(spec.config_dtype),
        quantiser=quantiser,
        device=torch_device,
        context_tokens=workload.context_tokens,
        encoder_tokens=estimate.encoder_tokens,
        sequences=workload.sequences,
        image_tokens=spec.image_tokens if workload.images else None,
        decode_steps=steps,
        repeat=repeat,
        checks=names,
        prompt=_prompt(model, prompt, input),
        input_path=None if input is None else str(Path(input).resolve()),
        held_out_path=str(HELD_OUT_PATH),
    )
    outcome = run_in_child(request, progress=progress, timeout_s=timeout_s)
    result = _result(resolved, request, outcome, estimate, machine, layers, catalog, warnings)
    return _kept(result) if keep else result


def _check_options(engine: str, *, random_weights: bool, layers: int | None, repeat: int, model: str | None) -> None:
    if engine.startswith(("http://", "https://")) or engine in LATER_ENGINES:
        raise UsageError(
            f"this version tries models in transformers only; {engine} comes with a later one", where="--engine"
        )
    if engine != "transformers":
        raise UsageError.unknown("engine", engine, ("transformers",), where="--engine")
    if layers is not None and not random_weights:
        raise UsageError(
            "--layers cuts the model short, which makes sense with --random-weights only", where="--layers"
        )
    if layers is not None and layers < 1:
        raise UsageError(f"can't build {layers} layers: write a whole number of at least 1", where="--layers")
    if not 1 <= repeat <= MOST_REPEATS:
        raise UsageError(
            f"can't repeat {repeat} times: write a whole number from 1 to {MOST_REPEATS}", where="--repeat"
        )
    if model is None and random_weights:
        raise UsageError("name a model for --random-weights", where="MODEL", next_command="fmkit catalog list")


def _resolved(model: str | None, catalog: Catalog, *, offline: bool) -> ResolvedModel:
    """The model asked for; the embedded one by default."""
    if model is None or model == EMBEDDED:
        found = resolve_model(str(MODEL_PATH), catalog, offline=True)
        return msgspec.structs.replace(found, id=EMBEDDED)
    return resolve_model(model, catalog, offline=offline)


def _require_weights(resolved: ResolvedModel) -> None:
    if resolved.spec is None:
        raise UsageError(
            f"{resolved.id} has no weights to load: it is offered as an API only",
            where=resolved.ref,
            next_command=f"fmkit vram {resolved.ref}",
        )


def _prompt(model: str | None, prompt: str | None, path: str | None) -> str | None:
    """The user's prompt; for the embedded model the first words of a text it has not seen."""
    if prompt is not None or path is not None or model not in (None, EMBEDDED):
        return prompt
    return " ".join(held_out_passages()[0].split()[:EMBEDDED_PROMPT_WORDS])


def _config_warnings(config: dict[str, Any], *, random_weights: bool) -> list[str]:
    stored = config.get("quantization_config")
    if not stored:
        return []
    method = stored.get("quant_method", "unknown") if isinstance(stored, dict) else "unknown"
    if random_weights:
        return [f"the published weights are stored quantised ({method}); the random ones are not"]
    raise UsageError(
        f"the weights are stored quantised ({method}), which this version can size but not run",
        next_command="use --random-weights, or a repository with 16-bit weights",
    )


def _result(
    resolved: ResolvedModel,
    request: TrialRequest,
    outcome: TrialOutcome,
    estimate: Estimate,
    machine: Machine,
    layers: int | None,
    catalog: Catalog,
    warnings: list[str],
) -> TrialResult:
    predicted = predicted_parts(estimate, on_cpu=request.device == "cpu")
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
        measured=outcome.measured,
        error=errors(predicted, outcome.measured),
        unaccounted_bytes=outcome.measured["allocated_peak_bytes"] - predicted["allocated_peak_bytes"],
        speed=TrialSpeed(
            load_s=outcome.load_s,
            ttft_s=sample(outcome.timing.ttft_s),
            decode_tokens_per_s=sample(outcome.timing.decode_tokens_per_s),
            predicted={} if estimate.speed is None else msgspec.to_builtins(estimate.speed),
        ),
        output=outcome.output,
        checks=outcome.checks,
        random_weights=request.random_weights,
        warnings=(*warnings, *outcome.warnings),
        next=() if ref == EMBEDDED else (f"fmkit vram {ref} --fit",),
    )


def predicted_parts(estimate: Estimate, *, on_cpu: bool) -> dict[str, int]:
    """The estimate by the parts that are measured: the runtime is no allocation of PyTorch, but part of the process.

    weights + cache + activations = allocated_peak_bytes; with the runtime it is the process's peak (on a CPU, where the model
    lives in the process).
    """
    runtime = sum(line.bytes for line in estimate.lines if line.part == "runtime")
    allocated = estimate.peak_bytes - runtime
    parts = {
        "weights": estimate.weights_bytes,
        "cache": estimate.cache_bytes,
        "activations": allocated - estimate.weights_bytes - estimate.cache_bytes,
        "allocated_peak_bytes": allocated,
    }
    return {**parts, "process_peak_bytes": estimate.peak_bytes} if on_cpu else parts


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


def _kept(result: TrialResult) -> TrialResult:
    """The result after it was stored; where it can't be, it carries a warning instead."""
    try:
        TrialStore().add(result)
    except FmkitError as error:
        place = f" ({error.where})" if error.where else ""
        return msgspec.structs.replace(
            result, warnings=(*result.warnings, f"the trial was not kept: {error.message}{place}")
        )
    return result
