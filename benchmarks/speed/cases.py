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

from fmkit.api.accuracy.latency import is_current, rates_of, reads_token_by_token
from fmkit.api.accuracy.subject import NotScored, device_of, gguf_subject, known_engine, layout_of, spec_of
from fmkit.catalog.load import Catalog
from fmkit.catalog.measurements import LatencyMeasurement, read_measurements, shipped_measurements
from fmkit.catalog.paths import source_folder
from fmkit.machine import Device, catalog_machine
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.speed.offloaded import HOST_BYTES_PER_S
from fmkit.speed.operations import Reading, TowerPass, decode_pass, reading_passes
from fmkit.speed.parts import MOST_PROMPT_STEP_TOKENS, PROMPT_STEP_TOKENS
from fmkit.speed.setting import OLDER, RELEASES, Setting, setting_of
from fmkit.speed.timing import in_steps

Rate = Literal["decode", "prefill", "throughput"]

SATURATED_SHARE = 0.9
"""Share of the memory that a server gives to weights and cache."""
MOST_RUNNING = 4096
MOST_WEIGHTS_SHARE = 0.7
"""Share of a server's memory above which weights leave too little for a cache (assumed)."""
CHUNK_TOKENS = 2048
"""Prompt tokens that a saturated server computes together: one request pays its share of a chunk."""
MOST_DIFFERENCE = (0.6, 1.7)
"""A file further than this from the layout that stands for it is another model's."""
UNSTATED_PROMPT_TOKENS = 512
"""Depth of a row that says neither prompt nor answer (assumed)."""


SPILL_BYTES = 1_000_000_000
"""What llama.cpp leaves free of a card, or takes for buffers, when it puts as many layers there as fit (assumed)."""


OWN_CPU = Device(
    id="cpu-2-zen5-cores", name="2 cores of an AMD EPYC (Zen 5)", vendor="cpu", device_class="cpu", memory_bytes=None,
    bandwidth_bytes_per_s=44_000_000_000, flops_per_s={"bfloat16": 0.86e12, "float32": 0.18e12, "float16": 0.18e12},
)  # fmt: skip
"""The machine of catalog/measurements/own_cpu.csv, with the copy bandwidth and matrix rates measured on it. float16 is converted."""


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


def _cases(row: LatencyMeasurement, catalog: Catalog) -> Iterator[Case]:
    if row.spec_decode:
        raise NotScored("speculative decoding is not modelled")
    if row.trust == "C":
        raise NotScored("trust C: self-reported")
    spec, device = spec_of(row, catalog), device_of(row, catalog) or _any_size(row, catalog)
    if device is None or device.bandwidth_bytes_per_s is None:
        raise NotScored("no device of that name in the catalog")
    engine = engine_name(row)
    layout = _layout(row, engine, spec, catalog)
    if spec.cached_stack is None or row.measures == "asr":
        raise NotScored("no text is written token by token")
    count, sharded = _devices(row, spec, layout, device), engine != "llama.cpp" and (row.pp or 1) == 1
    setting = msgspec.structs.replace(
        setting_of(
            engine, device, layout, spec,
            ranks=count if sharded else 1, stages=1 if sharded else count,
        ),
        build=build_of(row) if engine == "llama.cpp" else release_of(row, engine) if engine in RELEASES else None,
    )  # fmt: skip
    found = list(_figures(row))
    if not found:
        raise NotScored("no rate that fmkit predicts")
    yield from (_case(row, spec, layout, setting, figure) for figure in found)


def _devices(row: LatencyMeasurement, spec: ModelSpec, layout: Layout, device: Device) -> int:
    """Devices that one copy of the model lies on: all of the row's, where it doesn't measure a server of unstated division.

    The submissions of whole servers (MLPerf) say how many devices there were and not how the model was divided. What serves the most
    tokens is copies on as few as hold the weights beside a cache worth having.
    """
    count = row.count or 1
    if row.measures != "serving" or row.tp is not None or device.memory_bytes is None:
        return count
    weights = sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)
    copy = 1
    while copy < count and weights > MOST_WEIGHTS_SHARE * copy * device.memory_bytes:
        copy *= 2
    return min(copy, count)


