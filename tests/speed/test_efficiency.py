"""Effects by scope, the path that falls back, and peaks of one definition."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import msgspec
import pytest

from fmkit.catalog.load import Catalog
from fmkit.model.spec import ModelSpec
from fmkit.speed.efficiency import SpeedFit, Spread
from fmkit.speed.kernels import kernel_of, matrix_rate, memory_group, not_native
from fmkit.speed.operations import TowerPass
from fmkit.speed.parts import joined, nominal, share_over_stages
from fmkit.speed.scopes import scopes
from fmkit.speed.setting import Setting, setting_of
from fmkit.speed.timing import in_steps

STEP = TowerPass(role="decoder", layers=32, operations=16e9, weight_bytes=16_000_000_000, hidden_dim=4096)


def fit(**effects: dict[str, float]) -> SpeedFit:
    return SpeedFit(
        date="2026-11-27",
        rows=3,
        effects={name.replace("_", " "): found for name, found in effects.items()},
        measured={"decode vllm": 3, "decode vllm on h100-sxm5-80gb, 16": 3, "decode vllm, hbm, 16": 3},
        spreads={"decode class": Spread(low=0.5, high=2, points=40)},
        widths={"decode class, vllm": 0.5, "decode class, vllm, mixture": 2.0, "decode class, tensor parallel": 3.0},
    )


def setting(catalog: Catalog, device: str = "h100-sxm5-80gb", **changes: object) -> Setting:
    plain = Setting(engine="vllm", device=catalog.devices[device], kernel="16", mixture=False)
    return msgspec.structs.replace(plain, **changes)


def test_every_scope_that_is_known_counts_and_no_other(catalog: Catalog) -> None:
    found = fit(
        decode_weights={"all": log(2), "vllm, hbm": log(1.5), "llama.cpp": log(10), "vllm on rtx-4090": log(10)}
    )
    assert found.coefficient(setting(catalog), "decode", "weights") == pytest.approx(3)
    assert found.coefficient(setting(catalog), "prefill", "weights") == 1


def test_a_step_reads_its_weights_at_the_share_that_was_fitted(catalog: Catalog) -> None:
    """16 GB at 3.35 TB/s are 4.78 ms; at half of the bandwidth, 32 launches of 10 us and 20 us for the sequence: 9.89 ms."""
    found = fit(decode_weights={"all": log(2)}, decode_linear={"all": -20.0})
    assert found.pass_s(STEP, setting(catalog), "decode") == pytest.approx(0.00989, rel=0.002)


def test_ranks_share_the_weights_and_pay_for_exchanging(catalog: Catalog) -> None:
    one, four = (fit().pass_s(STEP, setting(catalog, ranks=ranks), "decode") for ranks in (1, 4))
    assert one is not None
    assert four is not None
    assert one / 4 < four < one


def test_a_prompt_in_several_parts_exchanges_each_token_once(catalog: Catalog) -> None:
    """Latency, launches and weights are those of each part; bytes of the exchange grow with the tokens alone."""
    whole = msgspec.structs.replace(STEP, tokens=32_768)
    once, parts = (nominal(one, setting(catalog, ranks=4), "prefill") for one in (whole, in_steps(whole, 8192)))
    assert parts.exchange - once.exchange == pytest.approx(2 * 32 * 3 * 8e-6)
    assert (parts.launch, parts.weights) == pytest.approx((4 * once.launch, 4 * once.weights))


def test_the_path_goes_from_all_engines_to_the_kernel_on_the_device(catalog: Catalog) -> None:
    found = scopes(setting(catalog), "decode", "weights")
    assert found[0] == "all"
    assert found[1] == "vllm"
    assert found[-1] == "vllm on h100-sxm5-80gb, 16"
    assert len(set(found)) == len(found)


def test_what_was_measured_decides_the_basis(catalog: Catalog) -> None:
    found = fit()
    assert found.basis(setting(catalog), "decode") == "measured-device"
    assert found.basis(setting(catalog, "a100-sxm4-80gb"), "decode") == "class"
    assert found.basis(setting(catalog, "rtx-4090"), "decode") == "extrapolated"
    assert found.basis(setting(catalog, mixture=True), "decode") == "extrapolated"
    assert found.basis(setting(catalog), "prefill") == "extrapolated"


def test_the_range_rests_on_the_vendor_before_anything_else(catalog: Catalog) -> None:
    """Vendors whose devices nobody measured the program on are a rung of their own, whatever their memory and kernel have in common."""
    measured = {"decode vllm, nvidia": 3, "prefill vllm V0, nvidia": 3, **fit().measured}
    found = msgspec.structs.replace(fit(), measured=measured)
    devices = ("h100-sxm5-80gb", "a100-sxm4-80gb", "rtx-4090", "mi300x")
    rungs = [found.rung(setting(catalog, device), "decode") for device in devices]
    assert rungs == ["measured-device", "class", "extrapolated", "new-vendor"]
    assert found.rung(setting(catalog), "prefill") == "extrapolated"  # an older release was


def test_a_range_is_as_wide_as_the_scopes_of_its_setting_make_it(catalog: Catalog) -> None:
    settings = (
        setting(catalog, engine="mlx"),
        setting(catalog),
        setting(catalog, mixture=True),
        setting(catalog, ranks=2),
    )
    found = [fit().spread("decode", "class", one) for one in settings]
    assert [spread.high for spread in found] == pytest.approx([2, 2**0.5, 2, 2**1.5])
    assert all(spread.low * spread.high == pytest.approx(1) for spread in found)


@pytest.mark.parametrize("overlaps", [True, False])
def test_a_pass_is_no_shorter_than_its_longest_part(overlaps: bool) -> None:
    parts = [0.004, 0.003, 0.002, 0.001, 0.0005, 0.0001, 0.00005, 0.00002]
    assert max(parts) <= joined(*parts, overlaps=overlaps) <= sum(parts)


def test_every_sequence_and_every_expert_costs_time_of_its_own(catalog: Catalog) -> None:
    """Choosing a token takes 20 us a sequence at nominal rates, an expert 1 us; a prompt chooses one token only."""
    one, many = (msgspec.structs.replace(STEP, tokens=count, experts=0.0) for count in (1, 101))
    routed = msgspec.structs.replace(STEP, experts=48 * 8)
    seconds = [fit().pass_s(step, setting(catalog), "decode") or 0 for step in (one, many, routed)]
    assert seconds[1] - seconds[0] == pytest.approx(100 * 20e-6)
    assert seconds[2] - seconds[0] == pytest.approx(384e-6)
    assert fit().pass_s(one, setting(catalog), "prefill") == fit().pass_s(many, setting(catalog), "prefill")


def test_query_heads_that_share_a_cache_still_read_it_each(catalog: Catalog) -> None:
    """Two models with the same bytes of cache: the one with four times the query heads takes longer to attend."""
    few, lots = (
        msgspec.structs.replace(STEP, cache_bytes=500_000_000, attention_operations=operations, operations=16e9)
        for operations in (0.5e9, 2e9)
    )
    assert (fit().pass_s(lots, setting(catalog), "decode") or 0) > (fit().pass_s(few, setting(catalog), "decode") or 0)


def test_latents_are_expanded_as_fast_as_a_prompt_is_multiplied(catalog: Catalog) -> None:
    """30 TFLOP at half of 989.5 TFLOPS are 61 ms, whatever a step's products over one token reach."""
    found = fit(prefill_linear={"all": log(2)}, decode_linear={"all": 5.0})
    expanding = msgspec.structs.replace(STEP, operations=16e9 + 30e12, expanding_operations=30e12)
    plain_s, expanding_s = (found.pass_s(step, setting(catalog), "decode") for step in (STEP, expanding))
    assert plain_s is not None
    assert expanding_s is not None
    assert expanding_s - plain_s == pytest.approx(0.0606, rel=0.01)


