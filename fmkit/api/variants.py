"""`fmkit catalog variants MODEL`: the quantised files that exist of a model, whether they fit here, and how to fetch one."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.machines import resolve_machine
from fmkit.api.resolve import resolve_model
from fmkit.api.sizing import estimate_for
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results.catalog import VariantRow, VariantsResult
from fmkit.sizing.estimate import Workload
from fmkit.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.api.resolve import ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.hub.variants import HubVariant
    from fmkit.machine import Machine

CONTEXT_TOKENS = 4 * KIB
ENGINES = {"GGUF": ("llama.cpp", "int4"), "MLX": None, "EXL2": None, "EXL3": None}
"""The engine and precision whose cache and buffers count beside the files; None where fmkit knows no engine that reads them."""

_OTHERS = ("transformers", "fp16")


def variants(
    model: str,
    *,
    gpu: str | None = None,
    memory: str | None = None,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> VariantsResult:
    """The quantised variants of `model` on the Hub, the smallest first within each publisher, judged for one machine; of a repository of GGUF files its own come first.

    Without a network the Hub's last answer counts, with its age. What one needs is the size of its files and, at 4k tokens, cache and buffers of the engine that reads them. Raises
    UsageError for a model that is not on the Hub, NetworkNeededError without a network and an earlier answer.
    """
    from fmkit.catalog.paths import cache_folder  # noqa: PLC0415
    from fmkit.hub.variants import find_variants  # noqa: PLC0415  the network client only when the Hub is asked

    catalog = load_catalog()
    resolved = resolve_model(model, catalog, offline=offline, say=progress)
    machine = resolve_machine(gpu, memory, catalog)
    if resolved.hub_id is None:
        raise UsageError(f"{model} is not a model of the Hub", where="MODEL", next_command="fmkit catalog list")
    found = find_variants(resolved.hub_id, offline=offline, folder=cache_folder() / "hub", say=progress)
    rows = (*_own_files(resolved), *found.rows)
    beside = {method: _beside_weights(resolved, method, machine, catalog) for method in {row.method for row in rows}}
    left_out = found.listed - found.looked_at
    more = (
        (f"{left_out} more repositories name it as their base; the most downloaded were looked at",) if left_out else ()
    )
    return VariantsResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=resolved.hub_id,
        machine=machine.name,
        usable_bytes=machine.usable_bytes,
        asked_on=datetime.fromtimestamp(found.asked_at, UTC).date().isoformat(),
        context_tokens=CONTEXT_TOKENS,
        variants=tuple(_row(row, resolved.hub_id, beside[row.method], machine) for row in rows),
        notes=(*more, *found.notes),
    )


def _own_files(resolved: ResolvedModel) -> tuple[HubVariant, ...]:
    """The quantisations that the repository itself holds as GGUF files."""
    from fmkit.hub.variants import HubVariant  # noqa: PLC0415

    if resolved.files is None or resolved.files.layout != "gguf" or resolved.hub_id is None:
        return ()
    return tuple(
        HubVariant(
            hub_id=resolved.hub_id,
            method="GGUF",
            label=variant.label,
            files=tuple(file.name for file in variant.selected.files),
            bytes=variant.selected.bytes,
            downloads=None,
            gated=bool(resolved.gated),
            commit=resolved.revision or "main",
        )
        for variant in resolved.files.variants
    )


def _row(found: HubVariant, base: str, beside_bytes: int | None, machine: Machine) -> VariantRow:
    need = None if beside_bytes is None else found.bytes + beside_bytes
    return VariantRow(
        hub_id=found.hub_id,
        publisher=found.hub_id.partition("/")[0],
        official=found.hub_id.partition("/")[0] == base.partition("/")[0],
        method=found.method,
        label=found.label,
        files=len(found.files),
        bytes=found.bytes,
        need_bytes=need,
        fits=None if need is None else need <= machine.usable_bytes,
        downloads=found.downloads,
        gated=found.gated,
        commit=found.commit,
        fetch=_command(found),
    )


def _command(found: HubVariant) -> str:
    """What to type to download it, at the commit that was looked at."""
    names = found.files if found.method == "GGUF" else ()
    return shlex.join(["hf", "download", found.hub_id, *names, "--revision", found.commit])


def _beside_weights(resolved: ResolvedModel, method: str, machine: Machine, catalog: Catalog) -> int | None:
    """Bytes that the engine holds beside the weights for one sequence of 4k tokens; None where that is not known."""
    engine = ENGINES.get(method, _OTHERS)
    spec = resolved.spec
    if resolved.engine is not None:
        engine = (resolved.engine, "stored") if method == "GGUF" else None
    if engine is None or spec is None:
        return None
    limit = spec.max_context_tokens
    workload = Workload(context_tokens=CONTEXT_TOKENS if limit is None else min(limit, CONTEXT_TOKENS))
    try:
        found = estimate_for(spec, engine[1], workload, machine, catalog, engine=engine[0])
    except UsageError:
        return None
    return found.peak_bytes - found.weights_bytes
