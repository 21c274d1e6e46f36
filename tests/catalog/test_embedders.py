"""Embedding models that are decoders: sized in the class that loads them, and timed by the text."""

import pytest

from fmkit.api.vram import vram
from fmkit.catalog.load import load_catalog

PUBLISHED = {
    "qwen3-embedding-0.6b": 595_776_512,
    "qwen3-embedding-8b": 7_567_295_488,
    "gte-qwen2-7b-instruct": 7_069_121_024,
    "e5-mistral-7b-instruct": 7_110_660_096,
}
"""Totals of the repositories' safetensors, and the counts of the embedding leaderboard's model table (`catalog/configs/INDEX.csv`)."""


@pytest.mark.parametrize("model_id", PUBLISHED)
def test_an_embedding_model_has_the_parameters_that_its_repository_stores(model_id: str) -> None:
    found = load_catalog().model(model_id)
    assert found.spec is not None
    assert found.spec.params == found.candidate.params == PUBLISHED[model_id]


def test_no_embedding_model_of_the_catalog_writes() -> None:
    catalog = load_catalog()
    embedders = [each.id for each in catalog.candidates() if each.tuning == "embedding" and each.api is None]
    specs = [catalog.model(each).spec for each in embedders]
    assert [each for each, spec in zip(embedders, specs, strict=True) if spec is not None and spec.writes] == []


@pytest.mark.parametrize("engine", ["transformers", "vllm", "llama.cpp"])
def test_an_embedding_model_is_timed_by_the_text(engine: str) -> None:
    answer = vram("qwen3-embedding-8b", gpu="rtx-4090", engine=engine, context="4k", precision="fp16")
    speed = answer.estimates[0].speed
    assert speed is not None
    assert speed.ttft_s is not None
    assert speed.texts_per_s is not None
    assert speed.texts_per_s.median == pytest.approx(1 / speed.ttft_s.median)
    assert speed.decode_tokens_per_s is None
    assert "with inputs of up to 32k tokens" in answer.verdict


def test_a_reranker_that_keeps_its_head_makes_one_pass() -> None:
    speed = vram("qwen3-reranker-0.6b", gpu="rtx-4090", context="4k", precision="fp16").estimates[0].speed
    assert speed is not None
    assert speed.decode_tokens_per_s is None
    assert speed.texts_per_s is not None
