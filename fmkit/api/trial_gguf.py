"""What `fmkit try` needs to know of a GGUF file before llama.cpp loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmkit.api.asked import one_or_many
from fmkit.api.vram_request import engine_options
from fmkit.errors import UsageError
from fmkit.model.ggml import FILE_TYPE_NAMES
from fmkit.sizing.engines.llama_cpp_options import AUTO, settings_from
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.api.resolve import ResolvedModel
    from fmkit.api.trial_options import TrialOptions
    from fmkit.catalog.load import Catalog
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload
    from fmkit.trial.request import TorchDevice

STORED = "stored"
RUNNABLE = ("decoder", "state-space", "hybrid", "encoder")
"""The kinds of model that continue a text or embed it: what the llama.cpp engine asks of a file."""

OPTION = "--engine-option"
GPU_LAYERS, N_CPU_MOE = SETTABLE = ("gpu_layers", "n_cpu_moe")
"""What a trial can set: how many layers lie on the GPU, and of how many of the first the experts do not."""
MOST_LISTED = 12


def require_gguf(resolved: ResolvedModel, *, random_weights: bool) -> None:
    """UsageError where llama.cpp has no file to load, on this disk or on the Hub."""
    if random_weights:
        raise UsageError("llama.cpp loads a file: --random-weights is for transformers", where="--random-weights")
    if resolved.variants:
        raise _which(resolved)
    if resolved.engine != "llama.cpp":
        on_hub = (
            None
            if resolved.hub_id is None
            else f"fmkit catalog variants {resolved.hub_id}, then fmkit try ORG/NAME:LABEL"
        )
        raise UsageError(
            f"llama.cpp runs GGUF files, and {resolved.id} is none: give the path of one, or one of the Hub",
            where="MODEL",
            next_command=on_hub or "fmkit try ./FILE.gguf",
        )
    if resolved.spec is not None and resolved.spec.kind not in RUNNABLE:
        raise UsageError(
            f"this version runs GGUF files of models that continue or embed text; {resolved.id} is of kind {resolved.spec.kind}",
            where="MODEL",
            next_command=f"fmkit vram {resolved.ref}",
        )


def _which(resolved: ResolvedModel) -> UsageError:
    """The error for a repository of several files of which none was named."""
    assert resolved.files is not None
    listed = ", ".join(f"{one.label} ({format_bytes(one.file_bytes)})" for one in resolved.variants[:MOST_LISTED])
    more = f" and {len(resolved.variants) - MOST_LISTED} more" if len(resolved.variants) > MOST_LISTED else ""
    usual = next(one.label for one in resolved.files.variants if one.weights is not None)
    revision = resolved.ref.partition("@")[2]
    named = f"{resolved.hub_id}:{usual}" + (f"@{revision}" if revision else "")
    return UsageError(
        f"{resolved.id} is a repository of {len(resolved.variants)} GGUF quantisations: name one of {listed}{more}",
        where="MODEL",
        next_command=f"fmkit try {named}",
    )


def stored_only(precision: str | None) -> str:
    """The precision of a GGUF file, which runs as it is; UsageError for any other."""
    if precision not in (None, STORED):
        raise UsageError(
            f"a GGUF file runs as it is stored, not at {precision}: leave out --precision, or give another file",
            where="--precision",
        )
    return STORED


def settings_of(options: TrialOptions, engine: str, device: TorchDevice, catalog: Catalog) -> dict[str, str]:
    """What `--engine-option` sets, as the estimate takes it; UsageError for what no trial can set.

    The number of layers has to be given: what a device has room for llama.cpp would work out by rules of its own.
    """
    given = one_or_many(options.engine_option, OPTION)
    if not given:
        return {}
    if engine != "llama.cpp":
        raise UsageError(
            f"a trial sets nothing of {engine}: {OPTION} {GPU_LAYERS}=N and {N_CPU_MOE}=N are for GGUF files",
            where=OPTION,
        )
    chosen = engine_options(catalog.engines[engine], given, None)
    other = next((name for name in chosen if name not in SETTABLE), None)
    if other is not None:
        raise UsageError(f"a trial sets {' and '.join(SETTABLE)} alone, not {other}", where=OPTION)
    if device != "cuda" and GPU_LAYERS in chosen:
        raise UsageError("without a GPU every layer is in main memory", where=f"{OPTION} {GPU_LAYERS}")
    settings = settings_from(chosen)
    for name, value, told_by in (
        (GPU_LAYERS, settings.gpu_layers, "--fit"),
        (N_CPU_MOE, settings.n_cpu_moe, f"{OPTION} {N_CPU_MOE}=auto"),
    ):
        if value == AUTO:
            raise UsageError(
                f"name a number of layers: fmkit vram MODEL {told_by} says how many have room", where=f"{OPTION} {name}"
            )
    return chosen


def placement_of(workload: Workload, spec: ModelSpec, device: TorchDevice) -> dict[str, Any]:
    """Where llama.cpp puts layers and experts, as fields of the request; without a GPU all of them are in main memory as it is."""
    settings = settings_from(workload.options)
    layers = max(stack.layers for stack in spec.stacks)
    keeps_experts = spec.is_mixture and device == "cuda"
    return {
        "gpu_layers": settings.gpu_layers,
        "n_cpu_moe": min(settings.n_cpu_moe, layers) if keeps_experts else 0,
    }


def gguf_facts(resolved: ResolvedModel) -> dict[str, Any]:
    """Facts of the file's header that the engine needs: `vocab_size`, `chat_template` (whether it has one), `file_type` by its name."""
    from fmkit.hub.gguf import read_gguf_set  # noqa: PLC0415  file access only when a file is run

    assert resolved.spec is not None
    if resolved.path is not None:
        keys = read_gguf_set(resolved.path)[0].keys
        templates = bool(keys.get("tokenizer.chat_template"))
    else:
        assert resolved.files is not None
        assert resolved.files.gguf is not None
        keys = resolved.files.gguf.keys
        templates = bool(resolved.text is not None and resolved.text.chat_templates)
    number = keys.get("general.file_type")
    return {
        "vocab_size": resolved.spec.vocab_size,
        "chat_template": templates,
        "file_type": FILE_TYPE_NAMES.get(number, f"type {number}") if isinstance(number, int) else "its own mix",
    }
