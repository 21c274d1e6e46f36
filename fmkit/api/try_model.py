"""`fmkit try`: load a model, run it, and hold the estimate against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from fmkit import __version__
from fmkit.api.trial_options import TrialOptions
from fmkit.api.trial_plan import plan_trial
from fmkit.api.trial_run import run_plan, too_large
from fmkit.api.try_endpoint import try_endpoint
from fmkit.errors import DoesNotFitError, FmkitError, TrialFailedError
from fmkit.results.trial import SweepResult, TrialResult, Unmeasured
from fmkit.trial.endpoint.address import is_address
from fmkit.trial.out_of_memory import OutOfMemoryError
from fmkit.trial.request import TrialFailure

if TYPE_CHECKING:
    from fmkit.api.trial_plan import Plan
    from fmkit.api.trial_request import Confirm


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
    output: str | None = None,
    output_tokens: int | None = None,
    transcript: str | None = None,
    reference: str | None = None,
    against: str | None = None,
    random_weights: bool = False,
    layers: int | None = None,
    checks: Sequence[str] | None = None,
    repeat: int = 3,
    yes: bool = False,
    keep: bool = True,
    trials: bool = True,
    offline: bool = False,
    timeout_s: float | None = None,
    limit_memory: str | int | None = None,
    offload: bool = False,
    max_memory: str | int | None = None,
    engine_option: str | Sequence[str] | None = None,
    tensor_parallel: int = 1,
    hosts: int = 1,
    host_rank: int = 0,
    rendezvous: str | None = None,
    confirm: Confirm | None = None,
    progress: Callable[[str], None] | None = None,
) -> TrialResult:
    """Run `model` (default: the small one that ships with fmkit) and compare what it takes with the estimate.

    Parameters are the long options of `fmkit try`; `precision` defaults to 16 bit, on a CPU to float32 where 16 bit would mean
    float16. `confirm` is asked before a download; without it and without `yes` nothing
    is downloaded. `limit_memory` (`8GiB`, or bytes) is what the trial's process may hold, on a GPU what PyTorch may allocate on each;
    `timeout_s` what one phase may take. With `offload` weights without room on the device lie in main memory, and on disk; `max_memory` is
    the room for them on the first device, on a CPU in main memory. `engine_option` (`gpu_layers=20`) is how many layers of a GGUF file
    lie on the GPU, by default all, or (`n_cpu_moe=12`) of how many the experts lie in main memory; `against` is an unquantised GGUF file to compare one with. `tensor_parallel` processes share the model, on
    `hosts` computers that meet at `rendezvous` (host:port), of which this is `host_rank`. `progress` hears one line per phase. Raises FmkitError subclasses: DoesNotFitError before loading,
    TrialFailedError when the trial fails.
    """
    options = TrialOptions(
        engine=engine,
        device=device,
        input=input,
        prompt=prompt,
        output=output,
        output_tokens=output_tokens,
        transcript=transcript,
        reference=reference,
        against=against,
        random_weights=random_weights,
        layers=layers,
        checks=checks,
        repeat=repeat,
        yes=yes,
        keep=keep,
        trials=trials,
        offline=offline,
        timeout_s=timeout_s,
        limit_memory=limit_memory,
        offload=offload,
        max_memory=max_memory,
        engine_option=engine_option,
        tensor_parallel=tensor_parallel,
        hosts=hosts,
        host_rank=host_rank,
        rendezvous=rendezvous,
        confirm=confirm,
        progress=progress,
    )
    return try_one(model, precision, context, sequences, options)


def try_one(
    model: str | None, precision: str | None, context: str | int | None, sequences: int, options: TrialOptions
) -> TrialResult:
    """One workload, as `try_model`."""
    if is_address(options.engine):
        (answer,) = try_endpoint(model, (precision,), (context,), (sequences,), options)
        assert isinstance(answer, TrialResult)  # where the only workload fails, it raises
        return answer
    plan = plan_trial(model, precision, (context,), (sequences,), options)
    (result,) = run_plan(plan, options)
    assert isinstance(result, TrialResult)  # where the only workload fails, run_plan raises
    return result


def try_sweep(
    model: str | None = None,
    *,
    precision: Sequence[str | None] = (None,),
    context: Sequence[str | int | None] = (None,),
    sequences: Sequence[int] = (1,),
    options: TrialOptions | None = None,
) -> SweepResult:
    """Every combination of precisions, contexts and sequences, the model loaded once for each precision.

    A workload that does not fit or fails is listed among `failed`, and the rest goes on; so are all workloads of a precision that can't be
    loaded, unless it is the only one. What can't be asked for at any precision is refused before anything runs. Other parameters are
    those of `try_model`.
    """
    chosen = options or TrialOptions()
    if is_address(chosen.engine):
        found = try_endpoint(model, precision, context, sequences, chosen)
        return _sweep(
            model,
            [one for one in found if isinstance(one, TrialResult)],
            [one for one in found if isinstance(one, Unmeasured)],
        )
    trials: list[TrialResult] = []
    failed: list[Unmeasured] = []
    plans = [plan_trial(model, name, context, sequences, chosen) for name in precision]
    for plan in plans:
        try:
            answers = run_plan(plan, chosen)
        except (DoesNotFitError, TrialFailedError) as error:
            if len(plans) == 1:
                raise
            answers = _failed_at_once(plan, error)
        for index, answer in enumerate(answers):
            if isinstance(answer, TrialResult):
                trials.append(answer)
            else:
                failed.append(_unmeasured(plan, index, answer))
    return _sweep(model, trials, failed)


def _failed_at_once(plan: Plan, error: FmkitError) -> list[TrialResult | TrialFailure]:
    """Why each workload was not measured, where the process that was to measure them ended at the first of them."""
    found: list[TrialResult | TrialFailure] = []
    kind: Literal["failed", "out-of-memory"] = "out-of-memory" if isinstance(error, OutOfMemoryError) else "failed"
    reason = error.message
    for estimate in plan.estimates:
        if estimate.fits is False:
            message = too_large(estimate, plan.machine)
            found.append(TrialFailure(kind="does-not-fit", phase="start", message=message))
        else:
            found.append(TrialFailure(kind=kind, phase="start", message=reason))
            kind, reason = "failed", "not run: the first workload at this precision ended the process"
    return found


def _sweep(model: str | None, trials: Sequence[TrialResult], failed: Sequence[Unmeasured]) -> SweepResult:
    return SweepResult(
        fmkit=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=trials[0].model if trials else str(model),
        trials=tuple(trials),
        failed=tuple(failed),
    )


def _unmeasured(plan: Plan, index: int, failure: TrialFailure) -> Unmeasured:
    workload = plan.workloads[index]
    return Unmeasured(
        precision=plan.precision,
        context_tokens=workload.context_tokens,
        sequences=workload.sequences,
        kind=failure.kind,
        reason=failure.message
        if failure.phase == "start"  # it did not come to run, or the message says where it ended
        else f"{failure.kind} in {failure.phase}: {failure.message}",
    )
