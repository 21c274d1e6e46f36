"""Who computed on what in a measured row: engine, build or release, device, division over devices, and layout of the weights."""

from __future__ import annotations

import re

import msgspec

from benchmarks.speed.room import weight_bytes
from fmkit.api.accuracy.backends import build_of
from fmkit.api.accuracy.latency import is_current
from fmkit.api.accuracy.subject import NotScored, device_of, gguf_subject, known_engine, layout_of
from fmkit.catalog.load import Catalog
from fmkit.catalog.measurements import LatencyMeasurement
from fmkit.machine import Device
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.speed.setting import OLDER, RELEASES, Setting, setting_of

MOST_WEIGHTS_SHARE = 0.7
"""Share of a server's memory above which weights leave too little for a cache (assumed)."""

OWN_CPU = Device(
    id="cpu-2-zen5-cores", name="2 cores of an AMD EPYC (Zen 5)", vendor="cpu", device_class="cpu", memory_bytes=None,
    bandwidth_bytes_per_s=44_000_000_000, flops_per_s={"bfloat16": 0.86e12, "float32": 0.18e12, "float16": 0.18e12},
)  # fmt: skip
"""The machine of catalog/measurements/own_cpu.csv, with the copy bandwidth and matrix rates measured on it. float16 is converted."""

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


def setting_of_row(row: LatencyMeasurement, spec: ModelSpec, device: Device, layout: Layout) -> Setting:
    """The setting of one sequence."""
    engine = engine_name(row)
    count, sharded = _devices(row, spec, layout, device), engine != "llama.cpp" and (row.pp or 1) == 1
    found = setting_of(engine, device, layout, spec, ranks=count if sharded else 1, stages=1 if sharded else count)
    build = build_of(row) if engine == "llama.cpp" else release_of(row, engine) if engine in RELEASES else None
    return msgspec.structs.replace(found, build=build)


def device_of_row(row: LatencyMeasurement, catalog: Catalog) -> Device:
    """The device, one of those that the row names; of one sold with several sizes of memory any, for its rates are the same.

    Raises NotScored for one that the catalog does not have.
    """
    found = device_of(row, catalog) or _any_size(row, catalog)
    if found is None or found.bandwidth_bytes_per_s is None:
        raise NotScored("no device of that name in the catalog")
    return found


def _any_size(row: LatencyMeasurement, catalog: Catalog) -> Device | None:
    if row.accelerator_id == OWN_CPU.id:
        return OWN_CPU
    wanted = f"{row.accelerator_id.casefold()}-"
    return next((device for name, device in reversed(catalog.devices.items()) if name.startswith(wanted)), None)


def _devices(row: LatencyMeasurement, spec: ModelSpec, layout: Layout, device: Device) -> int:
    """Devices that one copy of the model lies on: all of the row's, where it doesn't measure a server of unstated division.

    The submissions of whole servers (MLPerf) say how many devices there were and not how the model was divided. What serves the most
    tokens is copies on as few as hold the weights beside a cache worth having.
    """
    count = row.count or 1
    if row.measures != "serving" or row.tp is not None or device.memory_bytes is None:
        return count
    weights = weight_bytes(spec, layout)
    copy = 1
    while copy < count and weights > MOST_WEIGHTS_SHARE * copy * device.memory_bytes:
        copy *= 2
    return min(copy, count)


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


def release_of(row: LatencyMeasurement, engine: str) -> str:
    """The release of transformers or vLLM; a row that names none is older than ours."""
    return RELEASES[engine] if is_current(row, engine) else OLDER[engine]


def layout_of_row(row: LatencyMeasurement, spec: ModelSpec, catalog: Catalog) -> Layout:
    """The layout of the weights; of an engine without rules here the one of the same width."""
    engine = engine_name(row)
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
