"""What is there twice: entries that differ in spelling or storage only, names with two meanings, scores of one variant and reporter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmkit.catalog.checks.facts import Facts

_STORED_AS = re.compile(r"(-(hf|fp32|fp16|bf16|fp8|nvfp4|mxfp4|fp4|int8|int4|[48]bit|bnb|awq|gptq|gguf|mlx))+$")
"""What repositories append for the form of the weights; DeepSeek's 0324 and Qwen's 2507 are other weights."""


def models(facts: Facts) -> Iterator[Fault]:
    """Models whose ids differ in spelling only."""
    links = facts.links
    for model_id, other in alike((model_id, model_id) for model_id in (*links.open_models, *links.api_models)):
        place = (
            links.open_models[model_id].place(model_id, "hub_id")
            if model_id in links.open_models
            else (f"api/{links.api_models[model_id][0]}.yaml", f"$.models.{model_id}")
        )
        yield Fault(*place, f"differs from the model {other!r} in spelling only")


def copies(facts: Facts) -> Iterator[Fault]:
    """Models whose ids differ in the form that the weights are stored in only: `-hf`, `-bf16`, `-awq`; a user may have a copy of a shipped one."""
    stored = ((model_id, _STORED_AS.sub("", model_id)) for model_id, _ in facts.judged_models())
    for model_id, other in alike(stored):
        message = (
            f"these are the weights of {other!r} again, by the name: an alias of that entry, or one of its `quantised`"
        )
        yield Fault(*facts.links.open_models[model_id].place(model_id, "hub_id"), message)


def quantised(facts: Facts) -> Iterator[Fault]:
    """A quantised repository of two models, or that is an entry of its own."""
    first: dict[str, str] = {}
    for model_id, model in facts.links.open_models.items():
        for repository in model.entry.quantised:
            name = repository.casefold()
            owner = facts.links.names.get(name) or first.setdefault(name, model_id)
            if owner != model_id or model.entry.quantised.count(repository) > 1:
                message = f"{repository} is of {owner!r} already: a quantised repository is of one model"
                yield Fault(*model.place(model_id, "quantised"), message)


def devices(facts: Facts) -> Iterator[Fault]:
    """Devices whose ids, or names with their memory, differ in spelling only."""
    names = [(device_id, f"{entry.name} {entry.memory}") for device_id, (_, entry) in facts.links.devices.items()]
    files = {device: stem for stem, file in facts.sources.hardware.items() for device in file.devices}
    for device_id, other in (*alike((i, i) for i, _ in names), *alike(names)):
        path = f"$.devices.{device_id}"
        yield Fault(f"hardware/{files[device_id]}.yaml", path, f"differs from the device {other!r} in spelling only")


def licences_and_precisions(facts: Facts) -> Iterator[Fault]:
    """Names of licences and precisions that mean two of them."""
    licences, precisions = facts.sources.licences.licences, facts.sources.precisions.precisions
    for licence_id, other in alike((i, entry.name) for i, entry in licences.items()):
        yield Fault("licences.yaml", f"$.licences.{licence_id}.name", f"is the name of {other!r} too")
    of_licences = [*licences, *(alias for licence in licences.values() for alias in licence.aliases)]
    yield from _twice("licence", of_licences, "licences.yaml", "$.licences")
    of_precisions = [*precisions, *(alias for precision in precisions.values() for alias in precision.aliases)]
    yield from _twice("precision", of_precisions, "precisions.yaml", "$.precisions")


def scores(facts: Facts) -> Iterator[Fault]:
    """A second score of a model in one variant by one kind of reporter."""
    for benchmark, rows in facts.sources.scores.items():
        seen: set[tuple[str, str, str]] = set()
        for line, row in rows:
            what = (row.model, row.variant, row.reported_by)
            if what in seen:
                message = (
                    f"{row.model} has a score of this variant and reporter already: keep one, name the other in notes"
                )
                yield Fault(f"scores/{benchmark}.csv", f"line {line}", message)
            seen.add(what)


def alike(named: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose names are the same but for case, spaces, `-` and `_`; dots count: 1.3b is not 13b.

    >>> list(alike([("a-1", "Card 24GB"), ("b", "card-24gb"), ("c", "card 2.4gb")]))
    [('b', 'a-1')]
    """
    first: dict[str, str] = {}
    for key, name in named:
        plain = re.sub(r"[\s_-]", "", name.casefold())
        if first.setdefault(plain, key) != key:
            yield key, first[plain]


def _twice(noun: str, names: list[str], file: str, path: str) -> Iterator[Fault]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(file, path, f"the name {name!r} means more than one {noun}")


RULES = (models, copies, quantised, devices, licences_and_precisions, scores)
