"""From the options of `fmkit try` to what is run: which weights, which workload, which machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fmkit.api.asked import tokens as tokens_of
from fmkit.api.asked import whole
from fmkit.api.quantisers import QUANTISERS
from fmkit.api.resolve import ResolvedModel, this_machine
from fmkit.api.sizing import layout_for
from fmkit.api.vram import context_limit
from fmkit.errors import MissingExtraError, UsageError
from fmkit.sizing.estimate import Workload
from fmkit.sizing.weights import weight_bytes
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.trial.request import Quantiser

DEFAULT_CONTEXT_TOKENS = 512
ROOM_FOR_WEIGHTS = 0.8
"""Weights that take more of the memory than this leave too little for the rest to choose a wider type unasked."""
TEXT_BESIDE_IMAGE_TOKENS = 256
"""Where an image takes part of the context, the default leaves this much for text."""

TEXT_SUFFIXES = (".txt", ".md")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SOUND_SUFFIXES = (".wav",)

Confirm = Callable[[str], bool]


def config_of(resolved: ResolvedModel, catalog: Catalog) -> dict[str, Any]:
    """The config.json of a resolved model: from its folder, the catalog's copy, or the Hub."""
    if resolved.path is not None:
        from fmkit.hub.local import read_config  # noqa: PLC0415  file access only when a path was given

        return read_config(Path(resolved.ref).expanduser())
    if resolved.candidate is not None:
        from fmkit.catalog.paths import source_folder  # noqa: PLC0415

        name = catalog.model(resolved.id).config_file
        assert name is not None  # a model with a spec has a file
        config: dict[str, Any] = json.loads((source_folder() / "configs" / name).read_text(encoding="utf-8"))
        return config
    if resolved.files is None or resolved.files.config is None:
        raise UsageError(
            f"this version can size {resolved.ref}, but not run it", next_command=f"fmkit vram {resolved.ref}"
        )
    return resolved.files.config


def workload_for(spec: ModelSpec, resolved: ResolvedModel, context: str | int | None, sequences: int) -> Workload:
    """The workload: 512 tokens (an image's tokens and 256 more where the model takes images), or what was asked for."""
    whole(sequences, "--sequences", at_most=4096)
    limit = context_limit(spec, resolved)
    images = 1 if spec.image_tokens else None
    if context is None:
        tokens = max(DEFAULT_CONTEXT_TOKENS, spec.image_tokens + TEXT_BESIDE_IMAGE_TOKENS if spec.image_tokens else 0)
        tokens = tokens if limit is None else min(tokens, limit)
    else:
        tokens = tokens_of(context, "--context")
    if limit is not None and tokens > limit and spec.context_is_hard:
        raise UsageError(
            f"a context of {format_tokens(tokens)} tokens is impossible: the model's limit is {format_tokens(limit)}",
            where="--context",
        )
    return Workload(context_tokens=tokens, sequences=sequences, images=images)


def default_precision(engine: str, spec: ModelSpec, device: str, machine: Machine, catalog: Catalog) -> str:
    """16 bit; on a CPU float32 instead of float16, which most CPUs compute by conversion, if the weights fit so."""
    half, single = (layout_for(engine, name, catalog) for name in ("fp16", "fp32"))
    converted = device == "cpu" and half.rest_dtype_for(spec.config_dtype) == "float16"
    return "fp32" if converted and weight_bytes(spec, single) < ROOM_FOR_WEIGHTS * machine.usable_bytes else "fp16"


def quantiser_for(layout: Layout) -> Quantiser | None:
    """How the engine makes the layout; MissingExtraError where its library is not installed."""
    if layout.id not in QUANTISERS:
        raise UsageError(f"this version can size {layout.name}, but not run it", where="--precision")
    quantiser = QUANTISERS[layout.id]
    if quantiser is not None:
        require_libraries(("bitsandbytes",), f"running {layout.name}", "pip install bitsandbytes")
    return quantiser


