"""From the options of `fmkit try` to what is run: which weights, which workload, which machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmkit.api.asked import tokens as tokens_of
from fmkit.api.asked import whole
from fmkit.api.layouts import layout_for
from fmkit.api.quantisers import NOT_ON_CPU, QUANTISERS
from fmkit.api.resolve import ResolvedModel
from fmkit.api.summaries import context_limit
from fmkit.errors import MissingExtraError, UsageError
from fmkit.model.architectures.embedder import embedder_config
from fmkit.sizing.estimate import Workload
from fmkit.sizing.weights import weight_bytes
from fmkit.trial.embedded import EMBEDDED, MODEL_PATH
from fmkit.trial.libraries import QUANTISERS as LIBRARIES
from fmkit.trial.libraries import missing_quantiser
from fmkit.units import format_tokens

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

Confirm = Callable[[str], bool]


def config_of(resolved: ResolvedModel, catalog: Catalog) -> dict[str, Any]:
    """The config.json of a resolved model: from its folder, the catalog's copy, or the Hub."""
    if resolved.path is not None:
        from fmkit.hub.local import read_config  # noqa: PLC0415  file access only when a path was given

        return read_config(MODEL_PATH if resolved.ref == EMBEDDED else Path(resolved.ref).expanduser())
    if resolved.candidate is not None:
        from fmkit.catalog.paths import config_path  # noqa: PLC0415

        name = catalog.model(resolved.id).config_file
        assert name is not None  # a model with a spec has a file
        config: dict[str, Any] = json.loads(config_path(name).read_text(encoding="utf-8"))
        return embedder_config(config) if resolved.candidate.tuning == "embedding" else config
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


def quantiser_for(layout: Layout, device: str) -> Quantiser | None:
    """How the engine makes the layout on that device; MissingExtraError where its library is not installed."""
    if layout.id not in QUANTISERS:
        raise UsageError(f"this version can size {layout.name}, but not run it", where="--precision")
    quantiser = QUANTISERS[layout.id]
    if quantiser is None:
        return None
    if device == "cpu" and quantiser in NOT_ON_CPU:
        raise UsageError(
            f"{layout.name} can't be made on a CPU: {layout.loading}",
            where="--precision",
            next_command="use --precision int8-torchao, or nf4 for 4 bits",
        )
    library, _ = LIBRARIES[quantiser.partition("-")[0]]
    if not is_installed(library):
        raise missing_quantiser(quantiser)
    return quantiser


def require_libraries(names: tuple[str, ...], purpose: str, *, extra: str = "try") -> None:
    """Refuse to start where a library of the extra is not installed; looks for them without importing them."""
    for name in names:
        if not is_installed(name):
            raise MissingExtraError.for_extra(extra, purpose, name)


def is_installed(name: str) -> bool:
    """Whether a module can be found; of a dotted name the package before the last dot is imported."""
    from importlib.util import find_spec  # noqa: PLC0415

    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
