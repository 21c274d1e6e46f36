"""All rules of the catalog that no single file can show: what joins them, what must have a source, what is plausible.

`check` reads the files afresh and finds everything at once; `fmkit catalog check`, the tests and the build of a wheel use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.catalog.agreement import config_contradictions, contradictions, row_contradictions
from fmkit.catalog.capability import unknown_benchmarks
from fmkit.catalog.check_measurements import measurement_faults
from fmkit.catalog.compile import read_spec
from fmkit.catalog.faults import Fault
from fmkit.catalog.lines import with_lines
from fmkit.catalog.links import Links, link
from fmkit.catalog.plausible import plausible
from fmkit.catalog.sources import Sources, read_sources

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_ROUNDING = 1e-6
_NEEDED = ("NOTICE.md", "licences.yaml", "tasks.yaml", "precisions.yaml", "configs/INDEX.csv")


def check(folder: Path) -> list[Fault]:
    """Every fault of the catalog in `folder`, sorted; empty when it is fit to ship."""
    sources = read_sources(folder)
    return with_lines(check_sources(sources), sources)


def check_sources(sources: Sources) -> list[Fault]:
    """Every fault of sources that were read, without the lines of YAML files."""
    links = link(sources)
    faults = [*sources.faults, *links.faults, *plausible(sources), *contradictions(sources, links)]
    faults += [Fault(name, "$", "missing") for name in _NEEDED if not (sources.folder / name).is_file()]
    for rule in (
        _ids,
        _licences,
        _tasks,
        _benchmarks,
        _engines,
        _models,
        _sizes,
        _prices,
        _sourced_models,
        _sourced_devices,
    ):
        faults += rule(sources, links)
    faults += _configs(sources, links)
    faults += measurement_faults(sources, links)
    faults += unknown_benchmarks(sources.capability, sources.scores)
    return faults


def catalog_id(hub_id: str) -> str:
    """The catalog id of a Hub id: its last part in lower case, without a `meta-` prefix.

    >>> catalog_id("meta-llama/Meta-Llama-3-8B"), catalog_id("openai-community/gpt2")
    ('llama-3-8b', 'gpt2')
    """
    return hub_id.rpartition("/")[2].lower().removeprefix("meta-")


def _ids(sources: Sources, links: Links) -> Iterator[Fault]:
    for model_id, model in links.open_models.items():
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
    for file, path, ids in everything:
        for name in ids:
            if not _ID.fullmatch(name):
                yield Fault(file, f"{path}.{name}", "an id is lower case: letters, digits, `.`, `_` and `-`")


def _licences(sources: Sources, links: Links) -> Iterator[Fault]:
    known = sources.licences.licences
    for family_id, family in sources.families.items():
        yield from _unknown("licence", [family.licence], known, f"families/{family_id}.yaml", "$.licence")
    for model_id, model in links.open_models.items():
        if model.entry.licence is not None:
            yield from _unknown("licence", [model.entry.licence], known, *model.place(model_id, "licence"))
    for provider_id, api in sources.apis.items():
        yield from _unknown("licence", [api.licence], known, f"api/{provider_id}.yaml", "$.licence")
    names = [*known, *(alias for licence in known.values() for alias in licence.aliases)]
    yield from _twice("licence", names, "licences.yaml", "$.licences")


def _tasks(sources: Sources, links: Links) -> Iterator[Fault]:
    known = sources.tasks.tasks
    for family_id, family in sources.families.items():
        yield from _unknown("task", family.tasks, known, f"families/{family_id}.yaml", "$.tasks")
    for model_id, model in links.open_models.items():
        yield from _unknown("task", model.entry.tasks or (), known, *model.place(model_id, "tasks"))
        yield from _unknown("task", model.entry.not_for, known, *model.place(model_id, "not_for"))
    for provider_id, api in sources.apis.items():
        file = f"api/{provider_id}.yaml"
        yield from _unknown("task", api.tasks, known, file, "$.tasks")
        for model_id, entry in api.models.items():
            yield from _unknown("task", entry.tasks or (), known, file, f"$.models.{model_id}.tasks")


def _benchmarks(sources: Sources, links: Links) -> Iterator[Fault]:
    models = {*links.open_models, *links.api_models}
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
                    yield Fault("tasks.yaml", f"{path}.variants", message)
        if not task.benchmarks and task.unranked is None:
            yield Fault("tasks.yaml", f"$.tasks.{task_id}", "give benchmarks, or say in `unranked` why there are none")


def _matches(pattern: str, variant: str) -> bool:
    return variant.startswith(pattern[:-1]) if pattern.endswith("*") else variant == pattern


def _engines(sources: Sources, links: Links) -> Iterator[Fault]:
    precisions, layouts = sources.precisions.precisions, sources.precisions.layouts
    for engine_id, engine in sources.engines.items():
        file = f"engines/{engine_id}.yaml"
        yield from _unknown("precision", engine.layouts, precisions, file, "$.layouts")
        yield from _unknown("layout", engine.layouts.values(), layouts, file, "$.layouts")
        for place, found in enumerate(engine.not_on):
            yield from _unknown("device", found.devices, links.devices, file, f"$.not_on[{place}].devices")
    for line, loss in sources.quality_losses:
        if loss.layout:
            yield from _unknown("layout", [loss.layout], layouts, "quality/loss.csv", f"line {line}, layout")
        if loss.at_16_bit is None or loss.quantised is None:
            continue
        if abs(loss.quantised - loss.at_16_bit - loss.difference) > _ROUNDING:
            yield Fault("quality/loss.csv", f"line {line}, difference", "is not quantised less 16 bit")
    names = [*precisions, *(alias for precision in precisions.values() for alias in precision.aliases)]
    yield from _twice("precision", names, "precisions.yaml", "$.precisions")


def _models(_: Sources, links: Links) -> Iterator[Fault]:
    for model_id, model in links.open_models.items():
        base = model.entry.base_model
        if base is not None and "/" not in base:
            yield from _unknown("model", [base], links.open_models, *model.place(model_id, "base_model"))
    for model_id, (provider_id, entry) in links.api_models.items():
        if entry.successor is not None:
            place = f"$.models.{model_id}.successor"
            yield from _unknown("model", [entry.successor], links.api_models, f"api/{provider_id}.yaml", place)


def _sizes(sources: Sources, links: Links) -> Iterator[Fault]:
    for size_id, size in sources.sizes.sizes.items():
        path = f"$.sizes.{size_id}"
        if size.example is not None:
            yield from _unknown("model", [size.example], links.open_models, "sizes.yaml", f"{path}.example")
        yield from _unknown("model", size.apis, links.api_models, "sizes.yaml", f"{path}.apis")
        if (size.from_params is None) == (size.example is not None) or bool(size.apis) == (size.example is not None):
            yield Fault("sizes.yaml", path, "give from_params and example, or apis")


def _prices(sources: Sources, links: Links) -> Iterator[Fault]:
    for line, price in sources.cloud_prices:
        yield from _unknown("device", [price.device], links.devices, "prices/cloud.csv", f"line {line}, device")


def _configs(sources: Sources, links: Links) -> Iterator[Fault]:
    folders = [sources.folder] if sources.own_folder is None else [sources.folder, sources.own_folder]
    on_disk = {path.name for folder in folders for path in folder.glob("configs/*.json")}
    for file in sorted(on_disk - set(sources.configs)):
        yield Fault(f"configs/{file}", "$", "not listed in configs/INDEX.csv")
    for file in sorted(set(sources.configs) - on_disk):
        yield Fault("configs/INDEX.csv", file, "listed, but there is no such file")
    users: dict[str, list[str]] = {}
    for model_id in links.open_models:
        users.setdefault(links.config_file(model_id) or "", []).append(model_id)
    for file, row in sources.configs.items():
        yield from row_contradictions(file, row)
        if file not in users or file not in on_disk:
            continue
        spec, fault = read_spec(sources, file)
        if spec is None:
            yield Fault(f"configs/{file}", "$", f"not understood: {fault}")
            continue
        for model_id in users[file]:
            yield from config_contradictions(model_id, file, spec, links)
        if row.match == "y" and row.params_meta is not None and spec.params != row.params_meta:
            message = f"{spec.params:,} parameters read, {row.params_meta:,} counted (INDEX.csv says they match)"
            yield Fault(f"configs/{file}", "$", message)


def _sourced_models(sources: Sources, links: Links) -> Iterator[Fault]:
    for family_id, family in sources.families.items():
        stated: dict[str, object] = {"licence": family.licence, "training_tokens": family.training_tokens}
        yield from _unsourced(stated, family.sources, f"families/{family_id}.yaml", "$")
    for model_id, model in links.open_models.items():
        entry = model.entry
        stated = {
            "licence": entry.licence,
            "released": entry.released,
            "training_tokens": entry.training_tokens,
            "context_tokens": entry.context_tokens,
            "quantised": entry.quantised or None,
        }
        file, path = model.place(model_id, "")
        yield from _unsourced(stated, {**model.family.sources, **entry.sources}, file, path.rstrip("."))
    for model_id, (provider_id, api_entry) in links.api_models.items():
        api = sources.apis[provider_id]
        prices = api_entry.input_usd_per_1m or api_entry.output_usd_per_1m
        stated = {"released": api_entry.released, "context_tokens": api_entry.context_tokens, "prices": prices}
        file, path = f"api/{provider_id}.yaml", f"$.models.{model_id}"
        yield from _unsourced(stated, {**api.sources, **api_entry.sources}, file, path)
        if prices is not None and api_entry.price_date is None:
            yield Fault(file, f"{path}.price_date", "missing: a price has a date")


def _sourced_devices(sources: Sources, _: Links) -> Iterator[Fault]:
    for stem, hardware in sources.hardware.items():
        for device_id, entry in hardware.devices.items():
            stated = {"memory": entry.memory, "bandwidth_gb_s": entry.bandwidth_gb_s, "tflops": entry.tflops or None}
            yield from _unsourced(stated, entry.sources, f"hardware/{stem}.yaml", f"$.devices.{device_id}")


def _unsourced(stated: Mapping[str, object], sources: dict[str, str], file: str, path: str) -> Iterator[Fault]:
    for key, value in stated.items():
        named = any(source == key or source.startswith(f"{key}.") for source, text in sources.items() if text.strip())
        if value is not None and not named:
            yield Fault(file, f"{path}.sources.{key}", "missing: a fact without a source does not get in")


def _unknown(noun: str, names: Iterable[str], known: Collection[str], file: str, path: str) -> Iterator[Fault]:
    for name in names:
        if name not in known:
            yield Fault(file, path, f"no {noun} {name!r} in the catalog")


def _twice(noun: str, names: list[str], file: str, path: str) -> Iterator[Fault]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(file, path, f"the name {name!r} means more than one {noun}")