def shipped_rows() -> tuple[LatencyMeasurement, ...]:
    """Published measurements, and our own of a CPU and of an H100."""
    folder = source_folder() / "measurements"
    own = [read_measurements(folder / name).latency for name in ("own_cpu.csv", "own_gpu.csv")]
    return (*shipped_measurements().latency, *own[0], *own[1])


def _any_size(row: LatencyMeasurement, catalog: Catalog) -> Device | None:
    """A device sold with several sizes of memory, for a row that doesn't say which: its rates are the same."""
    if row.accelerator_id == OWN_CPU.id:
        return OWN_CPU
    wanted = f"{row.accelerator_id.casefold()}-"
    return next((device for name, device in reversed(catalog.devices.items()) if name.startswith(wanted)), None)


class Figure(msgspec.Struct, frozen=True):
    """One printed rate and its workload."""

    rate: Literal["decode", "prefill", "throughput", "saturated"]
    per_s: float
    context_tokens: int
    prompt_tokens: int
    answer_tokens: float
    counts_prompt: bool


def _figures(row: LatencyMeasurement) -> Iterator[Figure]:
    """The rates that `fmkit accuracy` reads in a row, saturated servers, and steps of unstated depth."""
    found = [Figure(*one) for one in rates_of(row)]
    yield from found
    prompt, answer = row.prompt_tokens or 0, row.gen_tokens or 0.0
    if row.measures == "serving" and row.throughput_tok_s and not row.itl_ms and prompt and answer:
        counted = row.throughput_kind == "input+output"
        yield Figure("saturated", row.throughput_tok_s, round(prompt + answer / 2), prompt, answer, counted)
    elif not found and row.measures == "decode" and row.decode_tok_s_per_seq:
        yield Figure("decode", row.decode_tok_s_per_seq, round(answer / 2) or UNSTATED_PROMPT_TOKENS, 0, answer, False)
    elif not found and row.measures == "serving" and row.itl_ms and row.batch:
        yield Figure("decode", 1000 / row.itl_ms, UNSTATED_PROMPT_TOKENS, 0, answer, False)


def _case(row: LatencyMeasurement, spec: ModelSpec, layout: Layout, setting: Setting, figure: Figure) -> Case:
    context = max(1, figure.context_tokens)
    element_bytes = 1 if row.kv_dtype.startswith("fp8") else 2
    sequences = max(1, round(row.batch or 1))
    if figure.rate == "saturated":
        sequences = _running(spec, layout, setting, figure, element_bytes)
    cache = _cache_bytes(spec, context, element_bytes) * sequences
    stated = _stated_share(row, spec, layout)
    step = _resized(decode_pass(spec, layout, context, sequences, cache), stated)
    spilt = _spilt_share(row, spec, layout, setting, cache) if figure.rate == "decode" else 0.0
    host_s = spilt * (step.weight_bytes if step is not None else 0) / HOST_BYTES_PER_S
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


def _spilt_share(row: LatencyMeasurement, spec: ModelSpec, layout: Layout, setting: Setting, cache_bytes: int) -> float:
    """The share of the weights that ollama and its like keep in main memory, where a card can't hold them all.

    The rows don't record it, but a model that is larger than the memory can't have run otherwise.
    """
    device = setting.device
    if setting.engine != "llama.cpp" or device.memory_bytes is None or device.unified_memory:
        return 0.0
    weights = sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)
    weights = round(weights * _stated_share(row, spec, layout))
    usable = catalog_machine(device, setting.stages).usable_bytes
    free = (usable or 0) * setting.stages - cache_bytes - SPILL_BYTES
    return 0.0 if weights <= usable * setting.stages else 1 - max(0.0, free) / weights


