"""One loaded model, one or more workloads: what `fmkit try` runs and keeps of what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.api.resolve import ResolvedModel
from fmkit.api.trial_agreement import with_predictions
from fmkit.api.trial_download import gguf_file, weights_folder
from fmkit.api.trial_gguf import placement_of
from fmkit.api.trial_inputs import check_resumption, input_fields
from fmkit.api.trial_memory import explained, limit_of, would_have_fitted
from fmkit.api.trial_offload import room_of
from fmkit.api.trial_options import TrialOptions
from fmkit.api.trial_plan import Plan, decode_steps
from fmkit.api.trial_ranks import run_divided
from fmkit.api.trial_refusal import refusal
from fmkit.api.trial_request import (
    require_libraries,
)
from fmkit.api.trial_result import trial_result
from fmkit.api.trial_words import patience_s, plan_lines
from fmkit.errors import FmkitError, UsageError
from fmkit.hub.unfinished import told_begun
from fmkit.trial.checks import check_names
from fmkit.trial.embedded import EMBEDDED, HELD_OUT_PATH, held_out_passages
from fmkit.trial.interruption import interruptible
from fmkit.trial.memory_limit import require_watch
from fmkit.trial.others import busy_share
from fmkit.trial.out_of_memory import OutOfMemoryError, told
from fmkit.trial.request import Cell, CellOutcome, TrialFailure, TrialRequest
from fmkit.trial.runner import run_in_child
from fmkit.trial.store import TrialStore
from fmkit.trial.supervision import limit_on_process
from fmkit.trial.workplace import Workplace, remove_leftovers, workplace
from fmkit.trial.workplace import told as told_leftovers
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.results.trial import TrialResult
    from fmkit.results.vram import Estimate
    from fmkit.sizing.estimate import Workload

LIBRARIES = {
    "transformers": ("try", ("torch", "transformers", "accelerate", "safetensors")),
    "llama.cpp": ("llama-cpp", ("xllamacpp",)),
}
"""For each engine the extra that installs what it needs, and the libraries looked for."""

EMBEDDED_PROMPT_WORDS = 16


def run_plan(plan: Plan, options: TrialOptions) -> list[TrialResult | TrialFailure]:
    """Load once, run every workload that fits; an answer or a failure for each, in the plan's order.

    Raises DoesNotFitError where no workload fits, and FmkitError where the model can't be loaded or the first workload that fits fails.
    What a trial that was killed left behind is removed first, and told.
    """
    first = _first_to_run(plan)
    say = options.progress or (lambda _: None)
    for line in (*told_leftovers(remove_leftovers()), *plan_lines(plan, options)):
        say(line)
    answers = None if options.output is None else str(Path(options.output).absolute())
    try:
        with interruptible(), workplace(plan.resolved.ref, answers) as place:
            return _run_in(place, plan, options)
    except OutOfMemoryError as error:
        raise explained(error, plan, first, limit_of(options.limit_memory)) from None
    except KeyboardInterrupt:
        so_far = (
            "" if answers is None else f"; the answers so far are in {answers}, and the same command goes on from there"
        )
        begun = None if plan.resolved.hub_id is None else told_begun(plan.resolved.hub_id)
        say(f"interrupted: nothing of the trial was kept, and {begun or 'nothing is left behind'}{so_far}")
        raise


def _first_to_run(plan: Plan) -> int:
    """The first workload that fits; DoesNotFitError where none does."""
    for index, estimate in enumerate(plan.estimates):
        if estimate.fits is not False:
            return index
    raise refusal(plan)


def _run_in(place: Workplace, plan: Plan, options: TrialOptions) -> list[TrialResult | TrialFailure]:
    """As `run_plan`, in a folder that is there until the results are kept."""
    extra, libraries = LIBRARIES[plan.engine]
    require_libraries(libraries, f"fmkit try with {plan.engine}", extra=extra)
    warnings = [*_config_warnings(plan.config, random_weights=options.random_weights), *_unread(options)]
    cells = [_cell(plan.spec, workload, one) for workload, one in zip(plan.workloads, plan.estimates, strict=True)]
    run = [index for index, one in enumerate(plan.estimates) if one.fits is not False]
    request = _request(place, plan, options, [cells[index] for index in run])
    others = busy_share()
    start = run_in_child if plan.ranks is None else run_divided
    outcome = start(request, progress=options.progress, timeout_s=patience_s(plan, options), place=place)
    first = CellOutcome(measured=outcome.measured, timing=outcome.timing, ranks=outcome.ranks)
    measured = dict(zip(run, (first, *outcome.further), strict=True))
    answers: list[TrialResult | TrialFailure] = []
    for index, estimate in enumerate(plan.estimates):
        found = measured.get(index)
        if found is None:
            answers.append(TrialFailure(kind="does-not-fit", phase="start", message=too_large(estimate, plan.machine)))
        elif found.failure is not None:
            answers.append(_explained_failure(found.failure, plan, index, request.limit_bytes))
        else:
            result = trial_result(
                plan,
                request.at(cells[index]),
                outcome,
                found,
                estimate,
                layers=options.layers,
                warnings=(*estimate.warnings, *warnings),
                busy_share=others,
            )
            answers.append(kept(result) if options.keep and options.host_rank == 0 else result)
    return answers


def _request(place: Workplace, plan: Plan, options: TrialOptions, cells: Sequence[Cell]) -> TrialRequest:
    """What the child is asked: the weights are on this disk by then, and so are predictions to compare with."""
    on_gguf = plan.engine == "llama.cpp"
    folder = _weights(place, plan, options)
    request = TrialRequest(
        model=plan.resolved.ref,
        kind=plan.spec.kind,
        config=plan.config,
        folder=None if folder is None else str(folder.absolute()),  # links stay: parts of a GGUF file go by name
        engine=plan.engine,
        dtype=plan.config["file_type"] if on_gguf else plan.layout.rest_dtype_for(plan.spec.config_dtype),
        quantiser=plan.quantiser,
        device=plan.torch_device,
        offload=options.offload,
        max_memory_bytes=room_of(options.max_memory),
        **(placement_of(plan.workloads[0], plan.spec, plan.torch_device) if on_gguf else {}),
        **msgspec.structs.asdict(cells[0]),
        repeat=options.repeat,
        checks=check_names(options.checks),
        prompt=_prompt(plan.resolved, options.prompt, options.input),
        **input_fields(plan.spec.kind, options),
        held_out_path=str(HELD_OUT_PATH),
        limit_bytes=limit_of(options.limit_memory),
        further=tuple(cells[1:]),
        ranks=plan.ranks,
    )
    check_resumption(options, plan.spec.kind, request.model, request.quantiser or request.dtype)
    if limit_on_process(request) is not None:
        require_watch()
    return with_predictions(request, plan, options, place)


def _weights(place: Workplace, plan: Plan, options: TrialOptions) -> Path | None:
    """The file or folder of the weights, downloaded where the user agrees; None for random ones."""
    if options.random_weights:
        return None
    place.enter("getting the weights")
    return (gguf_file if plan.engine == "llama.cpp" else weights_folder)(plan.resolved, options)


def _cell(spec: ModelSpec, workload: Workload, estimate: Estimate) -> Cell:
    return Cell(
        context_tokens=workload.context_tokens,
        encoder_tokens=estimate.encoder_tokens,
        sequences=workload.sequences,
        image_tokens=spec.image_tokens if workload.images else None,
        decode_steps=decode_steps(workload),
    )


def _explained_failure(failure: TrialFailure, plan: Plan, index: int, limit_bytes: int | None) -> TrialFailure:
    """A failure of a sweep; out of memory with its figures, and what would have fitted."""
    if failure.kind != "out-of-memory":
        return failure
    message = f"{told(failure)}. {would_have_fitted(failure, plan, index, limit_bytes)}"
    return msgspec.structs.replace(failure, message=message)


def too_large(estimate: Estimate, machine: Machine) -> str:
    """Why a workload of a sweep is not run."""
    short = estimate.needed_bytes - machine.usable_bytes
    return f"needs {format_bytes(estimate.needed_bytes)}, {format_bytes(short)} more than there is; not run"


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


def _unread(options: TrialOptions) -> list[str]:
    """What was given to a model that can't answer."""
    given = [name for name, value in (("--input", options.input), ("--prompt", options.prompt)) if value is not None]
    return [f"{given[0]} was not used: random weights answer nothing"] if options.random_weights and given else []


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