def require_libraries(names: tuple[str, ...], purpose: str, install: str | None = None, *, extra: str = "try") -> None:
    """Refuse to start where a library of the extra is not installed; looks for them without importing them."""
    from importlib.util import find_spec  # noqa: PLC0415

    for name in names:
        if find_spec(name) is None:
            if install is None:
                raise MissingExtraError.for_extra(extra, purpose, name)
            raise MissingExtraError(f"{purpose} needs {name}, which is not installed", next_command=install)


def machine_for(device: str | None, catalog: Catalog) -> tuple[Machine, Literal["cpu", "cuda"]]:
    """The machine the trial runs on, as far as it is free now, and PyTorch's name of its device."""
    if device not in (None, "cpu", "cuda"):
        raise UsageError.unknown("device", str(device), ("cpu", "cuda"), where="--device")
    machine = this_machine(catalog)
    accelerated = machine.device is not None and machine.device.vendor in ("nvidia", "amd")
    if device == "cuda" and not accelerated:
        raise UsageError("no NVIDIA or AMD accelerator was found in this machine", where="--device")
    chosen: Literal["cpu", "cuda"] = "cuda" if accelerated and device != "cpu" else "cpu"
    if chosen == "cpu" and machine.device is not None and machine.device.device_class != "cpu":
        from fmkit.hardware import cpu  # noqa: PLC0415
        from fmkit.hardware.detect import processor_only  # noqa: PLC0415

        machine = processor_only(cpu.probe())
    if machine.free_bytes is not None and machine.free_bytes < machine.usable_bytes:
        machine = msgspec.structs.replace(machine, usable_bytes=machine.free_bytes, reserve_reason="free now")
    return machine, chosen


def check_input(kind: str, path: str | None, prompt: str | None) -> None:
    """Refuse an input that is not there or that a model of this kind can't take."""
    if path is None:
        return
    if prompt is not None:
        raise UsageError("--input and --prompt exclude each other", where="--input")
    if not Path(path).is_file():
        raise UsageError(f"no such file: {path}", where="--input")
    takes = {
        "clip": (*IMAGE_SUFFIXES, *TEXT_SUFFIXES),
        "vision-language": (*IMAGE_SUFFIXES, *TEXT_SUFFIXES),
        "speech": SOUND_SUFFIXES,
    }.get(kind, TEXT_SUFFIXES)
    if Path(path).suffix.lower() not in takes:
        raise UsageError(f"a {kind} model can't take {Path(path).name}: it takes {', '.join(takes)}", where="--input")


def weights_folder(
    resolved: ResolvedModel, *, offline: bool, yes: bool, confirm: Confirm | None, say: Callable[[str], None] | None
) -> Path:
    """The folder of the real weights: the one given, one downloaded before, or a download that the user agrees to."""
    from fmkit.hub import download  # noqa: PLC0415
    from fmkit.trial.folder import require_safetensors  # noqa: PLC0415

    if resolved.path is not None:
        require_safetensors(resolved.path)
        return resolved.path
    assert resolved.hub_id is not None
    cached = download.cached_snapshot(resolved.hub_id, resolved.revision)
    if cached is not None:
        return cached
    random = f"fmkit try {resolved.ref} --random-weights"
    if offline:
        from fmkit.errors import NetworkNeededError  # noqa: PLC0415

        raise NetworkNeededError(
            f"the weights of {resolved.hub_id} are not on this disk, and the network is off",
            where="--offline",
            next_command=random,
        )
    plan = download.plan_download(resolved.hub_id, resolved.revision)
    download.check_disk(plan)
    what = f"{len(plan.files)} files, {format_bytes(plan.missing_bytes)}, of {plan.hub_id} at {plan.commit[:12]}"
    if not yes and (confirm is None or not confirm(f"Download {what}?")):
        raise UsageError(
            f"the weights are not on this disk, and nobody agreed to download them ({what})",
            where="--yes",
            next_command=f"fmkit try {resolved.ref} --yes, or {random}",
        )
    if say is not None:
        say(f"downloading {what} ...")
    return download.fetch(plan, quiet=say is None)
