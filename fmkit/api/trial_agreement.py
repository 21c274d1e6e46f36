"""The unquantised model's predictions, made in a process of their own before the quantised model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.layouts import layout_for
from fmkit.api.resolve import resolve_model
from fmkit.api.sizing import estimate_for
from fmkit.api.trial_gguf import STORED, gguf_facts, require_gguf
from fmkit.api.trial_request import default_precision
from fmkit.errors import UsageError
from fmkit.trial.checks import agreement
from fmkit.trial.runner import run_in_child
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.api.trial_options import TrialOptions
    from fmkit.api.trial_plan import Plan
    from fmkit.results.vram import Estimate
    from fmkit.trial.request import TrialRequest
    from fmkit.trial.workplace import Workplace

FILE = "predictions"
UNQUANTISED = ("F32", "F16", "BF16")
"""Types of GGUF files whose matrices are no blocks of a few bits."""


class _CannotCompareError(Exception):
    """There is no unquantised model to compare with; the message says why."""


def check_against(options: TrialOptions, engine: str, checks: Sequence[str]) -> None:
    """Refuse a file to compare with that nothing would read."""
    if options.against is None:
        return
    if engine != "llama.cpp":
        raise UsageError("the unquantised weights are at hand: it is for GGUF files", where="--against")
    if not set(agreement.NAMES) & set(checks):
        raise UsageError(f"nothing compares: name --checks {', '.join(agreement.NAMES)}", where="--against")
    path = Path(options.against).expanduser()
    if path.suffix != ".gguf" or not path.is_file():
        raise UsageError(f"{options.against} is no .gguf file", where="--against")


def with_predictions(request: TrialRequest, plan: Plan, options: TrialOptions, place: Workplace) -> TrialRequest:
    """The request with the file to compare with or, where there can be none, with the reason; unchanged where nobody asked."""
    if not set(agreement.NAMES) & set(request.checks) or request.random_weights:
        return request
    try:
        full = _full_file(request, plan, options) if plan.engine == "llama.cpp" else _full_weights(request, plan)
    except _CannotCompareError as error:
        reasons = dict.fromkeys(agreement.NAMES, str(error))
        return msgspec.structs.replace(request, unseen={**request.unseen, **reasons})
    path = str(place.path / FILE)
    if options.progress is not None:
        options.progress("first the unquantised weights, to compare with")
    run_in_child(
        msgspec.structs.replace(full, predictions_to=path, checks=(), further=(), repeat=0),
        progress=options.progress,
        timeout_s=options.timeout_s,
    )
    return msgspec.structs.replace(request, predictions_from=path)


def _full_weights(request: TrialRequest, plan: Plan) -> TrialRequest:
    """The same weights as they are stored, for transformers."""
    if request.quantiser is None:
        raise _CannotCompareError("the weights are not quantised: name a precision such as --precision int8 or int4")
    if request.ranks is not None:
        raise _CannotCompareError("a model over several processes is not compared")
    if plan.spec.kind not in ("decoder", "state-space", "hybrid"):
        raise _CannotCompareError("the model does not continue text")
    precision = default_precision(plan.engine, plan.spec, plan.torch_device, plan.machine, plan.catalog)
    # the same workload: it holds all logits of at most 512 tokens
    _require_room(
        estimate_for(plan.spec, precision, plan.workloads[0], plan.machine, plan.catalog, engine=plan.engine), plan
    )
    layout = layout_for(plan.engine, precision, plan.catalog, plan.spec)
    return msgspec.structs.replace(request, dtype=layout.rest_dtype_for(plan.spec.config_dtype), quantiser=None)


def _full_file(request: TrialRequest, plan: Plan, options: TrialOptions) -> TrialRequest:
    """The GGUF file given beside the quantised one."""
    if plan.spec.kind == "encoder":
        raise _CannotCompareError("the model does not continue text")
    if options.against is None:
        raise _CannotCompareError("name an unquantised file of the same model: --against FILE.gguf")
    resolved = resolve_model(str(Path(options.against).absolute()), plan.catalog, offline=True)
    require_gguf(resolved, random_weights=False)
    path = resolved.path
    assert path is not None
    assert resolved.spec is not None
    facts = gguf_facts(resolved)
    if facts["file_type"] not in UNQUANTISED:
        raise UsageError(
            f"{path.name} is quantised itself ({facts['file_type']}): name a file of type {' or '.join(UNQUANTISED)}",
            where="--against",
        )
    if resolved.spec.vocab_size != plan.spec.vocab_size:
        raise UsageError(f"{path.name} is of another model: its vocabulary is another", where="--against")
    _require_room(
        estimate_for(resolved.spec, STORED, plan.workloads[0], plan.machine, plan.catalog, engine=plan.engine), plan
    )
    return msgspec.structs.replace(
        request, model=f"{path.name} ({facts['file_type']})", config=facts, folder=str(path.absolute()), dtype=facts["file_type"],
    )  # fmt: skip


def _require_room(estimate: Estimate, plan: Plan) -> None:
    if estimate.fits is False:
        need, room = format_bytes(estimate.per_device_bytes), format_bytes(plan.machine.usable_bytes)
        raise _CannotCompareError(f"the unquantised model needs {need}, and there is {room}")
