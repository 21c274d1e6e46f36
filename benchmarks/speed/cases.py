"""Measured rows as cases of the speed model: the passes that a row timed, and who ran them on what.

Model, weights and workload of a row are read as `fmkit accuracy` reads them (fmkit/api/accuracy). Engines that fmkit does not size are
kept here as evidence: what they have in common with others (launching, memory, kernels) is learnt from them too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

from benchmarks.speed.figures import Figure, figures
from benchmarks.speed.room import cache_bytes, running, spilt_share, stated_share
from benchmarks.speed.settings import device_of_row, layout_of_row, setting_of_row
from fmkit.api.accuracy.latency import reads_token_by_token
from fmkit.api.accuracy.subject import NotScored, spec_of
from fmkit.catalog.load import Catalog
from fmkit.catalog.measurements import LatencyMeasurement, read_measurements, shipped_measurements
from fmkit.catalog.paths import source_folder
from fmkit.machine import Device
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.speed.offloaded import HostRates
from fmkit.speed.operations import Reading, TowerPass, decode_pass, reading_passes
from fmkit.speed.parts import MOST_PROMPT_STEP_TOKENS, PROMPT_STEP_TOKENS
from fmkit.speed.setting import Setting
from fmkit.speed.timing import in_steps

Rate = Literal["decode", "prefill", "throughput"]

CHUNK_TOKENS = 2048
"""Prompt tokens that a saturated server computes together: one request pays its share of a chunk."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One measured figure as seconds: `read_share` of the passes over the prompt, and `steps` times a decode step.

    `seconds` is what that took. `answer` turns seconds back into the rate that was printed: rate = answer / seconds. `host_s` of them
    are taken to go into weights that the card had no room for.
    """

    row: LatencyMeasurement
    rate: Rate
    saturated: bool
    seconds: float
    answer: float
    setting: Setting
    reads: tuple[TowerPass, ...]
    read_share: float
    step: TowerPass | None
    steps: float
    spec: ModelSpec
    layout: Layout
    context_tokens: int
    prompt_tokens: int
    sequences: int
    host_s: float = 0.0

    @property
    def device(self) -> Device:
        """The device, one of `ranks` or `stages`."""
        return self.setting.device

    @property
    def group(self) -> str:
        """Model and device: what is left out together."""
        return self.row.split_group


def cases_of(rows: tuple[LatencyMeasurement, ...], catalog: Catalog) -> tuple[list[Case], Counter[tuple[str, str]]]:
    """The cases of all rows, and how many rows are left out, by kind and reason."""
    found: list[Case] = []
    left_out: Counter[tuple[str, str]] = Counter()
    for row in rows:
        try:
            found += list(_cases(row, catalog))
        except NotScored as why:
            left_out[row.measures, re.sub(r"of .* in the catalog", "in the catalog", str(why))] += 1
    return found, left_out


def shipped_rows() -> tuple[LatencyMeasurement, ...]:
    """Published measurements, and our own of a CPU and of an H100."""
    folder = source_folder() / "measurements"
    own = [read_measurements(folder / name).latency for name in ("own_cpu.csv", "own_gpu.csv")]
    return (*shipped_measurements().latency, *own[0], *own[1])


def _cases(row: LatencyMeasurement, catalog: Catalog) -> Iterator[Case]:
    if row.spec_decode:
        raise NotScored("speculative decoding is not modelled")
    if row.trust == "C":
        raise NotScored("trust C: self-reported")
    spec, device = spec_of(row, catalog), device_of_row(row, catalog)
    layout = layout_of_row(row, spec, catalog)
    if spec.cached_stack is None or row.measures == "asr":
        raise NotScored("seconds of a recording: the tokens written are not stated")
    setting = setting_of_row(row, spec, device, layout)
    found = list(figures(row))
    if not found:
        raise NotScored("no rate that fmkit predicts")
    yield from (_case(row, spec, layout, setting, figure) for figure in found)


def _case(row: LatencyMeasurement, spec: ModelSpec, layout: Layout, setting: Setting, figure: Figure) -> Case:
    context = max(1, figure.context_tokens)
    element_bytes = 1 if row.kv_dtype.startswith("fp8") else 2
    sequences = max(1, round(row.batch or 1))
    if figure.rate == "saturated":
        full_tokens = figure.prompt_tokens + round(figure.answer_tokens)
        sequences = running(spec, layout, setting, full_tokens, element_bytes)
    cache = cache_bytes(spec, context, element_bytes) * sequences
    stated = stated_share(row, spec, layout)
    step = _resized(decode_pass(spec, layout, context, sequences, cache), stated)
    spilt = spilt_share(row, spec, layout, setting, cache) if figure.rate == "decode" else 0.0
    host_s = spilt * (step.weight_bytes if step is not None else 0) / HostRates().processor
    step = _resized(step, 1 - spilt)
    reads: tuple[TowerPass, ...] = ()
    per_s = figure.per_s * setting.ranks * setting.stages / (row.count or 1)  # of one copy of the model
    seconds, answer, steps, share = 1 / per_s, 1.0, 1.0, 1.0
    if figure.rate != "decode":
        together = max(1, CHUNK_TOKENS // figure.prompt_tokens) if figure.rate == "saturated" else sequences
        parallel, share = (1, 1 / together) if figure.rate == "saturated" else (sequences, 1.0)
        passes = _reads(spec, layout, setting, figure.prompt_tokens, together)
        reads = tuple(found for one in passes if (found := _resized(one, stated)) is not None)
        tokens = figure.answer_tokens + (
            figure.prompt_tokens if figure.counts_prompt or figure.rate == "prefill" else 0
        )
        answer = tokens * parallel
        seconds = answer / per_s
        steps = _steps(figure, sequences)
    if reads_token_by_token(row, setting.engine):
        reads, steps = (), steps + figure.prompt_tokens
    return Case(
        row=row,
        rate="throughput" if figure.rate == "saturated" else figure.rate,
        saturated=figure.rate == "saturated",
        seconds=seconds,
        answer=answer,
        setting=msgspec.structs.replace(setting, batched=sequences > 1),
        reads=reads,
        read_share=share,
        step=step if figure.rate != "prefill" else None,
        steps=steps,
        spec=spec,
        layout=layout,
        context_tokens=context,
        prompt_tokens=figure.prompt_tokens,
        sequences=sequences,
        host_s=host_s,
    )


def _resized(tower: TowerPass | None, share: float) -> TowerPass | None:
    """A pass that reads this share of the weights."""
    return tower and msgspec.structs.replace(tower, weight_bytes=round(tower.weight_bytes * share))


def _steps(figure: Figure, sequences: int) -> float:
    """Decode steps that a figure's seconds hold: of a static batch all but the first, of a saturated server a request's share."""
    if figure.rate == "prefill":
        return 0.0
    if figure.rate == "saturated":
        return figure.answer_tokens / sequences
    return max(0.0, figure.answer_tokens - 1)


def _reads(
    spec: ModelSpec, layout: Layout, setting: Setting, prompt_tokens: int, sequences: int
) -> tuple[TowerPass, ...]:
    """The decoder's passes over the prompts of so many sequences."""
    reading = Reading(prompt_tokens=prompt_tokens, sequences=sequences)
    most = PROMPT_STEP_TOKENS.get(setting.engine, MOST_PROMPT_STEP_TOKENS)
    return tuple(in_steps(one, most) for one in reading_passes(spec, layout, reading) if one.role == "decoder")
