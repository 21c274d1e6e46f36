"""Facts that contradict each other: a name and a count, a memory and its speed, a score and a release, an entry and its twin."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault
from fmkit.catalog.speed import measurements_digest
from fmkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmkit.catalog.links import Links
    from fmkit.catalog.schema import ConfigRow
    from fmkit.catalog.sources import Sources
    from fmkit.model.spec import ModelSpec

_SIZE_IN_NAME = re.compile(r"(?<![a-z0-9.])(\d+(?:[._]\d+)?)(b|m)(?![a-z0-9])")
_NAME_FACTOR = 2.0
"""A model's parameters are within this factor of the sizes in its name: 1B is 1.67B in Falcon 3, 0.1B is 0.19B in RWKV-7."""

_LONGEST_STRETCH = 16
"""A publisher's context beyond this many times its own config.json is a mistake: Command R7B states 16 times, Qwen3-2507 6.4."""

_PUBLISHED_ROUNDING = 0.02
"""How far a count may be from the publisher's where INDEX.csv calls them equal."""

_BANDWIDTH_GB_S: dict[str, tuple[float, float]] = {
    "DDR4": (15, 410),
    "DDR5": (30, 850),
    "LPDDR4X": (15, 140),
    "LPDDR5": (25, 820),
    "LPDDR5X": (60, 1100),
    "GDDR5": (60, 400),
    "GDDR5X": (200, 600),
    "GDDR6": (90, 1000),
    "GDDR6X": (350, 1100),
    "GDDR7": (250, 2200),
    "HBM2": (250, 1700),
    "HBM2e": (400, 3800),
    "HBM3": (800, 6000),
    "HBM3e": (1000, 10000),
    "HBM4": (1500, 24000),
}
"""From one narrow to the widest bus that was sold with a kind of memory; a new kind is added here."""

_EARLIEST_SCORE_DAYS = 200
"""Scores of previews and of a release's own table come before it, by so much at most."""

_OLDEST_PRICE_DAYS = 3 * 365
"""A price of a model on sale that nobody looked at for longer is stale."""


def contradictions(sources: Sources, links: Links) -> Iterator[Fault]:
    """Every contradiction between facts that need no architecture to be read."""
    yield from _bandwidths(sources)
    yield from _prices(sources)
    yield from _base_models(links)
    yield from _score_dates(sources, links)
    yield from _twins(sources, links)
    yield from _clauses(sources)
    yield from _speed_fit(sources)


def config_contradictions(model_id: str, file: str, spec: ModelSpec, links: Links) -> Iterator[Fault]:
    """What a model's entry and name say against the architecture in its config.json."""
    model = links.open_models[model_id]
    stated = model.entry.context_tokens
    limit = spec.max_context_tokens
    if stated is not None and limit is not None:
        place = model.place(model_id, "context_tokens")
        if spec.context_is_hard and stated > limit:
            yield Fault(*place, f"{stated} is beyond the {limit} positions that configs/{file} has embeddings for")
        elif model.entry.config is not None and stated > _LONGEST_STRETCH * limit:
            yield Fault(*place, f"{stated} is more than {_LONGEST_STRETCH} times the {limit} of configs/{file}")
    named = _size_in_name(model_id)
    mixture = spec.active_params < spec.params
    if named is None or (named / _NAME_FACTOR <= spec.params and (mixture or spec.params <= named * _NAME_FACTOR)):
        return
    message = f"configs/{file} has {format_count(spec.params)} parameters, the name says {format_count(named)}"
    yield Fault(*model.place(model_id, "config" if model.entry.config else "config_of"), message)


def row_contradictions(file: str, row: ConfigRow) -> Iterator[Fault]:
    """What a line of INDEX.csv says against itself."""
    counted, published = row.params_meta, row.params_published
    if row.match == "y" and counted and published and abs(counted / published - 1) > _PUBLISHED_ROUNDING:
        message = f"{counted:,} parameters counted, {published:,} published; a difference is `y-explained` or `n`"
        yield Fault("configs/INDEX.csv", file, message)


