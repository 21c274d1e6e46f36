"""What `fmkit recommend` is asked: a task or a phrase, options, a machine, and the models that may be chosen from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fmkit.api.layouts import layout_for
from fmkit.api.machines import resolve_machine
from fmkit.api.pool import families, known, pool_for
from fmkit.selection.asking import build_request
from fmkit.selection.device_names import device_spellings
from fmkit.selection.phrase import Phrase, is_phrase, parse_phrase
from fmkit.selection.task_names import known_task
from fmkit.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.selection.facts import Task
    from fmkit.selection.pool import Pool
    from fmkit.selection.request import Request


class Question(NamedTuple):
    """A question as it was understood: `asked` are the words of the phrase with the options over them."""

    phrase: Phrase
    asked: Mapping[str, Any]
    request: Request
    engine_asked: bool
    pool: Pool
    catalog: Catalog


def read_question(
    task: str, options: Mapping[str, Any], catalog: Catalog, *, engine: str | None, uses_trials: bool
) -> Question:
    """The question that a task (or phrase) and the options pose; UsageError for what can't be read.

    An option that was not given (None, False) leaves what the phrase says.
    """
    phrase = _read_task(task, catalog)
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    asked = {**phrase.options, **given}
    machine = _machine(asked, catalog, both_given="gpu" in given and "memory" in given)
    machine = msgspec.structs.replace(machine, uses_trials=uses_trials)
    names = known(catalog)
    chosen = engine or default_engine(catalog.tasks[phrase.task], machine)
    if engine is None and not names.has_precisions(chosen, asked.get("precision")):
        chosen = "transformers"
    layout_for(chosen, "fp16", catalog)
    named = any(asked.get(name) for name in ("gpu", "memory", "here"))
    request = build_request(phrase.task, {**asked, "engine": chosen}, names, hardware_named=named)
    pool = pool_for(catalog.tasks[phrase.task], request, machine, catalog)
    return Question(phrase, asked, request, engine is not None, pool, catalog)


def default_engine(task: Task, machine: Machine) -> str:
    """The engine that models for `task` are judged in on `machine` when none was named.

    Cards with a memory of their own are served with vLLM, memory shared with a GPU with llama.cpp; transformers, which `fmkit try` loads
    without a server or a converted file, is for processors, bare sizes, and the tasks of encoders, speech and pictures
    that the other two run in part only.
    """
    device = machine.device
    texts_only = set(task.inputs) == {"text"} and task.output_tokens > 0
    if device is None or not texts_only or {"encoder", "encoder-decoder"} & set(task.kinds):
        return "transformers"
    if device.vendor == "apple" or (device.unified_memory and device.device_class != "cpu"):
        return "llama.cpp"
    return "vllm" if device.vendor in {"nvidia", "amd"} and device.device_class != "cpu" else "transformers"


def _read_task(text: str, catalog: Catalog) -> Phrase:
    if is_phrase(text):
        devices = device_spellings(catalog.devices, catalog.device_aliases)
        return parse_phrase(text, catalog.tasks, devices, families(catalog))
    task = known_task(text, catalog.tasks)
    return Phrase(task=task, options={}, understood={"task": text.strip()}, not_understood=())


def _machine(asked: Mapping[str, Any], catalog: Catalog, *, both_given: bool) -> Machine:
    """The machine asked about. A phrase may name a device and a size: the size is then what the device may spend."""
    gpu, memory = asked.get("gpu"), asked.get("memory")
    if gpu is None or memory is None or both_given:
        return resolve_machine(gpu, memory, catalog)
    machine = resolve_machine(gpu, None, catalog)
    cap = min(parse_size(memory, where="TASK"), machine.usable_bytes)
    return msgspec.structs.replace(machine, usable_bytes=cap, reserve_reason=f"at most {memory} of it, as asked")
