"""The parts of one pass and what each takes at nominal rates: what efficiency is relative to.

Launching layers, reading weights, reading the cache, multiplying, attending, exchanging between devices, and in a decode step what each
sequence (choosing a token) and each expert takes of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.speed.kernels import matrix_rate

if TYPE_CHECKING:
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.setting import Setting

Phase = Literal["prefill", "decode"]
Quantity = Literal["prefill", "decode", "throughput"]
Part = Literal["launch", "weights", "cache", "linear", "attention", "exchange", "sequence", "experts"]
PARTS: tuple[Part, ...] = ("launch", "weights", "cache", "linear", "attention", "exchange", "sequence", "experts")

LAYER_S = 1e-5
"""Nominal time to launch one layer: what effects of `launch` are relative to."""

SEQUENCE_S = 2e-5
"""Nominal time that each sequence of a decode step takes beside the model: choosing a token, writing it out, planning the next step."""

EXPERT_S = 1e-6
"""Nominal time that one expert of a layer takes in a decode step beside its weights: a small product of its own."""

EXCHANGE_S = 8e-6
"""Nominal latency of one all-reduce; every layer has two."""

LINK_BYTES_PER_S = 250e9
PCIE_BYTES_PER_S = 20e9
"""Nominal rates between devices in tensor parallel: of NVLink and its kin within as many as one joins (`Device.link_devices`), of PCIe 4.0 x16
between devices without, and for each device between groups of those with (their share of a network)."""

OVERLAP_POWER = 4.0
"""What overlaps takes (a ** p + b ** p) ** (1 / p) together, nearly the longer of both: reading and computing do."""

PROMPT_STEP_TOKENS = {"llama.cpp": 512}
MOST_PROMPT_STEP_TOKENS = 8192
"""Tokens of a prompt that pass through a tower together; longer prompts take several passes."""

MOST_STEPS_IN_FLIGHT = 4
"""Steps of a prompt that llama.cpp has under way at once over several cards: the copies that its scheduler keeps (GGML_SCHED_MAX_COPIES)."""


class Nominal(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that the parts of one pass would take at nominal rates, in the order of PARTS; None: the matrix rate is unknown."""

    launch: float
    weights: float
    cache: float
    linear: float | None
    attention: float | None
    exchange: float
    sequence: float
    experts: float


def nominal(tower: TowerPass, setting: Setting, phase: Phase) -> Nominal:
    """Nominal seconds of the parts of a pass; weights, cache and operations are divided over the ranks of tensor parallel.

    The bytes of a cache are those of all ranks together, as they are sized: what several hold a copy of counts as often.
    """
    at_once = share_over_stages(tower.tokens, setting)
    device, ranks = setting.device, setting.ranks
    bandwidth = float(device.bandwidth_bytes_per_s or 0)
    rate = matrix_rate(device, setting.kernel, setting.engine)
    exchange = 0.0
    if ranks > 1:
        moved = 4.0 * tower.tokens * tower.hidden_dim * (ranks - 1) / ranks
        exchange = (
            2 * tower.layers * (tower.steps * EXCHANGE_S + moved * exchange_s_per_byte(ranks, device.link_devices))
        )
    return Nominal(
        launch=tower.layers * tower.steps * LAYER_S * setting.launches * at_once,
        weights=tower.weight_bytes * tower.steps / ranks / bandwidth * at_once,
        cache=tower.cache_bytes / ranks / bandwidth,
        linear=None if rate is None else _matrix_operations(tower) / ranks / rate * at_once,
        attention=_attention_s(tower, rate, bandwidth, phase, ranks, at_once),
        exchange=exchange,
        sequence=tower.tokens * SEQUENCE_S if phase == "decode" else 0.0,
        experts=tower.experts / ranks * EXPERT_S * at_once if phase == "decode" else 0.0,
    )