def _size_in_name(model_id: str) -> float | None:
    """The parameters that a name gives, those of several parts added up (`t5gemma-2b-2b`); None where it gives none.

    >>> _size_in_name("llama-3.1-8b-instruct"), _size_in_name("t5gemma-2b-2b-ul2"), _size_in_name("gpt2")
    (8000000000.0, 4000000000.0, None)
    """
    sizes = [float(n.replace("_", ".")) * (1e9 if unit == "b" else 1e6) for n, unit in _SIZE_IN_NAME.findall(model_id)]
    return sum(sizes) or None


def _bandwidths(sources: Sources) -> Iterator[Fault]:
    for stem, hardware in sources.hardware.items():
        for device_id, entry in hardware.devices.items():
            file, path = f"hardware/{stem}.yaml", f"$.devices.{device_id}"
            if entry.memory_kind is None or entry.bandwidth_gb_s is None:
                continue
            if entry.memory_kind not in _BANDWIDTH_GB_S:
                yield Fault(
                    file, f"{path}.memory_kind", f"{entry.memory_kind!r} is none of {', '.join(_BANDWIDTH_GB_S)}"
                )
                continue
            low, high = _BANDWIDTH_GB_S[entry.memory_kind]
            if not low <= entry.bandwidth_gb_s <= high:
                message = f"{entry.bandwidth_gb_s:g} GB/s is no bandwidth of {entry.memory_kind} ({low:g} to {high:g})"
                yield Fault(file, f"{path}.bandwidth_gb_s", message)


def _prices(sources: Sources) -> Iterator[Fault]:
    today = _day(sources.date)
    for stem, api in sources.apis.items():
        for model_id, entry in api.models.items():
            file, path = f"api/{stem}.yaml", f"$.models.{model_id}"
            cached, whole, written = entry.cached_input_usd_per_1m, entry.input_usd_per_1m, entry.output_usd_per_1m
            if cached is not None and whole is not None and cached > whole:
                yield Fault(
                    file, f"{path}.cached_input_usd_per_1m", f"{cached:g} is above the {whole:g} of uncached input"
                )
            if written is not None and whole is not None and written < whole:
                yield Fault(file, f"{path}.output_usd_per_1m", f"{written:g} is below the {whole:g} of input")
            priced = _day(entry.price_date)
            if entry.status == "current" and today and priced and (today - priced).days > _OLDEST_PRICE_DAYS:
                yield Fault(
                    file, f"{path}.price_date", f"{entry.price_date} is stale: look the price up, or set the status"
                )


def _base_models(links: Links) -> Iterator[Fault]:
    for model_id, model in links.open_models.items():
        base = links.open_models.get(model.entry.base_model or "")
        released, before = model.entry.released, None if base is None else base.entry.released
        if released is None or before is None:
            continue
        if released[:4] < before[:4]:
            message = f"released {released}, but its base {model.entry.base_model} {before}"
            yield Fault(*model.place(model_id, "released"), message)


def _score_dates(sources: Sources, links: Links) -> Iterator[Fault]:
    for benchmark, rows in sources.scores.items():
        for line, row in rows:
            model = links.open_models.get(row.model)
            released = model.entry.released if model else links.api_models[row.model][1].released if row.model in links.api_models else None  # fmt: skip
            first, scored = _day(released), _day(row.source_date)
            if first and scored and (first - scored).days > _EARLIEST_SCORE_DAYS:
                message = f"a score of {row.source_date} for {row.model}, which was released {released}"
                yield Fault(f"scores/{benchmark}.csv", f"line {line}, source_date", message)


