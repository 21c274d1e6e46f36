"""The catalog's models as `fmkit.selection` chooses from them: what a question may name, and each model sized on the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.catalog_sizer import CatalogSizer, PreparedModels
from fmkit.api.vram_precisions import points_lost_by
from fmkit.selection.asking import Known
from fmkit.selection.pool import Pool

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.selection.facts import Task
    from fmkit.selection.request import Request


def known(catalog: Catalog) -> Known:
    """The names that a question may use."""
    precisions = {alias.lower(): key for key, found in catalog.precisions.items() for alias in (key, *found.aliases)}
    return Known(
        licences=catalog.licences,
        families=families(catalog),
        precisions=precisions,
        engines={name: tuple(engine.layouts) for name, engine in catalog.engines.items()},
        languages=tuple(sorted({code.partition("-")[0] for c in catalog.candidates() for code in c.languages})),
    )


def families(catalog: Catalog) -> tuple[str, ...]:
    """The families of the catalog, by name."""
    return tuple(sorted({candidate.family for candidate in catalog.candidates()}))


def pool_for(
    task: Task, request: Request, machine: Machine, catalog: Catalog, prepared: PreparedModels | None = None
) -> Pool:
    """What models are chosen from. `prepared` keeps what sizing them worked out, for the next question on the same machine."""
    return Pool(
        task=task,
        candidates=catalog.candidates(),
        licences=catalog.licences,
        cloud_prices=catalog.cloud_prices,
        precision_bits={key: precision.bits for key, precision in catalog.precisions.items()},
        machine=machine,
        size=CatalogSizer(task, request, machine, catalog, prepared=prepared),
        capability=catalog.capability,
        abilities=catalog.abilities,
        losses=points_lost_by(request.engine, catalog),
    )
