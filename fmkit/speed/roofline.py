"""How long a prompt and a step take on a machine: operations and bytes of a pass, and what the machine reaches of its rates.

What it reaches is measured on this machine (`fmkit hardware measure`), or fitted to published measurements (`SpeedFit`); the basis
says which, and decides the width of the range.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from fmkit.speed.estimate import Bound, Range, SpeedEstimate
from fmkit.speed.kernels import WEIGHTS_NAMED, emulated, kernel_of
from fmkit.speed.loading import load_estimate
from fmkit.speed.operations import Reading, decode_pass, reading_passes
from fmkit.speed.physics import bounds
from fmkit.speed.reasons import reason_of
from fmkit.speed.speech import real_time_range
from fmkit.speed.timing import converts, timing_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.efficiency import SpeedFit
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.rates import MachineRates
    from fmkit.speed.setting import Setting
    from fmkit.speed.timing import Timing

POWER_SHARE = Range(low=0.52, median=0.78, high=0.95)
"""Power drawn while decoding over the device's limit: 245 runs of vLLM on H100 and B200, tenth and ninetieth percentile
(ml-energy/leaderboard, rows of catalog/measurements/latency.csv; median 0.67 at 8 to 16 sequences, 0.83 above 64)."""


def estimate(
    spec: ModelSpec,
    memory: MemoryEstimate,
    layout: Layout,
    machine: Machine | None,
    fit: SpeedFit,
    prompt_tokens: int | None = None,
    images: int | None = None,
    rates: MachineRates | None = None,
) -> SpeedEstimate | None:
    """Speed of `spec` on `machine` at the workload of `memory`; None where it can't be told: `missing_reason` says why.

    `prompt_tokens` defaults to all that the workload holds; `images` per sequence, to one for a model that takes images, as memory
    does. Rates are tokens per second; `throughput` counts the generated tokens of all sequences. An encoder has no decode rate;
    its `prefill_tokens_per_s` is the rate at which it reads; a model of speech reads no tokens. `rates` are what was measured on this machine.
    """
    timing = timing_on(spec, memory, layout, machine, fit, rates)
    if timing is None:
        return None
    reading, read_tokens = _reading(spec, memory, prompt_tokens, images)
    towers = reading_passes(spec, layout, reading)
    read_s = timing.reading_s(towers)
    images_s = timing.reading_s([tower for tower in towers if tower.role in ("vision", "qformer")])
    step = decode_pass(spec, layout, memory.context_tokens, memory.sequences, memory.cache_bytes, memory.engine)
    step_s = None if step is None else timing.step_s(step)
    bounded = bounds(spec, timing, memory, reading, towers, step)
    read_s = None if read_s is None else max(read_s, bounded.quickest_read_s)
    read_s, step_s = _at_most(read_s, bounded.most_read_s), _at_most(step_s, bounded.most_step_s)
    count = memory.sequences
    texts = step is None and spec.stacks[0].role in ("encoder", "decoder") and not reading.images
    reads = timing.range("prefill", 1 / read_s, _per_s(bounded.least_read_s)) if read_s else None
    wait = reads.inverse() if reads else None
    rate = timing.range("decode", 1 / step_s, _per_s(bounded.least_step_s)) if step_s else None
    throughput = rate.times(count) if rate else None
    return SpeedEstimate(
        ttft_s=wait,
        prefill_tokens_per_s=reads.times(read_tokens * count) if reads and spec.kind != "speech" else None,
        decode_tokens_per_s=rate,
        throughput_tokens_per_s=throughput,
        images_per_s=timing.range("prefill", reading.images * count / images_s) if images_s else None,
        texts_per_s=reads.times(count) if reads and texts else None,
        real_time_factor=real_time_range(wait, rate, count) if spec.kind == "speech" and wait and rate else None,
        basis=timing.basis("decode" if step is not None else "prefill"),
        bound=_bound(timing, towers, step, step_s, read_s),
        reason=reason_of(timing, towers, step, reads, rate, layout.rest_dtype_for(spec.config_dtype)),
        energy_j_per_1k_tokens=_energy(timing.setting, throughput),
        load=load_estimate(spec, memory, layout, machine, rates) if machine is not None else None,
        prefill_basis=timing.figure_basis("prefill") if reads else None,
        decode_basis=timing.figure_basis("decode") if rate else None,
    )


def missing_reason(memory: MemoryEstimate, machine: Machine | None, layout: Layout | None = None) -> str:
    """Why `estimate` gave no speed for this memory on this machine. `machine` is the one that was handed to `estimate`."""
    device = machine.device if machine is not None else None
    if memory.refused is not None:
        return memory.refused
    if device is None:
        return "no device is named, and a size of memory says nothing about speed"
    if layout is not None and emulated(device, kernel_of(layout), memory.engine):
        weights = WEIGHTS_NAMED[kernel_of(layout)]
        return f"{memory.engine} has no {weights} kernels for {device.name}: it unpacks the weights for each product, and nobody measured how slow that is"
    if converts(memory, device):
        return "PyTorch converts float16 on this CPU; not measured: run fmkit hardware measure --thorough"
    if device.bandwidth_bytes_per_s is None:
        return f"the memory bandwidth of {device.name} is unknown"
    kind = "a CPU" if device.device_class == "cpu" else "an accelerator"
    return f"nobody measured {memory.engine} at {memory.precision.upper()} on {kind} for us"


def _reading(
    spec: ModelSpec, memory: MemoryEstimate, prompt_tokens: int | None, images: int | None
) -> tuple[Reading, int]:
    """What is read before the first token, and the tokens that its rate counts: of the encoder, where text goes in there."""
    prompt = min(prompt_tokens or memory.context_tokens, memory.context_tokens)
    encoder = memory.encoder_tokens
    if spec.cached_stack is not None and spec.stack("encoder") is not None and encoder:
        prompt = encoder = min(prompt_tokens or encoder, encoder)
    elif spec.stack("audio") is not None:
        prompt = min(prompt_tokens or 1, memory.context_tokens)
    seen = images if images is not None else 1
    reading = Reading(
        prompt_tokens=prompt,
        encoder_tokens=encoder,
        images=seen if spec.stack("vision") is not None else 0,
        sequences=memory.sequences,
    )
    return reading, prompt


def _bound(
    timing: Timing, towers: Sequence[TowerPass], step: TowerPass | None, step_s: float | None, read_s: float | None
) -> Bound:
    """What a decode step (a pass, where nothing decodes) mostly waits for."""
    if step is not None and step_s is not None:
        return timing.step_bound(step, step_s)
    launch_s = sum(timing.launch_s(tower, decoding=False) for tower in towers)
    return "overhead" if read_s is not None and launch_s > read_s / 2 else "compute"


def _energy(setting: Setting, throughput: Range | None) -> Range | None:
    """Joules that all devices take for 1,000 tokens: their power limit, the share of it that is drawn, and the time."""
    limit = setting.device.power_w
    if throughput is None or limit is None or setting.device.device_class == "cpu":
        return None
    joules = 1000 * limit * setting.ranks * setting.stages
    return Range(
        low=joules * POWER_SHARE.low / throughput.high,
        median=joules * POWER_SHARE.median / throughput.median,
        high=joules * POWER_SHARE.high / throughput.low,
    )


def _at_most(seconds: float | None, most_s: float | None) -> float | None:
    return seconds if seconds is None or most_s is None else min(seconds, most_s)


def _per_s(seconds: float) -> float:
    """The rate that a time means; no bound for none."""
    return 1 / seconds if seconds else inf
