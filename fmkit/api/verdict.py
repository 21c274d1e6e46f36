"""The one sentence that `fmkit vram` begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.inverse import several_devices
from fmkit.selection.request import DEFAULT_PRECISIONS
from fmkit.sizing.cuts import engine_setting, host_experts, tensor_parallel
from fmkit.sizing.fit import MOST_TOKENS, smallest_device
from fmkit.sizing.search import largest
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.api.model_sizer import ModelSizer
    from fmkit.machine import Machine
    from fmkit.results.vram import Estimate
    from fmkit.sizing.estimate import MemoryEstimate


def verdict(
    model_id: str, sizer: ModelSizer, estimates: Sequence[Estimate], machine: Machine, lighter: str = ""
) -> str:
    """What fits and how far; or by how much it falls short and what would hold it: `lighter` says which other option does."""
    place = f"this machine ({machine.name})" if machine.origin == "detected" else machine.name
    ranks = estimates[0].tensor_parallel
    if ranks > machine.count:
        place = f"{ranks} x {place}"
    not_here = _not_here(sizer, machine)
    if not_here:
        return f"{model_id}: {not_here}."
    fitting = [found for found in estimates if found.fits and found.valid]
    if fitting:
        best = max(fitting, key=lambda found: (sizer.quality(found.precision), -found.context_tokens))
        return f"{model_id} fits {place} at {best.precision.upper()}{_how_far(sizer, best, machine)}{_shortfall(sizer, estimates, best, machine)}."
    if all(not found.valid for found in estimates):
        return f"{model_id}: every case asked for is past the model's limits; the figures are arithmetic only."
    refused = next((found for found in estimates if found.valid and found.refused is not None), None)
    loadable = [found for found in estimates if found.valid and found.refused is None]
    if not loadable and refused is not None:
        instead = runs_instead(sizer, estimates, machine)
        other = f"; at {instead.upper()} it fits (--precision {instead})" if instead is not None else ""
        return f"{model_id} does not load on {place} at {refused.precision.upper()}: {refused.refused}{other}."
    smallest = min(loadable, key=lambda found: found.needed_bytes)
    return (
        f"{model_id} does not fit {place}: even at {smallest.precision.upper()} with "
        f"{format_tokens(smallest.context_tokens)} tokens {format_bytes(smallest.short_bytes)} are missing{_against(smallest)}; "
        f"{lighter or _here(sizer, loadable, machine) or _rescue(sizer, smallest, machine)}{f'; at {refused.precision.upper()} {refused.refused}' if refused is not None else ''}."
    )


def runs_instead(sizer: ModelSizer, estimates: Sequence[Estimate], machine: Machine) -> str | None:
    """The best of the default precisions that fits, where the engine loads none of those asked about on this device; None where none does."""
    asked = [found for found in estimates if found.valid]
    if not asked or any(found.refused is None or found.training is not None for found in asked):
        return None
    if sizer.catalog.engines[sizer.engine].why_not_on(machine.device) is not None:
        return None
    cases = ((name, sizer(name, asked[0].context_tokens, asked[0].sequences, machine)) for name in DEFAULT_PRECISIONS)
    return next((name for name, found in cases if found.fits and found.valid), None)


def _not_here(sizer: ModelSizer, machine: Machine) -> str:
    """That the engine does not run on the device, and which do; nothing where it does."""
    engines = sizer.catalog.engines
    why = engines[sizer.engine].why_not_on(machine.device)
    if why is None:
        return ""
    others = [name for name, engine in engines.items() if engine.why_not_on(machine.device) is None]
    if not others:
        return why
    return f"{why}; {' and '.join(others)} {'does' if len(others) == 1 else 'do'} (--engine {others[0]})"


def _here(sizer: ModelSizer, estimates: Sequence[Estimate], machine: Machine) -> str:
    """The option that makes it fit the machine asked about, at the best precision that one does; nothing where none does."""
    tried: set[tuple[str, int]] = set()
    by_length = sorted(estimates, key=lambda each: (each.context_tokens, each.sequences))
    for found in sorted(by_length, key=lambda each: sizer.quality(each.precision), reverse=True):
        if (found.precision, found.sequences) in tried:
            continue  # the shortest length asked about was not enough
        tried.add((found.precision, found.sequences))
        option = _option(sizer, found, machine)
        if option:
            return f"{option} holds it at {found.precision.upper()}"
    return ""


def _option(sizer: ModelSizer, estimate: Estimate, machine: Machine) -> str:
    """More of the machine's own devices, else a setting of the engine, that is enough alone."""
    for make in (tensor_parallel, engine_setting):
        cut = make(sizer, estimate, machine)
        if cut is not None and cut.fits:
            return cut.option
    return ""