def test_a_latent_that_all_heads_share_is_read_once(catalog: Catalog) -> None:
    """The same operations: heads that read each for itself wait for memory, heads of one latent for the matrix units."""
    apart = msgspec.structs.replace(STEP, operations=16e9 + 2e9, attention_operations=2e9)
    shared = msgspec.structs.replace(apart, shared_attention_operations=2e9)
    reads, multiplies = (nominal(step, setting(catalog), "decode") for step in (apart, shared))
    assert reads.attention == pytest.approx(2e9 / 3.35e12, rel=0.01)
    assert multiplies.attention == 0.0
    assert (multiplies.linear or 0) - (reads.linear or 0) == pytest.approx(2e9 / 989.5e12, rel=0.01)


def test_a_geforce_accumulates_in_16_bit_for_llama_cpp_only(catalog: Catalog) -> None:
    card = catalog.devices["rtx-4090"]
    assert matrix_rate(card, "16", "llama.cpp") == 2 * (matrix_rate(card, "16", "vllm") or 0)
    assert matrix_rate(catalog.devices["a100-sxm4-80gb"], "16", "llama.cpp") == 312e12


@pytest.mark.parametrize(
    ("layout", "kernel"),
    [("plain-16", "16"), ("plain-32", "32"), ("fp8-channel", "fp8"), ("w8a16", "int8"), ("awq-g128", "int4"), ("mxfp4", "mxfp4"),
     ("gguf-q4-k-m", "q4"), ("gguf-q8-0", "q8"), ("gguf-f16", "16"), ("bnb-nf4-dq", "bnb4")],
)  # fmt: skip
def test_kernels_of_layouts(layout: str, kernel: str, catalog: Catalog) -> None:
    assert kernel_of(catalog.layouts[layout]) == kernel


