"""Before anything is loaded: does it fit, by how much not, and what would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fmkit.api.inverse import find_inverse
from fmkit.api.model_sizer import ModelSizer
from fmkit.errors import DoesNotFitError, FmkitError
from fmkit.model.architectures import read
from fmkit.sizing.search import largest
from fmkit.trial.shorten import with_layers
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from fmkit.api.trial_plan import Plan
    from fmkit.machine import Machine


PROPOSED = ("fp32", "fp16", "int8", "int4")
"""Precisions proposed where the one asked for does not fit: of each width the usual one."""

PLAIN = ("fp32", "fp16")
"""Those that a trial over several ranks runs."""


def refusal(plan: Plan) -> DoesNotFitError:
    """Why a plan is not run whose first workload does not fit: what is short, and the settings that would fit."""
    model, machine = plan.resolved.ref, plan.machine
    estimate, workload = plan.estimates[0], plan.workloads[0]
    short = estimate.needed_bytes - machine.usable_bytes
    reason = f" ({machine.reserve_reason})" if machine.reserve_reason else ""
    return DoesNotFitError(
        f"{model} at {estimate.precision} with {format_tokens(workload.context_tokens)} tokens needs "
        f"{format_bytes(estimate.needed_bytes)}, and {machine.name} offers {format_bytes(machine.usable_bytes)}{reason}: "
        f"{format_bytes(short)} short; nothing was loaded. {what_fits(plan, 0, machine)}",
        where=model,
        next_command=f"fmkit vram {model} --fit",
    )


def what_fits(plan: Plan, index: int, machine: Machine) -> str:
    """The settings with which a workload of the plan would fit on `machine`, in one sentence."""
    estimate, workload, catalog = plan.estimates[index], plan.workloads[index], plan.catalog
    sizer = ModelSizer(plan.spec, catalog, estimate.engine, workload)
    is_file = estimate.engine == "llama.cpp"  # it has one precision, and layers that nobody leaves out
    layouts = () if is_file else catalog.engines[estimate.engine].layouts
    others = PROPOSED if workload.tensor_parallel == 1 else PLAIN
    proposed = (estimate.precision, *(name for name in others if name in layouts and name != estimate.precision))
    names = [name for name in proposed if sizer.quality(name) <= sizer.quality(estimate.precision)]
    answer = find_inverse(sizer, names, workload.context_tokens, workload.sequences, machine)
    options = [
        f"--precision {one.precision}" for one in answer.precisions if one.fits and one.precision != estimate.precision
    ]
    here = next((one for one in answer.precisions if one.precision == estimate.precision and not one.fits), None)
    if here is not None and here.max_context_tokens:
        options.append(f"--context {here.max_context_tokens}")
    if here is not None and here.max_sequences:
        options.append(f"--sequences {here.max_sequences}")
    layers = 0 if is_file else most_layers(sizer, estimate.precision, plan.config, machine)
    if layers:
        options.append(f"--random-weights --layers {layers}")
    return f"What would fit: {', or '.join(options)}." if options else "No smaller setting fits either."


def most_layers(sizer: ModelSizer, precision: str, config: Mapping[str, Any], machine: Machine) -> int:
    """The most layers of the architecture that fit; 0 where not even one does."""
    workload = sizer.workload

    def fits(layers: int) -> bool:
        short = ModelSizer(
            read(with_layers(config, layers), where="config.json"), sizer.catalog, sizer.engine, workload
        )
        memory = short(precision, workload.context_tokens, workload.sequences, machine)
        return memory.needed_bytes <= machine.usable_bytes

    try:
        return largest(fits, max(stack.layers for stack in sizer.spec.stacks)) or 0
    except FmkitError:  # an architecture that can't be cut
        return 0
