"""Models side by side: the figures are those of the commands that answer for one model."""

from __future__ import annotations

import pytest

import fmkit
from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError, UsageError
from fmkit.report.compare import csv_table, markdown_text
from fmkit.report.compare_rows import rows
from fmkit.results.compare import CompareResult
from fmkit.units import format_seconds

NAMES = ("llama-3.1-8b-instruct", "Qwen/Qwen3-8B", "claude-sonnet-4-0")


@pytest.fixture(scope="module")
def compared() -> CompareResult:
    return fmkit.compare(*NAMES, gpu="rtx-4090", context="8k")


def test_memory_and_speed_are_those_of_vram(compared: CompareResult) -> None:
    llama, qwen, claude = compared.models
    alone = fmkit.vram("qwen3-8b", gpu="rtx-4090", context="8k")
    assert qwen.estimates == alone.estimates
    assert {one.context_tokens for one in llama.estimates} == {8192}
    assert claude.estimates == ()
    assert (llama.params, qwen.id) == (8_030_261_248, "qwen3-8b")


def test_shared_scores_are_published_ones_of_two_models_or_more(compared: CompareResult) -> None:
    assert len(compared.shared_scores) > 10
    for shared in compared.shared_scores:
        assert sum(score is not None for score in shared.scores) >= 2
        for model, score in zip(compared.models, shared.scores, strict=True):
            assert model.facts is not None
            assert score is None or score in model.facts.scores


def test_capabilities_are_those_of_recommend(compared: CompareResult) -> None:
    picks = {
        p.model: p.quality for p in fmkit.recommend("code", gpu="h100-sxm5-80gb", precision="fp16", top=1000).picks
    }
    for model in compared.models[:2]:
        (code,) = (one for one in model.capabilities if one.task == "code")
        assert (code.value, code.low, code.high) == (picks[model.id].value, picks[model.id].low, picks[model.id].high)
        assert code.measured == tuple(evidence.benchmark for evidence in picks[model.id].evidence)
    (translation,) = (one for one in compared.models[0].capabilities if one.task == "translation")
    assert (translation.value, translation.basis) == (None, "not ranked")
    assert translation.reason


def test_evidence_by_ability_is_the_models_own(compared: CompareResult) -> None:
    for model in compared.models:
        assert list(model.evidence) == ["multi-step reasoning", "few-shot", "instruction following", "tool use"]
    llama = compared.models[0]
    assert {score.benchmark for score in llama.evidence["instruction following"]} >= {"ifeval", "open-llm-ifeval"}
    assert all("0-shot" not in score.variant.split(", ") for score in llama.evidence["few-shot"])


def test_the_effective_context_stands_beside_the_advertised(compared: CompareResult) -> None:
    llama = compared.models[0]
    assert llama.max_context_tokens == 131_072
    assert llama.effective_context is not None
    assert llama.effective_context.score == 32_768  # RULER's table: Llama 3.1 8B, 32K
    assert "RULER" in llama.effective_context.source


def test_the_api_has_its_price_and_the_card_its_rent(compared: CompareResult) -> None:
    claude = compared.models[2]
    assert claude.facts is not None
    assert claude.facts.api is not None
    assert claude.usd_per_1m_output_tokens == claude.facts.api.output_usd_per_1m
    (hosted,) = fmkit.compare("qwen3-8b", "claude-sonnet-4-0", gpu="h100-sxm5-80gb", precision="fp16").models[:1]
    rate = hosted.estimates[0].speed.decode_tokens_per_s.median  # type: ignore[union-attr]
    rent = min(price.usd_per_device_hour for price in load_catalog().cloud_prices if price.device == "h100-sxm5-80gb")
    assert hosted.usd_per_1m_output_tokens == pytest.approx(rent / (rate * 3600 / 1e6), rel=0.01)


def test_every_row_has_a_cell_for_each_model_and_tables_agree(compared: CompareResult) -> None:
    found = rows(compared)
    assert all(len(row.cells) == len(row.sources) == 3 for row in found)
    assert len(csv_table(compared).splitlines()) == len(found) + 1
    table = [line for line in markdown_text(compared).splitlines() if line.startswith("|")]
    assert len(table) == len(found) + 2
    said = [row for row in found if row.label in ("licence", "released", "context, effective (RULER)", "parameters")]
    assert len(said) == 4
    assert all(source for row in said for cell, source in zip(row.cells, row.sources, strict=True) if cell != "-")


def test_a_short_model_is_sized_as_far_as_it_reaches() -> None:
    bert, gpt = fmkit.compare("bert-base-uncased", "gpt2", memory="24GiB", context="128k").models
    assert (bert.context_tokens, gpt.context_tokens) == (512, 1024)
    assert all(one.valid for model in (bert, gpt) for one in model.estimates)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "at least 2"),
        (("gpt2",), "at least 2"),
        (("gpt2", "openai-community/gpt2"), "same model"),
        (("gpt2", "gpt2"), "same model"),
        (("gpt2", "gtp2-medum"), "gpt2-medium"),
        (("gpt2", ""), "nothing was given"),
        (("gpt2", "\x1b[31mred"), "unknown model"),
        (tuple(f"m{n}" for n in range(13)), "at most 12"),
    ],
)
def test_silly_names_are_refused_with_what_to_type(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(FmkitError, match=message):
        fmkit.compare(*names, memory="24GiB")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown device"):
        fmkit.compare("gpt2", "bert-base-uncased", gpu="rtx-9999")


def test_only_the_cards_that_hold_a_model_are_charged() -> None:
    one, two = (
        fmkit.compare("qwen3-8b", "qwen3-4b", gpu=gpu, engine="vllm", precision="fp16").models[0]
        for gpu in ("h100-sxm5-80gb", "h100-sxm5-80gb:2")
    )
    assert one.usd_per_1m_output_tokens == two.usd_per_1m_output_tokens
    assert two.price_basis is not None
    assert "1 x h100-sxm5-80gb" in two.price_basis


def test_speech_has_its_wait_and_its_real_time_factor() -> None:
    compared = fmkit.compare("whisper-large-v3", "qwen3-4b", gpu="rtx-4090", precision="fp16")
    shown = {row.label: row.cells for row in rows(compared)}
    whisper, qwen = (model.estimates[0].speed for model in compared.models)
    assert whisper is not None
    assert whisper.real_time_factor is not None
    assert qwen is not None
    assert qwen.ttft_s is not None
    heard, silent = shown["fp16 s per s of sound"]
    assert (heard.split("-")[0], silent) == (f"{whisper.real_time_factor.low:.2g}", "-")
    wait = f"{format_seconds(qwen.ttft_s.low)} to {format_seconds(qwen.ttft_s.high)}"
    assert shown["fp16 first token"][1] == wait
