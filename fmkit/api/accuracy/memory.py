"""Rows of measured memory, held against the estimate for the same model, engine, weights and settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.accuracy.comparison import Comparison, Quantity
from fmkit.api.accuracy.subject import NotScored, Subject, machine_of, not_sized, subject_of
from fmkit.catalog.measurements import row_settings
from fmkit.errors import FmkitError
from fmkit.machine import Machine, memory_machine
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.sizing.runtime import vendor_of
from fmkit.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import MemoryMeasurement, RowSettings

UNNAMED = ("unspecified", "generic", "mixed")
"""Words in an accelerator id that name no device."""

PREALLOCATING = ("vllm", "sglang", "tensorrt")
"""Engines whose peak is the share of the card they were given, not what the model needs."""


class MemoryCase(msgspec.Struct, frozen=True, kw_only=True):
    """A row with what it is of, and the settings it was run with.

    Where the layout of the weights is unknown the estimate has them in 16 bit: only figures that don't depend on them
    are scored.
    """

    row: MemoryMeasurement
    subject: Subject
    workload: Workload
    machine: Machine
    is_device_known: bool
    estimate: MemoryEstimate

    @property
    def ranks(self) -> int:
        """Devices that a figure `per GPU` is one of."""
        return (self.row.tp or 1) if self.row.scope == "per GPU" else 1

    def part_bytes(self, part: str) -> int:
        """Bytes of the estimate's lines of a part, per device where the row counts so."""
        found = sum(line.bytes for line in self.estimate.lines if line.kind == part)
        return found // self.ranks


def figures_of(row: MemoryMeasurement) -> dict[Quantity, float]:
    """What a row measured: bytes, and whether memory ran out (1) or not (0).

    A cache that an engine fills is what was left for it, and is scored through the tokens it held; a negative one held
    none. A peak is none for an engine that takes its share of the card whatever the model needs.
    """
    found: dict[Quantity, float] = {}
    engine = row.engine.casefold()
    fills = engine.startswith(PREALLOCATING)
    if row.weights_bytes:
        found["weights"] = row.weights_bytes
    kept = max(0, row.kv_bytes or 0) + (row.recurrent_state_bytes or 0)
    if kept and (row.kv_tokens or not fills):
        found["cache"] = kept
    if row.activation_bytes:
        found["activations"] = row.activation_bytes
    if fills and row.weights_bytes and row.activation_bytes and row.overhead_bytes:
        found["total"] = row.weights_bytes + row.activation_bytes + row.overhead_bytes
    elif row.peak_total_bytes and not fills:
        found["total"] = row.peak_total_bytes
    device_named = not any(word in row.accelerator_id for word in UNNAMED) or row.gpu_total_bytes
    if device_named and (row.context_tokens or row.outcome == "OOM"):
        found["oom"] = float(row.outcome == "OOM")
    return found


def memory_comparisons(row: MemoryMeasurement, catalog: Catalog) -> Iterator[Comparison | tuple[Quantity, str]]:
    """A comparison for each figure of a row, or the figure and why it is left out; NotScored where nothing can be."""
    from fmkit.api.accuracy import llama_cpp, transformers, vllm  # noqa: PLC0415 - they need the types above

    rules = {"llama.cpp": llama_cpp, "transformers": transformers, "vllm": vllm}
    subject = subject_of(row, catalog)
    settings = row_settings().get(row.measurement_id)
    left_out = settings.left_out.split() if settings is not None else []
    if settings is not None and "all" in left_out:
        raise NotScored(settings.reason)
    case = _case(row, subject, catalog, rules[subject.engine].options_of(row), settings)
    for quantity, measured in figures_of(row).items():
        if settings is not None and quantity in left_out:
            yield quantity, settings.reason
            continue
        try:
            if quantity == "oom":
                predicted, low, high, note = _out_of_memory(case)
            else:
                predicted, low, high, note = rules[subject.engine].predict(case, quantity, catalog)
        except NotScored as reason:
            yield quantity, str(reason)
            continue
        yield Comparison(
            measurement_id=row.measurement_id,
            quantity=quantity,
            engine=subject.engine,
            engine_version=row.engine_version,
            device=row.accelerator_id,
            predicted=predicted,
            low=low,
            high=high,
            measured=measured,
            note=note,
            weights_alone_too_large=_weights_alone_too_large(case) if quantity == "oom" else None,
        )


