"""What one request costs: at an API by its prices, on rented hardware by its price and the speed predicted there.

Every figure is for the task's mix of prompt and answer tokens; per token means per token of the prompt and the visible
answer, so that a reasoning model's thoughts show as a higher price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.sized import own_reading_s
from fmkit.speed.estimate import Range
from fmkit.units import format_percent, format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.machine import Machine
    from fmkit.selection.facts import ApiTerms, Candidate, CloudPrice
    from fmkit.selection.quality import Judgement
    from fmkit.selection.request import Load
    from fmkit.selection.serving import Batch
    from fmkit.speed.estimate import SpeedEstimate

DAYS_PER_MONTH = 30
HOURS_PER_MONTH = 24 * DAYS_PER_MONTH


class TokenCost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a model's tokens. None where a figure is unknown; `assumption` says what it rests on."""

    usd_per_1m_tokens: float | None
    usd_per_month: float | None
    break_even_utilisation: float | None
    price_date: str | None
    assumption: str

    @property
    def tokens_per_usd(self) -> float | None:
        """Tokens that one dollar buys."""
        return 1e6 / self.usd_per_1m_tokens if self.usd_per_1m_tokens else None


def api_usd_per_1m(terms: ApiTerms, load: Load) -> float | None:
    """USD per million tokens of the mix: (prompt * in + (answer + thoughts) * out) / (prompt + answer).

    A price of 0 is a free tier or a gap in the data, not a price.
    """
    written = load.output_tokens + load.thinking_tokens
    priced_in, priced_out = terms.input_usd_per_1m or None, terms.output_usd_per_1m or None
    if priced_in is None or (priced_out is None and written):
        return None
    total = load.prompt_tokens * priced_in + written * (priced_out or 0.0)
    return total / (load.prompt_tokens + load.output_tokens)


def api_cost(terms: ApiTerms, load: Load, requests_per_day: float | None) -> TokenCost:
    """The cost of an API model: what is used is what is paid."""
    usd_per_1m = api_usd_per_1m(terms, load)
    month = None
    if usd_per_1m is not None and requests_per_day is not None:
        month = usd_per_1m / 1e6 * (load.prompt_tokens + load.output_tokens) * requests_per_day * DAYS_PER_MONTH
    return TokenCost(
        usd_per_1m_tokens=usd_per_1m,
        usd_per_month=month,
        break_even_utilisation=None,
        price_date=terms.price_date,
        assumption=f"list price of {terms.provider}, {_mix(load)}, nothing cached",
    )


def cheapest_hourly(prices: Iterable[CloudPrice], machine: Machine) -> CloudPrice | None:
    """The cheapest offer of the machine's device; None for a machine no cloud in the catalog rents out."""
    if machine.device is None or machine.origin != "catalog":
        return None
    offers = [price for price in prices if price.device == machine.device.id and price.usd_per_device_hour > 0]
    return min(offers, key=lambda p: (p.usd_per_device_hour, p.provider, p.instance, p.region), default=None)


def busy_s_per_request(speed: SpeedEstimate, load: Load) -> float | None:
    """Seconds of the machine one request uses when it is never idle: prompt / prefill rate + written / throughput."""
    throughput, reading_s = speed.throughput_tokens_per_s, own_reading_s(speed, load)
    if reading_s is None or (throughput is None and speed.decode_tokens_per_s is not None):
        return None
    written = load.output_tokens + load.thinking_tokens
    return reading_s + (written / throughput.median if throughput is not None else 0.0)


def tokens_per_usd(tokens_per_s: Range, usd_per_hour: float) -> Range:
    """Tokens that one dollar of rent buys on a machine that is never idle: rate * 3600 / rent.

    >>> tokens_per_usd(Range(low=500.0, median=1000.0, high=1500.0), 2.0).median
    1800000.0
    """
    return tokens_per_s.times(3600 / usd_per_hour)


