"""How many requests run together on a server, and what a month of them costs: made-up models of 1 GiB of cache per request."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.machine import Device
from fmkit.selection.facts import CloudPrice
from fmkit.selection.ranking import select
from fmkit.selection.request import Request
from fmkit.selection.standing import Standing

CARD = Device(
    id="card", name="Card", vendor="v", device_class="datacentre", memory_bytes=1, bandwidth_bytes_per_s=1
)  # fmt: skip
RENT = CloudPrice(
    provider="cloud", instance="one", device="card", count=1, region="eu", usd_per_device_hour=3.6, source="", source_date="2026-01-01"
)  # fmt: skip


def standing(build: Any, usable_gib: float = 64, thinks: bool = False, **asked: Any) -> Standing:
    """A model of 8e9 parameters in 16 bit (14.9 GiB), at 100 tokens/s with one request."""
    pool = build.pool(
        build.candidate(
            "m", scores=(build.score("A", 60),), tuning="reasoning" if thinks else "instruct", thinks=thinks
        ),
        on=build.machine(usable_gib, origin="catalog", device=CARD),
        prices=(RENT,),
        bandwidth=1.6e12,
    )
    request = Request(**{"task": "chat", "engine": "vllm", "requests_per_day": 100_000.0, **asked})
    (found,) = select(request, pool).standings
    return found


def assumed(build: Any, **asked: Any) -> str:
    cost = standing(build, **asked).cost
    assert cost is not None
    return cost.assumption


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "with 49 at once (the most that memory holds)"),  # 64 GiB less 14.9 for weights: 49 requests of 1 GiB
        ({"usable_gib": 2000}, "with 1024 at once (the most that vllm runs together)"),
        ({"min_tokens_per_s": 70.0}, "with 9 at once (the most that leave each 70 tokens/s)"),  # 100 / (0.95 + 0.05 x 9) = 71.4, of ten 69.0
        ({"thinks": True, "max_ttft_s": 25.0}, "with 5 at once (the most with a first token within 25 s)"),  # 0.5 s and 2,000 thoughts at 83
        ({"requests_per_day": None}, "with 1 at once, "), ({"engine": "transformers"}, "with 1 at once, "),
        ({"sequences": 4}, "with 4 at once, "),
    ],
)  # fmt: skip
def test_a_server_runs_as_many_as_memory_and_the_limits_allow(asked: dict[str, Any], said: str, build: Any) -> None:
    assert said in assumed(build, **asked)


def test_a_batch_needs_fewer_rentals_than_one_request_after_the_other(build: Any) -> None:
    """100,000 requests a day of 1,024 + 256 tokens. Alone 0.512 s to read and 2.56 s to write, 307,200 s; of 49 together 0.512 and 0.178 s."""
    alone, served = (standing(build, engine=name).cost for name in ("transformers", "vllm"))
    assert alone is not None
    assert served is not None
    assert "; 4 such rentals all month" in alone.assumption
    assert "; 1 such rental all month, 80 % of the time busy" in served.assumption
    assert (served.usd_per_month or 0) < (alone.usd_per_month or 0)


def test_the_rest_of_the_answer_is_that_of_one_request(build: Any) -> None:
    one, many = standing(build, requests_per_day=None), standing(build)
    assert (one.sized, one.request_s, one.parts.latency) == (many.sized, many.request_s, many.parts.latency)
