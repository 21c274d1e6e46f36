"""Mixtures that a device alone does not hold, and llama.cpp does with experts in main memory: what `fmkit recommend` says beside the exclusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.layouts import kept_as
from fmkit.api.model_sizer import ModelSizer
from fmkit.errors import ArchitectureUnknownError, UsageError
from fmkit.selection.request import context_need
from fmkit.sizing.cuts import host_experts
from fmkit.sizing.engines.plan import is_one_memory
from fmkit.sizing.estimate import Workload
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from fmkit.api.recommend_question import Question
    from fmkit.results.recommend import Excluded
    from fmkit.sizing.estimate import Cut

ENGINE = "llama.cpp"


def with_experts_beside(found: Excluded, question: Question) -> Excluded:
    """The exclusion with what llama.cpp could do, where that is enough, and the command that shows it."""
    machine = question.pool.machine
    if found.constraint != "memory" or machine.device is None or is_one_memory(machine):
        return found
    precision = _precision(found.model, question)
    cut = None if precision is None else _cut(found.model, precision, question)
    if precision is None or cut is None:
        return found
    gpu = question.asked.get("gpu")
    at = f" --gpu {gpu}" if gpu else ""
    context = format_tokens(context_need(question.request, question.pool.task)).replace(",", "")
    return msgspec.structs.replace(
        found,
        reason=f"{found.reason}; {ENGINE} holds it at {precision} with {cut.change} (n_cpu_moe=auto)",
        next=f"fmkit vram {found.model}{at} --engine {ENGINE} --precision {precision} --context {context} {cut.option}",
    )


def _precision(model: str, question: Question) -> str | None:
    """How a mixture would be kept: as llama.cpp's own files keep it, else with the fewest bits asked for; None for what is none."""
    catalog, engine = question.catalog, question.catalog.engines[ENGINE]
    spec = catalog.model(model).spec
    if spec is None or not spec.is_mixture or engine.why_not_on(question.pool.machine.device) is not None:
        return None
    asked = [name for name in question.request.precisions if name in engine.layouts]
    fewest = min(asked, key=lambda name: catalog.precisions[name].bits, default=None)
    return kept_as(ENGINE, catalog, spec) or fewest


def _cut(model: str, precision: str, question: Question) -> Cut | None:
    """The experts that would have to lie in main memory; None where that is not enough, or not what is missing."""
    spec, request = question.catalog.model(model).spec, question.request
    assert spec is not None
    tokens, machine = context_need(request, question.pool.task), question.pool.machine
    sizer = ModelSizer(spec, question.catalog, ENGINE, Workload(context_tokens=tokens, sequences=request.sequences))
    try:
        cut = host_experts(sizer, sizer(precision, tokens, request.sequences, machine), machine)
    except (ArchitectureUnknownError, UsageError):  # not sized in this engine
        return None
    return cut if cut is not None and cut.fits else None