@pytest.mark.parametrize(
    ("device", "group"),
    [("h100-sxm5-80gb", "hbm"), ("rtx-4090", "gddr"), ("apple-m2-ultra-64gb", "apple"), ("ryzen-ai-max-395", "unified"),
     ("cpu-desktop-ddr5-dual", "cpu")],
)  # fmt: skip
def test_kinds_of_memory(device: str, group: str, catalog: Catalog) -> None:
    assert memory_group(catalog.devices[device]) == group


def test_what_a_device_has_no_units_for(catalog: Catalog) -> None:
    assert "bfloat16" in (not_native(catalog.devices["t4"], "16", "bfloat16", "vllm") or "")
    assert not_native(catalog.devices["t4"], "16", "float16", "vllm") is None
    assert "float8" in (not_native(catalog.devices["a100-sxm4-80gb"], "fp8", "bfloat16", "vllm") or "")
    assert not_native(catalog.devices["h100-sxm5-80gb"], "fp8", "bfloat16", "vllm") is None


def test_the_shipped_fit_reaches_no_more_than_the_nominal_rates(
    catalog: Catalog, spec_of: Callable[[str], ModelSpec]
) -> None:
    found, spec, layout = catalog.speed, spec_of("llama-3.1-8b"), catalog.layouts["plain-16"]
    assert found.rows > 2500
    for device in ("rtx-4090", "a100-sxm4-80gb", "h100-sxm5-80gb", "apple-m2-ultra-64gb", "l4", "mi300x"):
        for engine in ("llama.cpp", "vllm", "transformers"):
            asked = setting_of(engine, catalog.devices[device], layout, spec, ranks=1, stages=1)
            assert found.coefficient(asked, "decode", "weights") > 1.0


@pytest.mark.parametrize(
    ("tokens", "one_card", "four_cards"),
    [(512, 7139, 6749), (1024, 6899, 9609), (4096, 5266, 12491), (8192, 4040, 10994)],
)
def test_a_long_prompt_runs_through_several_cards_at_once(
    tokens: int, one_card: float, four_cards: float, catalog: Catalog
) -> None:
    """Llama 3 8B Q4_K_M in llama.cpp on one and on four RTX 4090 (XiongjieDai/GPU-Benchmarks-on-LLM-Inference), tokens per second."""
    cards = setting(catalog, "rtx-4090", engine="llama.cpp", kernel="q4", stages=4)
    assert 1 / share_over_stages(tokens, cards) == pytest.approx(four_cards / one_card, rel=0.25)


def test_one_token_takes_as_long_on_several_cards_as_on_one(catalog: Catalog) -> None:
    cards = setting(catalog, "rtx-4090", engine="llama.cpp", kernel="q4", stages=8)
    assert share_over_stages(1, cards) == 1
