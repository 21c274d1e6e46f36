"""The unquantised model's predictions, made in a process of their own before the quantised model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.sizing import estimate_for, layout_for
from fmkit.api.trial_request import default_precision
from fmkit.trial.checks import agreement
from fmkit.trial.runner import run_in_child
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.api.trial_options import TrialOptions
    from fmkit.api.trial_run import Plan
    from fmkit.trial.request import TrialRequest
    from fmkit.trial.workplace import Workplace

FILE = "predictions.safetensors"


def with_predictions(request: TrialRequest, plan: Plan, options: TrialOptions, place: Workplace) -> TrialRequest:
    """The request with the file to compare with or, where there can be none, with the reason; unchanged where nobody asked."""
    if not set(agreement.NAMES) & set(request.checks) or plan.engine != "transformers" or request.random_weights:
        return request
    reason = _why_not(request, plan)
    if reason is not None:
        return msgspec.structs.replace(request, unseen={**request.unseen, **dict.fromkeys(agreement.NAMES, reason)})
    path = str(place.path / FILE)
    if options.progress is not None:
        options.progress("first the unquantised weights, to compare with")
    run_in_child(
        msgspec.structs.replace(
            request, dtype=_full_dtype(plan), quantiser=None, predictions_to=path, checks=(), further=(), repeat=0
        ),
        progress=options.progress,
        timeout_s=options.timeout_s,
    )
    return msgspec.structs.replace(request, predictions_from=path)


def _why_not(request: TrialRequest, plan: Plan) -> str | None:
    """Why the unquantised model can't be compared with, or None if it can."""
    if request.quantiser is None:
        return "the weights are not quantised: name a precision such as --precision int8 or int4"
    if request.ranks is not None:
        return "a model over several processes is not compared"
    if plan.spec.kind not in ("decoder", "state-space", "hybrid"):
        return "the model does not continue text"
    full = estimate_for(
        plan.spec, _full(plan), plan.workloads[0], plan.machine, plan.catalog, engine=plan.engine
    )  # the same workload: it holds all logits of at most 512 tokens
    if full.fits is False:
        need, room = format_bytes(full.per_device_bytes), format_bytes(plan.machine.usable_bytes)
        return f"the unquantised model needs {need}, and there is {room}"
    return None


def _full(plan: Plan) -> str:
    """The precision of the weights as they are, which the CPU may compute in float32."""
    return default_precision(plan.engine, plan.spec, plan.torch_device, plan.machine, plan.catalog)


def _full_dtype(plan: Plan) -> str:
    layout = layout_for(plan.engine, _full(plan), plan.catalog, plan.spec)
    return layout.rest_dtype_for(plan.spec.config_dtype)