def _stated_share(row: LatencyMeasurement, spec: ModelSpec, layout: Layout) -> float:
    """Bytes of the weights that a row states over those of the layout that stands for its mix; 1 where it states none.

    Mixes of llama.cpp that follow no rule (UD types, MXFP4 with the rest in 16 bit) are known to their files only. EXL2 says its bits.
    """
    own = sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)
    bits = re.search(r"(\d+\.\d+) bpw", row.quant)
    if bits is not None:
        return spec.params * float(bits[1]) / 8 / own
    found = re.search(r"weights (\d{8,}) B\b", row.notes)
    if found is None:
        return 1.0
    share = int(found[1]) / own
    return share if MOST_DIFFERENCE[0] < share < MOST_DIFFERENCE[1] else 1.0


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


def _running(spec: ModelSpec, layout: Layout, setting: Setting, figure: Figure, element_bytes: int) -> int:
    """Sequences that the memory of all devices holds at full length beside the weights."""
    devices = setting.ranks * setting.stages
    weights = sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)
    free = SATURATED_SHARE * (setting.device.memory_bytes or 0) * devices - weights
    full = _cache_bytes(spec, figure.prompt_tokens + round(figure.answer_tokens), element_bytes)
    return int(max(1, min(free / max(full, 1), MOST_RUNNING)))


def _cache_bytes(spec: ModelSpec, context_tokens: int, element_bytes: int) -> int:
    stack = spec.cached_stack
    assert stack is not None
    return sum(block.mixer.cache_bytes(context_tokens, 0, element_bytes) * block.count for block in stack.blocks)


def engine_name(row: LatencyMeasurement) -> str:
    """The engine as fmkit calls it, else the row's own name without versions."""
    known = known_engine(row.engine)
    if known is not None:
        return known
    name = row.engine.casefold()
    for word, engine in (("tensorrt", "tensorrt-llm"), ("deepspeed", "deepspeed")):
        if word in name:
            return engine
    return name.replace(" ", "-")


def build_of(row: LatencyMeasurement) -> str | None:
    """llama.cpp's backend as far as a row tells it: it decides more than the device does."""
    named = re.search(r"'build': '([^']+)'", row.notes)
    flash = " fa" if "flash_attn=True" in row.notes else ""
    name = named[1].removeprefix("llama.cpp-") if named else row.backend
    return f"{name}{flash}" if name else None


def release_of(row: LatencyMeasurement, engine: str) -> str:
    """The release of transformers or vLLM; a row that names none is older than ours."""
    return RELEASES[engine] if is_current(row, engine) else OLDER[engine]


def _layout(row: LatencyMeasurement, engine: str, spec: ModelSpec, catalog: Catalog) -> Layout:
    """The layout of the weights; of an engine without rules here the one of the same width."""
    if engine == "llama.cpp" or row.quant.upper().startswith("GGUF"):
        layout = gguf_subject(spec, row.quant, catalog).layout
        if layout is None:
            raise NotScored(f"the mix of {row.quant!r} follows no rule")
        return layout
    if engine in catalog.engines and not row.quant.startswith("fp8 typical"):
        return layout_of(row.quant, engine, spec, catalog)[1]
    name = row.quant.casefold()
    for pattern, layout_id in OTHER_LAYOUTS:
        if re.search(pattern, name):
            return catalog.layouts[layout_id]
    raise NotScored(f"no layout is known for weights in {row.quant!r}")


OTHER_LAYOUTS = (
    (r"^(bf16|fp16|bfloat16|float16|fp16/bf16|f16|q0f16|openvino fp16)$", "plain-16"),
    (r"^(fp32|float32)$", "plain-32"),
    (r"^fp8", "fp8-channel"),
    (r"gptq[-_ ]?(int)?8|^int8$|openvino int8|mlx q8", "w8a16"),
    (r"nvfp4", "nvfp4"),
    (r"^mxfp4$", "mxfp4"),
    (r"exl2|4bit|4-bit|int4|awq|gptq|q4", "awq-g128"),
)
"""By the name of a quantisation, for engines without rules here: what reads as many bytes."""
