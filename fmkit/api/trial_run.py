"""One loaded model, one or more workloads: what `fmkit try` plans, refuses, runs and keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.api.asked import precision_id
from fmkit.api.resolve import ResolvedModel, resolve_model
from fmkit.api.sizing import estimate_for, layout_for
from fmkit.api.trial_agreement import with_predictions
from fmkit.api.trial_devices import machine_for
from fmkit.api.trial_gguf import gguf_facts, require_gguf, settings_of, stored_only
from fmkit.api.trial_inputs import check_inputs, check_resumption, input_fields
from fmkit.api.trial_memory import explained, limit_of, limited, would_have_fitted
from fmkit.api.trial_offload import off_loading, refuse_placement, room_of
from fmkit.api.trial_options import TrialOptions, check_options
from fmkit.api.trial_plan import patience_s, plan_lines
from fmkit.api.trial_ranks import check_ranks, ranks_for, run_divided, shared, without_speed
from fmkit.api.trial_refusal import refuse_if_too_large
from fmkit.api.trial_request import (
    config_of,
    default_precision,
    quantiser_for,
    require_libraries,
    weights_folder,
    workload_for,
)
from fmkit.api.trial_result import trial_result
from fmkit.api.vram import engine_of_file
from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError, UsageError
from fmkit.hardware.busy import busy_share
from fmkit.model.architectures import read
from fmkit.sizing.engines.llama_cpp_options import settings_from
from fmkit.trial.checks import check_names
from fmkit.trial.embedded import EMBEDDED, HELD_OUT_PATH, MODEL_PATH, held_out_passages
from fmkit.trial.interruption import interruptible
from fmkit.trial.memory_limit import require_watch
from fmkit.trial.out_of_memory import OutOfMemoryError, told
from fmkit.trial.request import Cell, CellOutcome, Ranks, TorchDevice, TrialFailure, TrialRequest
from fmkit.trial.runner import run_in_child
from fmkit.trial.shorten import with_layers
from fmkit.trial.store import TrialStore
from fmkit.trial.supervision import limit_on_process
from fmkit.trial.workplace import Workplace, remove_leftovers, workplace
from fmkit.trial.workplace import told as told_leftovers
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.results.trial import TrialResult
    from fmkit.results.vram import Estimate
    from fmkit.sizing.estimate import Workload

LIBRARIES = {
    "transformers": ("try", ("torch", "transformers", "accelerate", "safetensors")),
    "llama.cpp": ("llama-cpp", ("xllamacpp",)),
}
"""For each engine the extra that installs what it needs, and the libraries looked for."""

DECODE_STEPS = 16
EMBEDDED_PROMPT_WORDS = 16


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A model at one precision on one device, with the workloads to run and what is predicted for each."""

    resolved: ResolvedModel
    catalog: Catalog
    engine: str
    config: dict[str, Any]
    spec: ModelSpec
    machine: Machine
    torch_device: TorchDevice
    ranks: Ranks | None = None
    precision: str
    layout: Layout
    workloads: tuple[Workload, ...]
    estimates: tuple[Estimate, ...]