def electricity_usd_per_1m(joules_per_1k_tokens: Range, usd_per_kwh: float) -> Range:
    """USD of electricity for a million tokens: 1000 * J per 1k / 3.6e6 J per kWh * price.

    A card of 400 W that writes 1,000 tokens per second takes 400 J per 1k tokens:

    >>> round(electricity_usd_per_1m(Range(low=300.0, median=400.0, high=500.0), 0.30).median, 4)
    0.0333
    """
    return joules_per_1k_tokens.times(1000 / 3.6e6 * usd_per_kwh)


def hosted_cost(
    speed: SpeedEstimate | None,
    load: Load,
    price: CloudPrice | None,
    machine: Machine,
    *,
    sequences: int = 1,
    batch: Batch | None = None,
    devices: int | None = None,
    requests_per_day: float | None,
    rival: tuple[str, float] | None,
) -> TokenCost | None:
    """The cost of running a model on rented hardware; None where the hardware has no price or the model no speed.

    A `batch` takes the place of `speed` and `sequences`. Only the `devices` that hold the model are paid for (all of the machine's where not
    given). `rival` is the id and the price per million tokens of the API to compare with. Break-even is the share of the hour the machine must
    be busy for its tokens to cost as much as the API's: own price at full use / API price.
    """
    if batch is not None:
        speed, sequences = batch.speed, batch.sequences
    busy_s = None if speed is None else busy_s_per_request(speed, load)
    if price is None or busy_s is None or speed is None:
        return None
    rented = machine.count if devices is None else devices
    usd_per_hour = price.usd_per_device_hour * rented
    tokens = load.prompt_tokens + (load.output_tokens if speed.decode_tokens_per_s is not None else 0)
    usd_per_1m = usd_per_hour / 3600 * busy_s / tokens * 1e6
    month, machines = None, ""
    if requests_per_day is not None:
        needed = max(-(-requests_per_day * busy_s // 86400), 1)
        month = usd_per_hour * HOURS_PER_MONTH * needed
        machines = _rentals(int(needed), requests_per_day * busy_s / 86400)
    fewest = f" of {machine.count} (the fewest that hold it)" if rented < machine.count else ""
    together = f" ({batch.limit})" if batch is not None else ""
    rivalry, break_even = "", None
    if rival is not None:
        break_even = usd_per_1m / rival[1]
        rivalry = f"; break-even against {rival[0]} at {format_rate(rival[1])} USD per 1M tokens"
        if break_even > 1:
            rivalry += " is above full use: the API is cheaper"
    return TokenCost(
        usd_per_1m_tokens=usd_per_1m,
        usd_per_month=month,
        break_even_utilisation=break_even,
        price_date=price.source_date,
        assumption=f"{rented} x {price.device}{fewest} at {price.usd_per_device_hour:g} USD per hour ({price.provider} "
        f"{price.region}), busy all the time with {sequences} at once{together}, {_mix(load)}, median predicted speed{machines}{rivalry}",
    )


def _rentals(needed: int, busy: float) -> str:
    """How many rentals the requests take, and how much of their time, if they come evenly."""
    noun = "rental" if needed == 1 else "rentals"
    return f"; {needed} such {noun} all month, {format_percent(busy / needed, digits=0)} of the time busy if requests come evenly"


def _mix(load: Load) -> str:
    thoughts = f" + {load.thinking_tokens:,} thinking (assumed)" if load.thinking_tokens else ""
    return f"{load.prompt_tokens:,} prompt + {load.output_tokens:,} answer{thoughts} tokens per request"


def cheapest_rival(
    quality: Judgement | None,
    offers: Iterable[tuple[Candidate, Judgement | None, float]],
) -> tuple[str, float] | None:
    """The cheapest API model that the evidence puts at least level: its quality not below the low end of `quality`."""
    if quality is None or quality.low is None:
        return None
    level = [
        (usd_per_1m, candidate.id)
        for candidate, judged, usd_per_1m in offers
        if judged is not None and judged.value is not None and judged.value >= quality.low
    ]
    if not level:
        return None
    usd_per_1m, model = min(level)
    return model, usd_per_1m
