"""What joins the files: every name leads to an entry, every id is the one its Hub id gives, every configuration is listed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault
from fmkit.catalog.sources import regular_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from fmkit.catalog.checks.facts import Facts

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NEEDED = ("NOTICE.md", "licences.yaml", "tasks.yaml", "precisions.yaml", "configs/INDEX.csv")
_INDEX = "configs/INDEX.csv"


def catalog_id(hub_id: str) -> str:
    """The catalog id of a Hub id: its last part in lower case, without a `meta-` prefix.

    >>> catalog_id("meta-llama/Meta-Llama-3-8B"), catalog_id("openai-community/gpt2")
    ('llama-3-8b', 'gpt2')
    """
    return hub_id.rpartition("/")[2].lower().removeprefix("meta-")


def files(facts: Facts) -> Iterator[Fault]:
    """Files that every catalog has, and configurations that are on disk or in INDEX.csv only."""
    sources = facts.sources
    for name in _NEEDED:
        if not (sources.folder / name).is_file():
            yield Fault(name, "$", "missing")
    folders = [sources.folder] if sources.own_folder is None else [sources.folder, sources.own_folder]
    on_disk = {path.name for folder in folders for path in regular_files(folder, "configs/*.json")}
    for file in sorted(on_disk - set(sources.configs)):
        yield Fault(f"configs/{file}", "$", f"not listed in {_INDEX}", names=file)
    for file in sorted(set(sources.configs) - on_disk):
        yield Fault(_INDEX, file, "listed, but there is no such file")


def ids(facts: Facts) -> Iterator[Fault]:
    """Ids that are not what the Hub id gives, or are not spelt as ids are."""
    sources = facts.sources
    for model_id, model in facts.links.open_models.items():
        wanted = catalog_id(model.entry.hub_id)
        if model_id != wanted:
            message = f"the id of {model.entry.hub_id} is {wanted!r}; another name goes into aliases"
            yield Fault(*model.place(model_id, "hub_id"), message)
    everything: list[tuple[str, str, Iterable[str]]] = [
        ("licences.yaml", "$.licences", sources.licences.licences),
        ("tasks.yaml", "$.tasks", sources.tasks.tasks),
        ("precisions.yaml", "$.precisions", sources.precisions.precisions),
        ("precisions.yaml", "$.layouts", sources.precisions.layouts),
    ]
    everything += [(f"families/{stem}.yaml", "$.models", family.models) for stem, family in sources.families.items()]
    everything += [(f"api/{stem}.yaml", "$.models", api.models) for stem, api in sources.apis.items()]
    everything += [(f"hardware/{stem}.yaml", "$.devices", file.devices) for stem, file in sources.hardware.items()]
    for file, path, names in everything:
        for name in names:
            if not _ID.fullmatch(name):
                yield Fault(file, f"{path}.{name}", "an id is lower case: letters, digits, `.`, `_` and `-`")


def licences(facts: Facts) -> Iterator[Fault]:
    """Licences of families, models and providers."""
    known = facts.sources.licences.licences
    for family_id, family in facts.sources.families.items():
        yield from _unknown("licence", [family.licence], known, f"families/{family_id}.yaml", "$.licence")
    for model_id, model in facts.links.open_models.items():
        if model.entry.licence is not None:
            yield from _unknown("licence", [model.entry.licence], known, *model.place(model_id, "licence"))
    for provider_id, api in facts.sources.apis.items():
        yield from _unknown("licence", [api.licence], known, f"api/{provider_id}.yaml", "$.licence")


def tasks(facts: Facts) -> Iterator[Fault]:
    """Tasks of families, models and providers."""
    known = facts.sources.tasks.tasks
    for family_id, family in facts.sources.families.items():
        yield from _unknown("task", family.tasks, known, f"families/{family_id}.yaml", "$.tasks")
    for model_id, model in facts.links.open_models.items():
        yield from _unknown("task", model.entry.tasks or (), known, *model.place(model_id, "tasks"))
        yield from _unknown("task", model.entry.not_for, known, *model.place(model_id, "not_for"))
    for provider_id, api in facts.sources.apis.items():
        file = f"api/{provider_id}.yaml"
        yield from _unknown("task", api.tasks, known, file, "$.tasks")
        for model_id, entry in api.models.items():
            yield from _unknown("task", entry.tasks or (), known, file, f"$.models.{model_id}.tasks")


def benchmarks(facts: Facts) -> Iterator[Fault]:
    """Models of scores, benchmarks and variants of tasks."""
    sources = facts.sources
    models = {*facts.links.open_models, *facts.links.api_models}
    for benchmark, rows in sources.scores.items():
        for line, row in rows:
            yield from _unknown("model", [row.model], models, f"scores/{benchmark}.csv", f"line {line}, model")
    for task_id, task in sources.tasks.tasks.items():
        for place, evidence in enumerate(task.benchmarks):
            path = f"$.tasks.{task_id}.benchmarks[{place}]"
            yield from _unknown("benchmark", [evidence.benchmark], sources.scores, "tasks.yaml", f"{path}.benchmark")
            found = [row.variant for _, row in sources.scores.get(evidence.benchmark, [])]
            for variant in evidence.variants if found else ():
                if not any(_matches(variant, name) for name in found):
                    message = f"no score of {evidence.benchmark} has the variant {variant!r}"
                    yield Fault("tasks.yaml", f"{path}.variants", message, names=evidence.benchmark)
        if not task.benchmarks and task.unranked is None:
            yield Fault("tasks.yaml", f"$.tasks.{task_id}", "give benchmarks, or say in `unranked` why there are none")


def _matches(pattern: str, variant: str) -> bool:
    return variant.startswith(pattern[:-1]) if pattern.endswith("*") else variant == pattern


def engines(facts: Facts) -> Iterator[Fault]:
    """Precisions, layouts and devices of engines, and layouts of measured losses."""
    precisions, layouts = facts.sources.precisions.precisions, facts.sources.precisions.layouts
    for engine_id, engine in facts.sources.engines.items():
        file = f"engines/{engine_id}.yaml"
        yield from _unknown("precision", engine.layouts, precisions, file, "$.layouts")
        yield from _unknown("layout", engine.layouts.values(), layouts, file, "$.layouts")
        for place, found in enumerate(engine.not_on):
            yield from _unknown("device", found.devices, facts.links.devices, file, f"$.not_on[{place}].devices")
    for line, loss in facts.sources.quality_losses:
        if loss.layout:
            yield from _unknown("layout", [loss.layout], layouts, "quality/loss.csv", f"line {line}, layout")


def models(facts: Facts) -> Iterator[Fault]:
    """Base models and successors."""
    links = facts.links
    for model_id, model in links.open_models.items():
        base = model.entry.base_model
        if base is not None and "/" not in base:
            yield from _unknown("model", [base], links.open_models, *model.place(model_id, "base_model"))
    for model_id, (provider_id, entry) in links.api_models.items():
        if entry.successor is not None:
            place = f"$.models.{model_id}.successor"
            yield from _unknown("model", [entry.successor], links.api_models, f"api/{provider_id}.yaml", place)


def sizes(facts: Facts) -> Iterator[Fault]:
    """The models that stand for a class of size."""
    for size_id, size in facts.sources.sizes.sizes.items():
        path = f"$.sizes.{size_id}"
        if size.example is not None:
            yield from _unknown("model", [size.example], facts.links.open_models, "sizes.yaml", f"{path}.example")
        yield from _unknown("model", size.apis, facts.links.api_models, "sizes.yaml", f"{path}.apis")
        if (size.from_params is None) == (size.example is not None) or bool(size.apis) == (size.example is not None):
            yield Fault("sizes.yaml", path, "give from_params and example, or apis")


def prices(facts: Facts) -> Iterator[Fault]:
    """The devices that clouds rent out."""
    for line, price in facts.sources.cloud_prices:
        yield from _unknown("device", [price.device], facts.links.devices, "prices/cloud.csv", f"line {line}, device")


def _unknown(noun: str, names: Iterable[str], known: Collection[str], file: str, path: str) -> Iterator[Fault]:
    for name in names:
        if name not in known:
            yield Fault(file, path, f"no {noun} {name!r} in the catalog", names=name)


RULES = (files, ids, licences, tasks, benchmarks, engines, models, sizes, prices)
