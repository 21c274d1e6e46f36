"""Memory rows of llama.cpp: buffers of its start-up log, sizes of files, and peaks of whole devices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.api.accuracy.memory import MemoryCase, scaled
from fmkit.api.accuracy.subject import NotScored
from fmkit.machine import memory_machine
from fmkit.model.gguf_mix import mixed
from fmkit.sizing.memory import estimate

if TYPE_CHECKING:
    from fmkit.api.accuracy.comparison import Quantity
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import MemoryMeasurement

FLASH_ATTENTION = re.compile(r"flash[-_ ]attn\s*=?\s*(\w+)", re.IGNORECASE)
UBATCH = re.compile(r"(?:n_)?ubatch\s*=?\s*(\d+)", re.IGNORECASE)
FLASH_BY_DEFAULT = "2025-09"
"""From this month on llama.cpp uses flash attention where it can (b6325); before, it had to be asked for."""
LAST_OUTPUTS_ONLY = "2026"
"""From this year on logits of the last tokens only are reserved; before, those of the whole micro-batch."""


def options_of(row: MemoryMeasurement) -> dict[str, str]:
    """Engine options that a row's notes tell of, else the defaults of its release by date."""
    stated = FLASH_ATTENTION.search(row.notes)
    flash = stated[1].casefold() not in ("off", "false", "0") if stated else row.date >= FLASH_BY_DEFAULT
    options = {"flash_attention": "on" if flash else "off"}
    if row.date < LAST_OUTPUTS_ONLY:
        options["outputs"] = "all"
    if row.kv_dtype not in ("", "f16", "fp16"):
        options |= {"cache_type_k": row.kv_dtype, "cache_type_v": row.kv_dtype}
    if ubatch := UBATCH.search(row.notes):
        options["ubatch"] = ubatch[1]
    if "i1-" in row.quant:
        options["imatrix"] = "true"
    return options


def predict(case: MemoryCase, quantity: Quantity, catalog: Catalog) -> tuple[float, float, float, str]:
    """Predicted bytes with bounds and a note; NotScored where the row's figure can't be compared."""
    row = case.row
    if quantity == "weights":
        if not case.subject.exact:
            raise NotScored(f"the mix of {row.quant!r} follows no rule: only the file's header knows its bytes")
        logged = row.weights_host_bytes is not None or bool(row.kv_bytes)
        size = _device_buffers(case, catalog) if logged else _file_bytes(case)
        return *scaled(case, "weights", size, catalog), "buffers on the device" if logged else "data of the whole file"
    if quantity == "cache":
        return *scaled(case, "cache", case.part_bytes("cache"), catalog), ""
    if quantity == "activations":
        lines = [line.bytes for line in case.estimate.lines if line.part == "activations: compute buffer"]
        return *scaled(case, "activations", sum(lines), catalog), "compute buffers of all devices"
    return _whole_device(case)


def _device_buffers(case: MemoryCase, catalog: Catalog) -> int:
    """Bytes of the weights in the device's own buffers: a log lists the embedding beside them, on a chip with one memory too."""
    layout, machine = case.subject.layout, case.machine
    if layout is None or machine.device is None or not machine.device.unified_memory:
        return case.part_bytes("weights")
    engine = catalog.engines["llama.cpp"]
    apart = memory_machine(machine.memory_bytes)
    return estimate(case.subject.spec, engine, layout, case.subject.precision, case.workload, apart).weights_bytes


def _file_bytes(case: MemoryCase) -> int:
    layout = case.subject.layout
    if layout is None or layout.file_type is None:
        raise NotScored("not a GGUF file")
    imatrix = "imatrix" in case.workload.options
    return sum(entry.bytes for entry in mixed(case.subject.spec, layout.file_type, imatrix=imatrix))


def _whole_device(case: MemoryCase) -> tuple[float, float, float, str]:
    """The peak of the whole device; where only the file's header knows the weights, the size of the file stands for them."""
    found, stated = case.estimate, case.row.weights_bytes
    if case.row.context_tokens is None:
        raise NotScored("the row does not say for which context, and llama.cpp allocates for all of it")
    more, note = 0, ""
    if not case.subject.exact:
        if not stated:
            raise NotScored(
                f"the mix of {case.row.quant!r} follows no rule, and the row does not say how large the file is"
            )
        more, note = stated - found.weights_bytes, "weights as the row states them"
    more += _embedding_in_gtt(case) if "GTT" in case.row.peak_method else 0
    return found.peak_bytes + more, found.low_bytes + more, found.high_bytes + more, note


def _embedding_in_gtt(case: MemoryCase) -> int:
    """What the memory that a graphics driver counts differs by from the file's bytes, on a chip with one memory.

    The token embedding stays with the host: HIP reads it from the file's pages, which the driver does not count; Vulkan
    puts it into a buffer of its own, which it does, beside the copy that the device gets where it is the output matrix
    too.
    """
    layout = case.subject.layout
    if layout is None or layout.file_type is None or not case.machine.device or not case.machine.device.unified_memory:
        return 0
    entries = mixed(case.subject.spec, layout.file_type, imatrix="imatrix" in case.workload.options)
    size = sum(entry.bytes for entry in entries if entry.tensor.is_input)
    tied = not any(entry.tensor.name == "output.weight" for entry in entries)
    if "vulkan" in case.row.engine_version:
        return size if tied else 0
    return 0 if tied else -size
