"""What is predicted for a model behind a server: as far as the model, its engine, its precision and the machine are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.layouts import has_stored
from fmkit.api.machines import resolve_machine, this_machine
from fmkit.api.sizing import estimate_for
from fmkit.errors import FmkitError, UsageError
from fmkit.sizing.estimate import Workload
from fmkit.trial.endpoint.models import name_stem

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.records import CatalogModel
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.results.trial import EndpointServer
    from fmkit.results.vram import Estimate
    from fmkit.trial.endpoint.models import Served
    from fmkit.trial.endpoint.request import EndpointCell, EndpointMeasured


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What is predicted for a server: in which engine, at which precision, on which machine."""

    spec: ModelSpec
    engine: str
    precision: str
    machine: Machine | None


def known_model(model: str | None, served: Served, catalog: Catalog) -> CatalogModel | None:
    """The catalog's model that the server runs, by the name asked for or one of the server's names for it."""
    for name in (model, served.id, served.root):
        if not name:
            continue
        for form in (name, name.rpartition("/")[2], name_stem(name)):
            found = catalog.resolve(form)
            if found is not None:
                return catalog.model(found)
    return None


def machine_behind(device: str | None, catalog: Catalog, *, is_local: bool) -> Machine | None:
    """The machine the server runs on: the one named, this one behind a loopback address, else unknown."""
    if device is not None and device not in ("cpu", "cuda"):
        return resolve_machine(device, None, catalog)
    if device is not None and not is_local:
        raise UsageError("name the device that the server runs on, such as rtx-4090", where="--device")
    return this_machine(catalog) if is_local else None


def prediction_for(
    known: CatalogModel | None,
    asked: str | None,
    server: EndpointServer,
    machine: Machine | None,
    catalog: Catalog,
) -> tuple[Prediction | None, str | None]:
    """What can be predicted, or why nothing can."""
    if known is None or known.spec is None:
        return None, "no prediction: the catalog does not know this model"
    engine = catalog.engines.get(server.kind)
    if engine is None:
        return None, f"no prediction: the engine is {server.kind}, for which there is no estimate"
    precision = asked or _own_precision(known.spec, server, catalog)
    if precision is None:
        return None, "no prediction: the server does not say its precision (--precision names it)"
    return Prediction(spec=known.spec, engine=server.kind, precision=precision, machine=machine), None


def _own_precision(spec: ModelSpec, server: EndpointServer, catalog: Catalog) -> str | None:
    """The precision as the server says it, or the one its engine loads a repository in unless told otherwise."""
    if server.kind in ("vllm", "transformers"):
        return "stored" if has_stored(server.kind, catalog, spec) else "fp16"
    layouts = catalog.engines[server.kind].layouts
    said = (server.weights_type or "").casefold()
    return next(
        (name for name, layout in layouts.items() if said and said in catalog.layouts[layout].name.casefold().split()),
        None,
    )


def estimate_beside(
    prediction: Prediction | None, cell: EndpointCell, found: EndpointMeasured, catalog: Catalog
) -> tuple[Estimate | None, str | None]:
    """The estimate for one workload, or why there is none (both None where nothing is to be predicted)."""
    if prediction is None:
        return None, None
    workload = Workload(context_tokens=cell.context_tokens, sequences=cell.sequences)
    prompt_tokens = round(found.prompt_tokens or max(1, cell.context_tokens - cell.decode_tokens))
    try:
        return estimate_for(
            prediction.spec, prediction.precision, workload, prediction.machine, catalog,
            engine=prediction.engine, prompt_tokens=prompt_tokens,
        ), None  # fmt: skip
    except FmkitError as error:
        return None, f"no prediction: {error.message}"
