"""Measured rows as cases of the speed model: the passes that a row timed, and who ran them on what.

Model, weights and workload of a row are read as `fmkit accuracy` reads them (fmkit/api/accuracy). Engines that fmkit does not size are
kept here as evidence: what they have in common with others (launching, memory, kernels) is learnt from them too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

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

    @property
    def shape_group(self) -> str:
        """The models of one shape on one device."""
        layers = ", ".join(str(stack.layers) for stack in self.spec.stacks)
        return f"{self.spec.params:,} weights in {layers} layers @ {self.device.id}"


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
    run = _Run(row, spec, layout, setting)
    yield from (_case(run, figure) for figure in found)


class _Run(NamedTuple):
    """Who ran which model with which weights in a row."""

    row: LatencyMeasurement
    spec: ModelSpec
    layout: Layout
    setting: Setting

    @property
    def element_bytes(self) -> int:
        """Bytes of an element of the cache."""
        return 1 if self.row.kv_dtype.startswith("fp8") else 2

    @property
    def stated(self) -> float:
        """The weights that the row states, over those of the layout."""
        return stated_share(self.row, self.spec, self.layout)


def _case(run: _Run, figure: Figure) -> Case:
    saturated, sequences = figure.rate == "saturated", _sequences(run, figure)
    # a saturated server computes the prompts of several requests together: a request pays its share
    together = max(1, CHUNK_TOKENS // figure.prompt_tokens) if saturated else sequences
    reads, steps = _reads(run, figure, together), _steps(figure, sequences)
    if reads and reads_token_by_token(run.row, run.setting.engine):
        reads, steps = (), steps + figure.prompt_tokens
    step, host_s = _step(run, figure, sequences)
    answer = _answer(figure, sequences)
    per_s = figure.per_s * run.setting.ranks * run.setting.stages / (run.row.count or 1)  # of one copy of the model
    return Case(
        row=run.row,
        rate="throughput" if figure.rate == "saturated" else figure.rate,
        saturated=saturated,
        seconds=answer / per_s,
        answer=answer,
        setting=msgspec.structs.replace(run.setting, batched=sequences > 1),
        reads=reads,
        read_share=1 / together if saturated else 1.0,
        step=step,
        steps=steps,
        spec=run.spec,
        layout=run.layout,
        context_tokens=_held(figure),
        prompt_tokens=figure.prompt_tokens,
        sequences=sequences,
        host_s=host_s,
    )


def _held(figure: Figure) -> int:
    """Tokens that each sequence holds, the new one included."""
    return max(1, figure.context_tokens)


def _sequences(run: _Run, figure: Figure) -> int:
    """Sequences that run together: as many as the row says, in a saturated server as many as its memory holds."""
    if figure.rate != "saturated":
        return max(1, round(run.row.batch or 1))
    full_tokens = figure.prompt_tokens + round(figure.answer_tokens)
    return running(run.spec, run.layout, run.setting, full_tokens, run.element_bytes)


def _step(run: _Run, figure: Figure, sequences: int) -> tuple[TowerPass | None, float]:
    """A decode step with the weights that the devices hold, and seconds that it takes beside for those that they have no room for."""
    cache = cache_bytes(run.spec, _held(figure), run.element_bytes) * sequences
    step = decode_pass(run.spec, run.layout, _held(figure), sequences, cache, run.setting.engine)
    if step is None or figure.rate == "prefill":
        return None, 0.0
    whole = _resized(step, run.stated)
    spilt = spilt_share(run.row, run.spec, run.layout, run.setting, cache) if figure.rate == "decode" else 0.0
    return _resized(whole, 1 - spilt), spilt * whole.weight_bytes / HostRates().processor


def _answer(figure: Figure, sequences: int) -> float:
    """Tokens that the figure counts in the seconds of its case: one of a step, of a batch those of all sequences, of a server those of a request."""
    if figure.rate == "decode":
        return 1.0
    counted = figure.answer_tokens
    if figure.counts_prompt or figure.rate == "prefill":
        counted += figure.prompt_tokens
    return counted * (1 if figure.rate == "saturated" else sequences)


def _resized(tower: TowerPass, share: float) -> TowerPass:
    """A pass that reads this share of the weights."""
    return msgspec.structs.replace(tower, weight_bytes=round(tower.weight_bytes * share))


def _steps(figure: Figure, sequences: int) -> float:
    """Decode steps that a figure's seconds hold: of a static batch all but the first, of a saturated server a request's share."""
    if figure.rate == "decode":
        return 1.0
    if figure.rate == "prefill":
        return 0.0
    if figure.rate == "saturated":
        return figure.answer_tokens / sequences
    return max(0.0, figure.answer_tokens - 1)


def _reads(run: _Run, figure: Figure, sequences: int) -> tuple[TowerPass, ...]:
    """The decoder's passes over the prompts of so many sequences; none of a decode step."""
    if figure.rate == "decode":
        return ()
    reading = Reading(prompt_tokens=figure.prompt_tokens, sequences=sequences)
    most = PROMPT_STEP_TOKENS.get(run.setting.engine, MOST_PROMPT_STEP_TOKENS)
    passes = reading_passes(run.spec, run.layout, reading)
    return tuple(_resized(in_steps(one, most), run.stated) for one in passes if one.role == "decoder")