def _case(
    row: MemoryMeasurement, subject: Subject, catalog: Catalog, options: dict[str, str], settings: RowSettings | None
) -> MemoryCase:
    """The estimate that fmkit gives for a row's settings. A row that names no context was a short run."""
    if settings is not None:
        options |= dict(pair.split("=", 1) for pair in settings.options.split())
        if settings.layout:
            subject = msgspec.structs.replace(subject, layout=catalog.layouts[settings.layout], exact=True)
    layout = subject.layout or catalog.layouts["gguf-f16" if subject.engine == "llama.cpp" else "plain-16"]
    sequences = sequences_of(row)
    tokens = row.context_tokens or (row.prompt_tokens or 0) + (row.gen_tokens or 512)
    workload = Workload(
        context_tokens=max(1, tokens // (sequences if "total" in row.scope and not row.batch else 1)),
        sequences=sequences,
        options=options,
        tensor_parallel=(row.tp or 1) if subject.engine == "vllm" else 1,
    )
    known = _known_machine(row, catalog)
    machine = known or _any_machine(row)
    try:
        found = estimate(subject.spec, catalog.engines[subject.engine], layout, subject.precision, workload, machine)
    except FmkitError as error:
        raise NotScored(not_sized(error)) from error
    return MemoryCase(
        row=row,
        subject=subject,
        workload=workload,
        machine=machine,
        is_device_known=known is not None,
        estimate=found,
    )


def sequences_of(row: MemoryMeasurement) -> int:
    """Sequences that a row's context is for: its batch, or the slots or beams that its note or log tells of."""
    if row.batch:
        return row.batch
    told = re.search(r"(?:x|\b)(\d+) (?:seqs|slots)|\bbeam (\d+)", f"{row.notes} {row.reported}")
    return int(told[1] or told[2]) if told else 1


def _known_machine(row: MemoryMeasurement, catalog: Catalog) -> Machine | None:
    """The devices of a row: with the memory its log tells of, else as the catalog has them."""
    found = machine_of(row, catalog)
    if row.gpu_total_bytes:
        bare = memory_machine(row.gpu_total_bytes)
        return bare if found is None else msgspec.structs.replace(bare, device=found.device, origin="catalog")
    return found


def _any_machine(row: MemoryMeasurement) -> Machine:
    """A device that no verdict is asked for: the lines of an estimate need to know what kind it is.

    A row on a bare CPU gets a machine without an accelerator.
    """
    bare = memory_machine(80 * GIB)
    if row.accelerator_id.startswith("cpu"):
        return msgspec.structs.replace(bare, origin="detected")
    return msgspec.structs.replace(bare, count=row.count or 1)


def _out_of_memory(case: MemoryCase) -> tuple[float, float, float, str]:
    """1 where the estimate does not fit the row's devices."""
    if case.subject.layout is None:
        raise NotScored(f"no layout is known for weights in {case.row.quant!r}")
    if not case.is_device_known:
        raise NotScored(f"the catalog has no device {case.row.accelerator_id}, or not which of its sizes it was")
    if not case.row.context_tokens and case.subject.engine != "transformers":
        raise NotScored("the row does not say for which context")
    estimated = case.estimate
    predicted = float(not estimated.fits)
    return predicted, predicted, predicted, ""


def _weights_alone_too_large(case: MemoryCase) -> bool:
    """Whether the weights alone exceed the nominal memory of all devices: the rule that most people use."""
    row = case.row
    stated = 0 if case.subject.exact else (row.weights_bytes or 0) * (row.tp or 1 if row.scope == "per GPU" else 1)
    return (stated or case.estimate.weights_bytes) > case.machine.memory_bytes * case.machine.count


def scaled(case: MemoryCase, part: str, predicted: float, catalog: Catalog) -> tuple[float, float, float]:
    """A part with the bounds that the engine's file states for it."""
    low, high = catalog.engines[case.subject.engine].bounds_of(part, vendor_of(case.machine)) or (1.0, 1.0)
    return predicted, predicted * low, predicted * high