def plan_trial(
    model: str | None,
    precision: str | None,
    contexts: Sequence[str | int | None],
    sequences: Sequence[int],
    options: TrialOptions,
) -> Plan:
    """Everything that is known before a process is started.

    Raises UsageError for what can't be, DoesNotFitError where the first workload does not fit; others that do not fit are left out
    when the plan is run.
    """
    check_names(options.checks)
    check_options(options, model)
    catalog = load_catalog()
    resolved = _resolved(model, catalog, offline=options.offline)
    _require_weights(resolved)
    engine = options.engine if resolved.engine is None else engine_of_file(resolved.engine, options.engine)
    if engine == "llama.cpp":
        path = require_gguf(resolved, random_weights=options.random_weights)
        assert resolved.spec is not None
        config = gguf_facts(path, resolved.spec)
        precision = stored_only(precision)
    else:
        config = config_of(resolved, catalog)
    if options.layers is not None:
        _check_layers(options.layers, resolved)
        config = with_layers(config, options.layers)
    whole = options.layers is None and resolved.spec is not None
    spec = resolved.spec if whole and resolved.spec is not None else read(config, where=resolved.ref)
    machine, torch_device = machine_for(options.device, catalog)
    ranks = ranks_for(options, engine, catalog)
    machine = shared(limited(machine, limit_of(options.limit_memory)), ranks, torch_device)
    machine = msgspec.structs.replace(machine, uses_trials=options.trials)
    chosen = (
        precision_id(precision, catalog)
        if precision
        else default_precision(engine, spec, torch_device, machine, catalog)
    )
    layout = layout_for(engine, chosen, catalog, spec)
    settings = settings_of(options, engine, torch_device, catalog)
    workloads = _distinct(
        msgspec.structs.replace(
            workload_for(spec, resolved, context, count),
            tensor_parallel=1 if ranks is None else ranks.count,
            **(off_loading(options, engine) or {"options": settings}),
        )
        for count in sequences
        for context in contexts
    )
    check_ranks(ranks, layout, workloads)
    check_inputs(spec.kind, options, check_names(options.checks))
    estimates = tuple(
        without_speed(
            estimate_for(
                spec, chosen, workload, machine, catalog, engine=engine,
                prompt_tokens=max(1, workload.context_tokens - decode_steps(workload)),
            ),
            ranks,
            torch_device,
        )
        for workload in workloads
    )  # fmt: skip
    refuse_placement(estimates[0])
    refuse_if_too_large(resolved.ref, estimates[0], config, spec, workloads[0], machine, catalog)
    return Plan(
        resolved=resolved,
        catalog=catalog,
        engine=engine,
        config=config,
        spec=spec,
        machine=machine,
        torch_device=torch_device,
        ranks=ranks,
        precision=chosen,
        layout=layout,
        workloads=workloads,
        estimates=estimates,
    )


def run_plan(plan: Plan, options: TrialOptions) -> list[TrialResult | TrialFailure]:
    """Load once, run every workload that fits; an answer or a failure for each, in the plan's order.

    Raises FmkitError where the model can't be loaded or the first workload fails. What a trial that was killed left behind is removed
    first, and told.
    """
    say = options.progress or (lambda _: None)
    for line in (*told_leftovers(remove_leftovers()), *plan_lines(plan, options)):
        say(line)
    answers = None if options.output is None else str(Path(options.output).absolute())
    with interruptible(), workplace(plan.resolved.ref, answers) as place:
        try:
            return _run_in(place, plan, options)
        except OutOfMemoryError as error:
            raise explained(error, plan, limit_of(options.limit_memory)) from None


def _run_in(place: Workplace, plan: Plan, options: TrialOptions) -> list[TrialResult | TrialFailure]:
    """As `run_plan`, in a folder that is there until the results are kept."""
    extra, libraries = LIBRARIES[plan.engine]
    require_libraries(libraries, f"fmkit try with {plan.engine}", extra=extra)
    on_gguf = plan.engine == "llama.cpp"
    quantiser = None if on_gguf else quantiser_for(plan.layout, plan.torch_device)
    warnings = _config_warnings(plan.config, random_weights=options.random_weights)
    folder = plan.resolved.path if on_gguf else None
    if not on_gguf and not options.random_weights:
        place.enter("getting the weights")
        folder = weights_folder(
            plan.resolved, offline=options.offline, yes=options.yes, confirm=options.confirm, say=options.progress
        )
    cells = [_cell(plan.spec, workload, one) for workload, one in zip(plan.workloads, plan.estimates, strict=True)]
    run = [index for index, one in enumerate(plan.estimates) if index == 0 or one.fits is not False]
    request = TrialRequest(
        model=plan.resolved.ref,
        kind=plan.spec.kind,
        config=plan.config,
        folder=None if folder is None else str(folder.absolute()),  # links stay: parts of a GGUF file go by name
        engine=plan.engine,
        dtype=plan.config["file_type"] if on_gguf else plan.layout.rest_dtype_for(plan.spec.config_dtype),
        quantiser=quantiser,
        device=plan.torch_device,
        offload=options.offload,
        max_memory_bytes=room_of(options.max_memory),
        gpu_layers=settings_from(plan.workloads[0].options).gpu_layers if on_gguf else None,
        **msgspec.structs.asdict(cells[0]),
        repeat=options.repeat,
        checks=check_names(options.checks),
        prompt=_prompt(plan.resolved, options.prompt, options.input),
        **input_fields(plan.spec.kind, options),
        held_out_path=str(HELD_OUT_PATH),
        limit_bytes=limit_of(options.limit_memory),
        further=tuple(cells[index] for index in run[1:]),
        ranks=plan.ranks,
    )
    check_resumption(options, plan.spec.kind, request.model, request.quantiser or request.dtype)
    if limit_on_process(request) is not None:
        require_watch()
    request = with_predictions(request, plan, options, place)
    others = busy_share()
    start = run_in_child if plan.ranks is None else run_divided
    outcome = start(request, progress=options.progress, timeout_s=patience_s(plan, options), place=place)
    measured = dict(
        zip(
            run,
            (CellOutcome(measured=outcome.measured, timing=outcome.timing, ranks=outcome.ranks), *outcome.further),
            strict=True,
        )
    )
    answers: list[TrialResult | TrialFailure] = []
    for index, estimate in enumerate(plan.estimates):
        found = measured.get(index)
        if found is None:
            answers.append(TrialFailure(kind="does-not-fit", phase="start", message=_too_large(estimate, plan.machine)))
        elif found.failure is not None:
            answers.append(_explained_failure(found.failure, plan, index, request.limit_bytes))
        else:
            result = trial_result(
                plan.resolved, request.at(cells[index]), outcome, found, estimate, plan.machine, options.layers, plan.catalog,
                (*estimate.warnings, *warnings), busy_share=others,
            )  # fmt: skip
            answers.append(kept(result) if options.keep and options.host_rank == 0 else result)
    return answers


