from __future__ import annotations

from typing import Any

import pytest

from fmkit.machine import Device
from fmkit.selection.cost import api_cost, api_usd_per_1m, cheapest_hourly, cheapest_rival, hosted_cost
from fmkit.selection.facts import ApiTerms, CloudPrice
from fmkit.selection.quality import Judgement
from fmkit.selection.request import Load

LOAD = Load(prompt_tokens=900, output_tokens=100, thinking_tokens=0)
TERMS = ApiTerms(provider="p", input_usd_per_1m=1.0, output_usd_per_1m=10.0, price_date="2025-06-01")


def price(usd: float, **changes: Any) -> CloudPrice:
    facts: dict[str, Any] = {"provider": "cloud", "instance": "one", "device": "card", "count": 1, "region": "eu",
                             "source": "https://example.org", "source_date": "2025-05-05"}  # fmt: skip
    return CloudPrice(usd_per_device_hour=usd, **(facts | changes))


def judged(value: float) -> Judgement:
    return Judgement(value=value, low=value - 0.1, high=value + 0.1, used=(), missing=())


def rented(build: Any, **changes: Any) -> Any:
    device = Device(
        id="card", name="Card", vendor="v", device_class="datacentre", memory_bytes=1, bandwidth_bytes_per_s=1
    )
    return build.machine(origin="catalog", device=device, **changes)


def test_an_api_mix_is_priced_by_its_tokens() -> None:
    # (900 * 1 + 100 * 10) / 1000 = 1.9 USD per million tokens of the mix
    assert api_usd_per_1m(TERMS, LOAD) == pytest.approx(1.9)
    cost = api_cost(TERMS, LOAD, requests_per_day=1000)
    assert cost.usd_per_month == pytest.approx(1.9e-6 * 1000 * 1000 * 30)
    assert cost.tokens_per_usd == pytest.approx(1e6 / 1.9)
    assert cost.price_date == "2025-06-01"


@pytest.mark.parametrize("price_in", [None, 0.0])
def test_an_unknown_price_stays_unknown(price_in: float | None) -> None:
    terms = ApiTerms(provider="p", input_usd_per_1m=price_in, output_usd_per_1m=10.0)
    cost = api_cost(terms, LOAD, requests_per_day=1)
    assert (cost.usd_per_1m_tokens, cost.usd_per_month, cost.tokens_per_usd) == (None, None, None)


def test_own_hardware_is_priced_by_the_seconds_a_request_takes(build: Any) -> None:
    # 100 tokens/s decode and 2000 tokens/s prefill: 0.45 s + 1 s; at 3.6 USD per hour 0.00145 USD per 1000 tokens
    machine = rented(build)
    cost = hosted_cost(build.speed(100), LOAD, price(3.6), machine, requests_per_day=None, rival=("rival", 2.9))
    assert cost is not None
    assert cost.usd_per_1m_tokens == pytest.approx(1.45)
    assert cost.break_even_utilisation == pytest.approx(0.5)
    assert cost.price_date == "2025-05-05"
    assert "rival" in cost.assumption


def test_a_month_is_paid_whole_and_a_second_machine_when_one_is_full(build: Any) -> None:
    machine = rented(build)
    few = hosted_cost(build.speed(100), LOAD, price(3.6), machine, requests_per_day=1, rival=None)
    many = hosted_cost(build.speed(100), LOAD, price(3.6), machine, requests_per_day=100_000, rival=None)
    assert few is not None
    assert many is not None
    assert few.usd_per_month == pytest.approx(3.6 * 720)
    assert many.usd_per_month == pytest.approx(2 * 3.6 * 720)  # 145,000 s of work in 86,400 s


def test_no_price_or_no_speed_means_no_cost(build: Any) -> None:
    machine = rented(build)
    assert hosted_cost(None, LOAD, price(1), machine, requests_per_day=None, rival=None) is None
    assert hosted_cost(build.speed(10), LOAD, None, machine, requests_per_day=None, rival=None) is None


def test_the_cheapest_offer_of_the_same_device_counts(build: Any) -> None:
    offers = [price(3), price(2), price(1, device="other"), price(0)]
    found = cheapest_hourly(offers, rented(build))
    assert found is not None
    assert found.usd_per_device_hour == 2
    assert cheapest_hourly(offers, build.machine()) is None  # a bare size is no device


def test_the_rival_is_the_cheapest_that_is_at_least_level(build: Any) -> None:
    offers = [(build.api("weak"), judged(0.2), 0.1), (build.api("level"), judged(0.5), 1.0),
              (build.api("strong"), judged(0.9), 5.0), (build.api("unscored"), None, 0.01)]  # fmt: skip
    assert cheapest_rival(judged(0.55), offers) == ("level", 1.0)
    assert cheapest_rival(None, offers) is None


def test_only_the_cards_a_model_needs_are_paid(build: Any) -> None:
    machine = rented(build, count=8)
    two = hosted_cost(build.speed(100), LOAD, price(3.6), machine, devices=2, requests_per_day=None, rival=None)
    assert two is not None
    assert two.usd_per_1m_tokens == pytest.approx(2 * 1.45)
    assert "2 x card of 8 (the fewest that hold it)" in two.assumption
