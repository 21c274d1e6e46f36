"""Prices: their age, and against each other: of one model, of one line of models, of one provider, of one device in all clouds."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

from fmkit.catalog.checks.dates import day_of, last_day_of
from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.schema import ApiModelEntry
    from fmkit.selection.facts import CloudPrice

_DEAREST_OUTPUT = 10
"""Output costs up to 8.4 times the input (Gemini 2.5 Flash, Nova 2 Lite)."""

_LINE_FACTOR = 3
_LINE_DAYS = 365
"""Within a year a model of a line (Sonnet, mini, Flash) costs within this factor of the others: Opus became three times cheaper."""

_ABOVE_ALL, _BELOW_ALL = 5, 12
"""A provider's dearest and cheapest model are within these factors of the next: DeepSeek V4 Pro 4.4 times, Claude Haiku 5.5 a tenth."""

_CLOUD_FACTOR = 5
"""Clouds ask within this factor of each other's median: 2.40 to 12.29 USD for an H100, 0.79 to 3.06 for a V100."""

_OTHER_CLOUDS = 2

_OLDEST_DAYS = 365
"""A price that nobody looked at for a year is stale: in less, Opus went to a third. Of a year or month the last day counts."""


def one_model(facts: Facts) -> Iterator[Fault]:
    """Cached input dearer than input, output cheaper or very much dearer."""
    for _, file, path, entry in facts.api_models():
        cached, whole, written = entry.cached_input_usd_per_1m, entry.input_usd_per_1m, entry.output_usd_per_1m
        if cached is not None and whole is not None and cached > whole:
            yield Fault(file, f"{path}.cached_input_usd_per_1m", f"{cached:g} is above the {whole:g} of uncached input")
        if written is not None and whole is not None and written < whole:
            yield Fault(file, f"{path}.output_usd_per_1m", f"{written:g} is below the {whole:g} of input")
        if written and whole and written > _DEAREST_OUTPUT * whole:
            message = f"{written:g} is {written / whole:.0f} times the {whole:g} of input, nobody asks more than {_DEAREST_OUTPUT} times: look both up"
            yield Fault(file, f"{path}.output_usd_per_1m", message)


def stale(facts: Facts) -> Iterator[Fault]:
    """A price of what is on sale that was looked up more than a year before the catalog's date."""
    today = day_of(facts.sources.date)
    dated = [
        (entry.price_date, file, f"{path}.price_date", "look the price up, or set the status")
        for _, file, path, entry in facts.api_models()
        if entry.status == "current"
    ]
    dated += [
        (row.source_date, "prices/cloud.csv", f"line {line}, source_date", "look the price up, or leave the line out")
        for line, row in facts.sources.cloud_prices
    ]
    for text, file, path, what_to_do in dated:
        looked_up = last_day_of(text)
        if today and looked_up and (today - looked_up).days > _OLDEST_DAYS:
            yield Fault(file, path, f"{text} is stale, over {_OLDEST_DAYS} days before the catalog: {what_to_do}")


def one_provider(facts: Facts) -> Iterator[Fault]:
    """An input price far from the others of its line within a year, or far above or below all of its provider's."""
    by_provider: dict[str, list[tuple[str, str, ApiModelEntry, float]]] = defaultdict(list)
    for provider, file, path, entry in facts.api_models():
        if entry.input_usd_per_1m and provider in facts.judged.apis:
            by_provider[provider].append((file, path, entry, entry.input_usd_per_1m))
    for rows in by_provider.values():
        for row in rows:
            file, path, entry, price = row
            others = [other for other in rows if other is not row]
            kin = [
                other[3]
                for other in others
                if _line(other[2].name) == _line(entry.name) and _near(other[2].released, entry.released)
            ]
            place = f"{path}.input_usd_per_1m"
            if len(kin) > 1:
                if not min(kin) / _LINE_FACTOR <= price <= max(kin) * _LINE_FACTOR:
                    message = f"{price:g}, while {len(kin)} models of its line within a year cost {min(kin):g} to {max(kin):g}: look it up"
                    yield Fault(file, place, message)
            elif others:
                prices = [other[3] for other in others]
                if price > _ABOVE_ALL * max(prices):
                    yield Fault(
                        file,
                        place,
                        f"{price:g} is over {_ABOVE_ALL} times the provider's next dearest, {max(prices):g}: look it up",
                    )
                elif price * _BELOW_ALL < min(prices):
                    yield Fault(
                        file,
                        place,
                        f"{price:g} is less than a {_BELOW_ALL}th of the provider's next cheapest, {min(prices):g}: look it up",
                    )


def _line(name: str) -> tuple[str, ...]:
    """What is left of a name without its version.

    >>> _line("Claude Sonnet 4.5"), _line("Claude 3.7 Sonnet"), _line("GPT-4o mini")
    (('claude', 'sonnet'), ('claude', 'sonnet'), ('gpt', 'mini'))
    """
    return tuple(word for word in re.split(r"[\s\-()]+", name.casefold()) if word and not re.search(r"\d", word))


def _near(one: str | None, other: str | None) -> bool:
    first: date | None = day_of(one)
    second = day_of(other)
    return first is not None and second is not None and abs((first - second).days) <= _LINE_DAYS


def clouds(facts: Facts) -> Iterator[Fault]:
    """A price of a device far from what others ask for it; what a user pays may be less, for a machine of their own."""
    by_device: dict[str, list[CloudPrice]] = defaultdict(list)
    for _, row in facts.sources.cloud_prices:
        by_device[row.device].append(row)
    users_own = facts.sources.own is not None
    for line, row in facts.judged.cloud_prices:
        others = [other.usd_per_device_hour for other in by_device[row.device] if other is not row]
        if len(others) < _OTHER_CLOUDS:
            continue
        price, usual = row.usd_per_device_hour, median(others)
        if price > usual * _CLOUD_FACTOR or (price < usual / _CLOUD_FACTOR and not users_own):
            message = f"{price:g} USD for one {row.device} an hour, others ask {usual:g} (median of {len(others)}): is it for the whole instance?"
            yield Fault("prices/cloud.csv", f"line {line}, usd_per_device_hour", message)


RULES = (one_model, stale)
AGAINST_OTHERS = (one_provider, clouds)