def _twins(sources: Sources, links: Links) -> Iterator[Fault]:
    """Entries that differ in spelling only, and scores given twice."""
    for model_id, other in _alike((model_id, model_id) for model_id in (*links.open_models, *links.api_models)):
        place = (
            links.open_models[model_id].place(model_id, "hub_id")
            if model_id in links.open_models
            else (f"api/{links.api_models[model_id][0]}.yaml", f"$.models.{model_id}")
        )
        yield Fault(*place, f"differs from the model {other!r} in spelling only")
    names = ((device_id, f"{entry.name} {entry.memory}") for device_id, (_, entry) in links.devices.items())
    files = {device: stem for stem, file in sources.hardware.items() for device in file.devices}
    for device_id, other in (*_alike((i, i) for i in links.devices), *_alike(names)):
        path = f"$.devices.{device_id}"
        yield Fault(f"hardware/{files[device_id]}.yaml", path, f"differs from the device {other!r} in spelling only")
    for licence_id, other in _alike((i, entry.name) for i, entry in sources.licences.licences.items()):
        yield Fault("licences.yaml", f"$.licences.{licence_id}.name", f"is the name of {other!r} too")
    for benchmark, rows in sources.scores.items():
        times = Counter((row.model, row.variant, row.reported_by) for _, row in rows)
        seen: set[tuple[str, str, str]] = set()
        for line, row in rows:
            what = (row.model, row.variant, row.reported_by)
            if times[what] > 1 and what in seen:
                message = (
                    f"{row.model} has a score of this variant and reporter already: keep one, name the other in notes"
                )
                yield Fault(f"scores/{benchmark}.csv", f"line {line}", message)
            seen.add(what)


def _alike(named: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose names are the same but for case, spaces, `-` and `_`; dots count: 1.3b is not 13b.

    >>> list(_alike([("a-1", "Card 24GB"), ("b", "card-24gb"), ("c", "card 2.4gb")]))
    [('b', 'a-1')]
    """
    first: dict[str, str] = {}
    for key, name in named:
        plain = re.sub(r"[\s_-]", "", name.casefold())
        if first.setdefault(plain, key) != key:
            yield key, first[plain]


def _clauses(sources: Sources) -> Iterator[Fault]:
    """What a licence's figures say must stand in its conditions too, under the topic they belong to."""
    for licence_id, entry in sources.licences.licences.items():
        topics = {topic for condition in entry.conditions if isinstance(condition, dict) for topic in condition}
        asked: dict[str, tuple[bool, set[str]]] = {
            "commercial": (entry.commercial in {"no", "conditional"}, {"use", "users", "revenue"}),
            "user_cap": (entry.user_cap is not None, {"users"}),
            "revenue_cap_usd_per_year": (entry.revenue_cap_usd_per_year is not None, {"revenue"}),
            "excluded_regions": (bool(entry.excluded_regions), {"region"}),
            "trains_on_outputs": (entry.trains_on_outputs in {"no", "conditional"}, {"outputs"}),
        }
        for key, (stated, wanted) in asked.items():
            if stated and topics.isdisjoint(wanted):
                message = f"no condition says so: write one with the topic {' or '.join(sorted(wanted))}"
                yield Fault("licences.yaml", f"$.licences.{licence_id}.{key}", message)


def _speed_fit(sources: Sources) -> Iterator[Fault]:
    """The speed model must be fitted to the measurements that are there."""
    fitted_to = sources.speed.measurements
    if fitted_to and fitted_to != measurements_digest(sources.folder):
        message = "the measurements have changed since the fit: python -m benchmarks.fit_speed"
        yield Fault("speed/fit.yaml", "$.measurements", message)


def _day(text: str | None) -> date | None:
    """The first day of a date that may be a month or a year; None where it is no date.

    >>> _day("2025-03"), _day("soon")
    (datetime.date(2025, 3, 1), None)
    """
    if not text:
        return None
    try:
        year, month, day = (*(int(piece) for piece in text.split("-")), 1, 1)[:3]
        return date(year, month, day)
    except ValueError:
        return None
