"""What the memory of the devices of a measured row holds: weights as stated, what spills into main memory, sequences of a full server."""

from __future__ import annotations

import re

from fmkit.catalog.measurements import LatencyMeasurement
from fmkit.machine import catalog_machine
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.speed.setting import Setting

SATURATED_SHARE = 0.9
"""Share of the memory that a server gives to weights and cache."""
MOST_RUNNING = 4096
MOST_DIFFERENCE = (0.6, 1.7)
"""A file further than this from the layout that stands for it is another model's."""
SPILL_BYTES = 1_000_000_000
"""What llama.cpp leaves free of a card, or takes for buffers, when it puts as many layers there as fit (assumed)."""


def weight_bytes(spec: ModelSpec, layout: Layout) -> int:
    """Bytes of all weights in the layout."""
    return sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)


def cache_bytes(spec: ModelSpec, context_tokens: int, element_bytes: int) -> int:
    """Bytes of one sequence's cache."""
    stack = spec.cached_stack
    assert stack is not None
    return sum(block.mixer.cache_bytes(context_tokens, 0, element_bytes) * block.count for block in stack.blocks)


def stated_share(row: LatencyMeasurement, spec: ModelSpec, layout: Layout) -> float:
    """Bytes of the weights that a row states over those of the layout that stands for its mix; 1 where it states none.

    Mixes of llama.cpp that follow no rule (UD types, MXFP4 with the rest in 16 bit) are known to their files only. EXL2 says its bits.
    """
    own = weight_bytes(spec, layout)
    bits = re.search(r"(\d+\.\d+) bpw", row.quant)
    if bits is not None:
        return spec.params * float(bits[1]) / 8 / own
    found = re.search(r"weights (\d{8,}) B\b", row.notes)
    if found is None:
        return 1.0
    share = int(found[1]) / own
    return share if MOST_DIFFERENCE[0] < share < MOST_DIFFERENCE[1] else 1.0


def spilt_share(row: LatencyMeasurement, spec: ModelSpec, layout: Layout, setting: Setting, cached_bytes: int) -> float:
    """The share of the weights that ollama and its like keep in main memory, where a card can't hold them all.

    The rows don't record it, but a model that is larger than the memory can't have run otherwise.
    """
    device = setting.device
    if setting.engine != "llama.cpp" or device.memory_bytes is None or device.unified_memory:
        return 0.0
    weights = round(weight_bytes(spec, layout) * stated_share(row, spec, layout))
    usable = catalog_machine(device, setting.stages).usable_bytes * setting.stages
    return 0.0 if weights <= usable else 1 - max(0, usable - cached_bytes - SPILL_BYTES) / weights


def running(spec: ModelSpec, layout: Layout, setting: Setting, full_tokens: int, element_bytes: int) -> int:
    """Sequences of so many tokens that the memory of all devices holds beside the weights."""
    devices = setting.ranks * setting.stages
    free = SATURATED_SHARE * (setting.device.memory_bytes or 0) * devices - weight_bytes(spec, layout)
    return int(max(1, min(free / max(cache_bytes(spec, full_tokens, element_bytes), 1), MOST_RUNNING)))
