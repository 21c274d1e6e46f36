"""The catalog's facts against config.json and a published table: every difference has a reason that holds."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks import catalog_facts
from benchmarks.proofs.witnesses import Case, witnessed
from fmkit.catalog.load import load_catalog


@pytest.fixture(scope="module")
def found() -> list[Case]:
    return list(catalog_facts.cases())


def test_every_difference_has_a_reason(found: list[Case]) -> None:
    assert [case for case in found if case.state == "open"] == []


def test_counts_are_those_of_the_instantiated_models(found: list[Case]) -> None:
    counted = [case for case in found if case.witness == "transformers on the meta device"]
    assert len(counted) >= 300
    assert {case.state for case in counted} == {"equal"}


def test_most_facts_of_the_table_agree_as_they_stand(found: list[Case]) -> None:
    states = Counter((case.fact, case.state) for case in found if case.witness == "published table")
    for fact, least in {"parameters": 0.7, "context": 0.65, "licence": 0.95}.items():
        whole = sum(count for (name, _), count in states.items() if name == fact)
        assert states[fact, "equal"] >= least * whole > 0


def test_models_without_a_witness_are_counted_and_named(found: list[Case]) -> None:
    models = catalog_facts.open_models()
    for held in witnessed(found, models):
        assert held.agrees + held.differs_explained + held.doubtful + len(held.without) == len(models)
        assert "albert-base-v2" in held.without  # the table has no line of it
        assert "deepseek-r1" not in held.without
        # 4096 is what the table writes where it knows no context: nobody's witness, even where it happens to be right
        assert ("yi-34b" in held.without) == (held.fact == "context")


def test_a_wrong_count_is_not_explained_away() -> None:
    """One parameter more or less than what arithmetic explains is open, whatever the model."""
    for model_id in ("llama-3.1-8b", "gpt2", "deepseek-v3", "kimi-k2-base", "glm-4.7"):
        model = load_catalog().model(model_id)
        table = catalog_facts.published(model_id)["params"]
        assert catalog_facts._count(model, "test", int(table)).state in {"equal", "explained"}
        assert catalog_facts._count(model, "test", int(table) + 1).state == "open"


def test_a_wrong_limit_is_not_explained_away() -> None:
    model = load_catalog().model("llama-3.1-8b")
    assert catalog_facts._length(model, "published table", 131072).state == "equal"
    assert catalog_facts._length(model, "published table", 131072 * 8).state == "explained"  # its RoPE factor
    assert catalog_facts._length(model, "published table", 100_000).state == "open"