def decode_steps(workload: Workload) -> int:
    """Tokens decoded while times are taken: at most 16, and no more than half of the context."""
    return min(DECODE_STEPS, max(1, workload.context_tokens // 2))


def _cell(spec: ModelSpec, workload: Workload, estimate: Estimate) -> Cell:
    return Cell(
        context_tokens=workload.context_tokens,
        encoder_tokens=estimate.encoder_tokens,
        sequences=workload.sequences,
        image_tokens=spec.image_tokens if workload.images else None,
        decode_steps=decode_steps(workload),
    )


def _distinct(workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """Without repetitions, the first of each kept: a length past the model's default may be asked for twice."""
    kept: list[Workload] = []
    for workload in workloads:
        if workload not in kept:
            kept.append(workload)
    return tuple(kept)


def _explained_failure(failure: TrialFailure, plan: Plan, index: int, limit_bytes: int | None) -> TrialFailure:
    """A failure of a sweep; out of memory with its figures, and what would have fitted."""
    if failure.kind != "out-of-memory":
        return failure
    message = f"{told(failure)}. {would_have_fitted(failure, plan, index, limit_bytes)}"
    return msgspec.structs.replace(failure, message=message)


def _too_large(estimate: Estimate, machine: Machine) -> str:
    short = estimate.per_device_bytes - machine.usable_bytes
    return f"needs {format_bytes(estimate.per_device_bytes)}, {format_bytes(short)} more than there is; not run"


def _check_layers(layers: int, resolved: ResolvedModel) -> None:
    """Refuse more layers than the model has: the trial would be said to have run them."""
    there = 0 if resolved.spec is None else max((stack.layers for stack in resolved.spec.stacks), default=0)
    if there and layers > there:
        raise UsageError(f"{resolved.ref} has {there} layers, not {layers:,}", where="--layers")


def _resolved(model: str | None, catalog: Catalog, *, offline: bool) -> ResolvedModel:
    """The model asked for; the embedded one by default."""
    if model is None or model == EMBEDDED:
        found = resolve_model(str(MODEL_PATH), catalog, offline=True)
        return msgspec.structs.replace(found, id=EMBEDDED, ref=EMBEDDED)
    return resolve_model(model, catalog, offline=offline)


def _require_weights(resolved: ResolvedModel) -> None:
    if resolved.spec is None:
        raise UsageError(
            f"{resolved.id} has no weights to load: it is offered as an API only",
            where=resolved.ref,
            next_command=f"fmkit vram {resolved.ref}",
        )


def _prompt(resolved: ResolvedModel, prompt: str | None, path: str | None) -> str | None:
    """The user's prompt; for the embedded model the first words of a text it has not seen."""
    if prompt is not None or path is not None or resolved.ref != EMBEDDED:
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


def kept(result: TrialResult) -> TrialResult:
    """The result after it was stored; where it can't be, it carries a warning instead."""
    try:
        TrialStore().add(result)
    except FmkitError as error:
        place = f" ({error.where})" if error.where else ""
        return msgspec.structs.replace(
            result, warnings=(*result.warnings, f"the trial was not kept: {error.message}{place}")
        )
    return result
