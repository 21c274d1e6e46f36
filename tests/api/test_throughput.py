"""The batch swept: what more sequences bring, and what a dollar and a kilowatt-hour buy."""

from __future__ import annotations

import pytest

from fmkit.api.vram import vram
from fmkit.errors import UsageError
from fmkit.results.throughput import ThroughputResult


@pytest.fixture(scope="module")
def swept() -> ThroughputResult:
    found = vram(
        "llama-3.1-8b", gpu="h100-sxm5-80gb", engine="vllm", precision="fp16", context="4k", throughput=True,
        electricity="0.30",
    ).throughput  # fmt: skip
    assert found is not None
    return found


def test_more_sequences_make_more_tokens_and_each_fewer(swept: ThroughputResult) -> None:
    assert [row.sequences for row in swept.rows] == [2**power for power in range(len(swept.rows))]
    assert len(swept.rows) > 5
    for one, next_ in zip(swept.rows, swept.rows[1:], strict=False):
        assert one.tokens_per_s.median < next_.tokens_per_s.median < 2.01 * one.tokens_per_s.median
        assert one.tokens_per_s_each.median >= next_.tokens_per_s_each.median


def test_the_sweep_ends_where_memory_does(swept: ThroughputResult) -> None:
    """(0.9 x 79.6 GiB - 15 GiB of weights - what vLLM takes) / 0.5 GiB for 4,096 tokens of cache: about 100, so 64 fit and 128 don't."""
    assert swept.rows[-1].sequences == 64


def test_a_dollar_and_a_kilowatt_hour(swept: ThroughputResult) -> None:
    """Rented at the catalog's price, 1,000 tokens/s buy 3.6 million / USD; 700 W of limit x 0.78 at 0.30 USD per kWh."""
    row = swept.rows[-1]
    assert row.usd_per_hour is not None
    assert row.tokens_per_usd is not None
    assert row.tokens_per_usd.median * row.usd_per_hour == pytest.approx(row.tokens_per_s.median * 3600)
    assert row.electricity_usd_per_1m_tokens is not None
    hours = 1e6 / row.tokens_per_s.median / 3600
    assert row.electricity_usd_per_1m_tokens.median == pytest.approx(hours * 0.7 * 0.78 * 0.30, rel=0.001)


def test_devices_are_ordered_by_what_a_dollar_buys(swept: ThroughputResult) -> None:
    bought = [row.tokens_per_usd.median for row in swept.by_device if row.tokens_per_usd is not None]
    assert len(bought) == len(swept.by_device) > 5
    assert bought == sorted(bought, reverse=True)
    assert {row.sequences for row in swept.by_device} != {1}
    assert swept.by_device[0].device in swept.summary[1]


def test_a_small_model_at_a_large_batch_buys_more() -> None:
    """The same card and rent: 0.5B parameters make several times the tokens of 8B."""
    most = {}
    for model in ("qwen2.5-0.5b", "llama-3.1-8b"):
        found = vram(model, gpu="l4", engine="vllm", precision="int8", context="2k", throughput=True).throughput
        assert found is not None
        most[model] = max(row.tokens_per_usd.median for row in found.rows if row.tokens_per_usd is not None)
    assert most["qwen2.5-0.5b"] > 3 * most["llama-3.1-8b"]


def test_what_has_no_rent_has_no_price() -> None:
    found = vram("qwen2.5-0.5b", gpu="rtx-4090", precision="fp16", context="1k", throughput=True).throughput
    assert found is not None
    assert all(row.tokens_per_usd is None and row.usd_per_hour is None for row in found.rows)
    assert all(row.electricity_usd_per_1m_tokens is None for row in found.rows)


def test_an_encoder_writes_nothing() -> None:
    found = vram("bge-base-en-v1.5", gpu="l4", precision="fp16", throughput=True).throughput
    assert found is not None
    assert (found.rows, found.by_device) == ((), ())
    assert "nothing is written" in found.summary[0]
    assert "--sequences" in found.summary[0]


def test_why_there_is_no_rate_and_how_many_devices_make_one() -> None:
    none = vram("llama-3.1-70b", gpu="rtx-4070", precision="fp16", context="128k", throughput=True).throughput
    assert none is not None
    assert none.summary[0] == "no sequence fits"
    two = vram(
        "llama-3.1-8b", gpu="h100-sxm5-80gb:2", engine="vllm", tensor_parallel=2, precision="fp16", context="128k",
        throughput=True,
    ).throughput  # fmt: skip
    assert two is not None
    assert two.summary[0].startswith("most on 2 x h100-sxm5-80gb: FP16 with ")


@pytest.mark.parametrize("price", ["free", "-1", "0", "nan", "inf", "1e9"])
def test_what_is_no_price_of_electricity(price: str) -> None:
    with pytest.raises(UsageError, match="kWh"):
        vram("qwen2.5-0.5b", gpu="l4", throughput=True, electricity=price)


def test_a_price_without_a_sweep_is_refused() -> None:
    with pytest.raises(UsageError, match="swept"):
        vram("qwen2.5-0.5b", gpu="l4", electricity="0.3")