def _how_far(sizer: ModelSizer, best: Estimate, machine: Machine) -> str:
    """How long a context fits, for a model that has one, what lies beside the device then, and where it is tight."""

    def tightness(tokens: int) -> str:
        return _tightness(sizer, best.precision, tokens, best.sequences, machine)

    if sizer.spec.cached_stack is None:
        return f" with inputs of {format_tokens(best.context_tokens)} tokens{_beside(best)}{tightness(best.context_tokens)}"
    several = f" in each of {best.sequences} sequences" if best.sequences > 1 else ""
    limit = sizer.spec.max_context_tokens
    if limit is not None and best.context_tokens > limit:
        past = f", past the model's limit of {format_tokens(limit)}"
        return f" with {format_tokens(best.context_tokens)} tokens{several}{past}{_beside(best)}{tightness(best.context_tokens)}"
    most = MOST_TOKENS if limit is None else limit
    longest = largest(lambda tokens: bool(sizer(best.precision, tokens, best.sequences, machine).fits), most)
    reached = longest or best.context_tokens
    beside = _beside(sizer(best.precision, reached, best.sequences, machine)) + tightness(reached)
    if limit is None and longest == MOST_TOKENS:
        return f" at any context{several}{beside}"
    model_limit = ", the model's limit" if longest == limit else ""
    if not sizer.spec.writes:
        return f" with inputs of up to {format_tokens(reached)} tokens{several}{model_limit}{beside}"
    return f" up to {format_tokens(reached)} tokens{several}{model_limit}{beside}"


def _tightness(sizer: ModelSizer, precision: str, tokens: int, sequences: int, machine: Machine) -> str:
    """That the high end of the range is past what the device offers, and up to which length it is not.

    Nothing is said of off-loaded weights: what the device has no room for lies beside it.
    """

    def at(count: int) -> MemoryEstimate:
        return sizer(precision, count, sequences, machine)

    found = at(tokens)
    if not found.tight or found.host_is_used:
        return ""
    safe = largest(lambda count: bool(at(count).fits) and not at(count).tight, tokens)
    return ", tight" + (f" beyond {format_tokens(safe)}" if safe else "") + " by the high end of the estimate"


def _beside(estimate: MemoryEstimate) -> str:
    """The weights that are not on the device, which make it slow."""
    if estimate.host is None or not estimate.host_is_used:
        return ""
    disk = f" ({format_bytes(estimate.host.disk_bytes)} on disk)" if estimate.host.disk_bytes else ""
    return f", with {format_bytes(estimate.host.weights_bytes)} of its weights off-loaded{disk}"


def _against(estimate: Estimate) -> str:
    """Need and offer, where the engine and not the device sets what is offered."""
    if not estimate.budget_reason or estimate.device_budget_bytes is None:
        return ""
    need, offer = format_bytes(estimate.needed_bytes), format_bytes(estimate.device_budget_bytes)
    return f" ({need} against {offer}, {estimate.budget_reason})"


def _shortfall(sizer: ModelSizer, estimates: Sequence[Estimate], best: Estimate, machine: Machine) -> str:
    """What the next better precision lacks, the repository's own before others, and the option that is enough for it."""
    reached = {found.precision for found in estimates if found.fits}
    better = [
        found
        for found in estimates
        if found.precision not in reached
        and (sizer.quality(found.precision) > sizer.quality(best.precision) or found.precision == "stored")
    ]
    if not better:
        return ""
    nearest = min(
        better, key=lambda found: (found.precision != "stored", sizer.bits(found.precision), found.needed_bytes)
    )
    if nearest.refused is not None:
        return f"; at {nearest.precision.upper()} {nearest.refused}"
    missing = format_bytes(nearest.short_bytes)
    option = _option(sizer, nearest, machine)
    enough = f", which {option} gives" if option else ""
    return f"; at {nearest.precision.upper()} you are {missing} short{_against(nearest)}{enough}"


def _rescue(sizer: ModelSizer, estimate: Estimate, machine: Machine) -> str:
    if estimate.host is not None and estimate.host.short_bytes:
        return f"{format_bytes(estimate.host.bytes)} of main memory are needed beside the device"
    if estimate.host_is_used:
        option = "gpu_layers=auto" if estimate.engine == "llama.cpp" else "max_memory=SIZE"
        return f"a shorter context or --engine-option {option} leaves more room on the device"
    experts = host_experts(sizer, estimate, machine)
    beside = f"{experts.option} holds it with {experts.change}; " if experts is not None and experts.fits else ""
    return beside + _holder(sizer, estimate)


def _holder(sizer: ModelSizer, estimate: Estimate) -> str:
    """The smallest device of the catalog that holds it, or the fewest of one kind."""
    holder = smallest_device(sizer, estimate.precision, estimate.context_tokens, estimate.sequences, sizer.devices())
    if holder is None:
        several = several_devices(sizer, estimate)
        if several is None:
            return "no single device of the catalog holds it"
        device, _, count = several.partition(":")
        return f"no device alone holds it; {count} x {sizer.catalog.devices[device].name} do (--gpu {several})"
    return f"smallest device that holds it: {sizer.catalog.devices[holder].name} (--gpu {holder})"