def exchange_s_per_byte(ranks: int, link_devices: int) -> float:
    """Seconds a byte of an all-reduce takes: over the link within a group of devices that it joins, and between groups a share for each of them.

    >>> [round(1e12 * exchange_s_per_byte(4, joined)) for joined in (8, 2, 1)]
    [4, 29, 50]
    """
    within = 1 / LINK_BYTES_PER_S if link_devices > 1 else 0.0
    return within + (1 / link_devices / PCIE_BYTES_PER_S if ranks > link_devices else 0.0)


def _matrix_operations(tower: TowerPass) -> float:
    """Operations of products of matrices over the tokens of the pass: of all weights, and of attention whose heads share one key and value."""
    own = tower.operations - tower.attention_operations - tower.expanding_operations
    return own + tower.shared_attention_operations


def _attention_s(
    tower: TowerPass, rate: float | None, bandwidth: float, phase: Phase, ranks: int, at_once: float
) -> float | None:
    """Seconds of attention: of a prompt by its operations; of a decode step by what every query head reads of keys and values.

    With 2 bytes an element that is one byte per operation. Query heads that share keys and values read them from a cache of the chip:
    it costs less than main memory, and not nothing. A key and value that all of them share is read once, with the cache.
    """
    if phase == "decode":
        return (tower.attention_operations - tower.shared_attention_operations) / ranks / bandwidth
    return None if rate is None else tower.attention_operations / ranks / rate * at_once


def share_over_stages(tokens: int, setting: Setting) -> float:
    """Time of a pass over the layers of several cards, as a share of what one card would take for all of them.

    The steps of a long prompt follow each other through the stages: n steps over k stages take n + k - 1 turns instead of n * k.

    >>> from fmkit.machine import Device
    >>> from fmkit.speed.setting import Setting
    >>> card = Device(id="x", name="X", vendor="nvidia", device_class="consumer", memory_bytes=None, bandwidth_bytes_per_s=None)
    >>> four_cards = Setting(engine="llama.cpp", device=card, kernel="q4", mixture=False, stages=4)
    >>> [round(share_over_stages(tokens, four_cards), 3) for tokens in (1, 512, 1024, 4096)]
    [1.0, 1.0, 0.625, 0.344]
    """
    most = PROMPT_STEP_TOKENS.get(setting.engine)
    if most is None or setting.stages == 1:
        return 1.0
    steps, stages = max(1.0, tokens / most), min(setting.stages, MOST_STEPS_IN_FLIGHT)
    return (steps + stages - 1) / (steps * stages)


def joined(
    launch: float,
    weights: float,
    cache: float,
    linear: float,
    attention: float,
    exchange: float,
    sequence: float,
    experts: float,
    *,
    overlaps: bool,
    decoding: bool = True,
) -> float:
    """Seconds of a pass from those of its parts: the longer of reading and computing, and what does not hide behind it.

    >>> round(joined(0.002, 0.010, 0.001, 0.0001, 0.0, 0.0, 0.0, 0.0, overlaps=False), 4)
    0.013
    >>> round(joined(0.002, 0.010, 0.001, 0.0001, 0.0, 0.0, 0.0, 0.0, overlaps=True), 4)
    0.011
    """
    read, computed = (weights + cache + attention, linear) if decoding else (weights + cache, linear + attention)
    side_by_side = [read, computed, *([launch] if overlaps else [])]
    core: float = sum(time**OVERLAP_POWER for time in side_by_side) ** (1 / OVERLAP_POWER)
    return core + exchange + sequence + experts + (0.0 if overlaps else launch)


def roof_s(tower: TowerPass, setting: Setting, *, decoding: bool) -> float:
    """Seconds of a pass at the one nominal rate that bounds it: of the memory a decode step reads, of the units a prompt is multiplied in."""
    parts = nominal(tower, setting, "decode" if decoding else "prefill")
    return parts.weights + parts.cache if decoding else (parts.linear or 0.0) + (parts.attention or 0.0)
