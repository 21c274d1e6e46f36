"""The catalog's facts against config.json and a published table: every difference has a reason that holds."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks import catalog_facts
from benchmarks.facts.context import length_case
from benchmarks.facts.files import published
from benchmarks.facts.lengths import Lengths, why_another
from benchmarks.facts.licence import tag_case
from benchmarks.facts.parameters import count_case
from benchmarks.facts.witnesses import Case, witnessed
from benchmarks.proofs.differences import NOT_EXPLAINED
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
        assert states[fact, "equal"] + states[fact, "taken"] >= least * whole > 0
        assert states[fact, "equal"] > 0.2 * whole  # by themselves


def test_models_without_a_witness_are_counted_and_named(found: list[Case]) -> None:
    models = catalog_facts.open_models()
    for held in witnessed(found, models):
        assert held.agrees + held.taken + held.differs_explained + held.doubtful + len(held.without) == len(models)
        assert "albert-base-v2" in held.without  # the table has no line of it
        assert "deepseek-r1" not in held.without
        # 4096 is what the table writes where it knows no context: nobody's witness, even where it happens to be right
        assert ("yi-34b" in held.without) == (held.fact == "context")


def test_a_wrong_count_is_not_explained_away() -> None:
    """One parameter more or less than what arithmetic explains is open, whatever the model."""
    for model_id in ("llama-3.1-8b", "gpt2", "deepseek-v3", "kimi-k2-base", "glm-4.7"):
        model = load_catalog().model(model_id)
        table = published(model_id)["params"]
        assert count_case(model, "test", int(table)).state in {"equal", "explained"}
        assert count_case(model, "test", int(table) + 1).state == "open"


def test_a_wrong_limit_is_not_explained_away() -> None:
    model = load_catalog().model("llama-3.1-8b")
    assert length_case(model, "published table", 131072).state == "equal"
    assert length_case(model, "published table", 131072 * 8).state == "explained"  # its RoPE factor
    assert length_case(model, "published table", 100_000).state == "open"


def test_what_was_taken_from_the_table_is_no_evidence_of_it(found: list[Case]) -> None:
    """The table is named as the source of the licence of GLM-4.5; that of Llama 3.1 was read in Meta's repository."""
    states = {case.model: case.state for case in found if (case.fact, case.witness) == ("licence", "published table")}
    assert (states["glm-4.5"], states["llama-3.1-8b"]) == ("taken", "equal")
    for case in found:
        if case.state == "taken" and case.fact == "context":
            assert "published table" in load_catalog().model(case.model).candidate.sources["context_tokens"]


@pytest.mark.parametrize(
    "model_id", ["llama-3.1-8b", "glm-4.5", "qwen2.5-3b", "whisper-tiny", "instructblip-vicuna-7b"]
)
def test_no_source_explains_a_wrong_licence(model_id: str) -> None:
    model = load_catalog().model(model_id)
    assert model.candidate.sources["licence"]
    assert tag_case(model, "gpl-3.0").state == "open"


@pytest.mark.parametrize(
    ("tokens", "source", "state"),
    [
        (131072, "README.md (128K; the file says 163840)", "explained"),
        (131072, "README.md, recalled", "open"),
        (65536, "README.md (128K; the file says 163840)", "open"),
        (131072, "published table of 2026-11-24 (131072)", "open"),
    ],
)
def test_a_source_explains_a_context_only_where_it_writes_the_figure(tokens: int, source: str, state: str) -> None:
    """DeepSeek-V3, whose own file has 163840."""
    held = Lengths("a/b", tokens, source, 163840, "a/b", False, None, None, None)
    open_ = NOT_EXPLAINED in why_another(held, 163840, of_table=False)
    assert ("open" if open_ else "explained") == state


def test_a_file_that_is_not_whole_or_another_models_gives_way_to_the_table_only() -> None:
    held = Lengths("a/b", 262144, "published table of 2026-11-24", 65536, "a/b", True, None, None, 262144)
    assert why_another(held, 65536, of_table=False).startswith("incomplete file")
    assert why_another(held._replace(incomplete=False), 65536, of_table=False) == NOT_EXPLAINED
    assert why_another(held._replace(table_tokens=131072), 65536, of_table=False) == NOT_EXPLAINED
    relative = held._replace(incomplete=False, file_of="a/c")
    assert why_another(relative, 65536, of_table=False).startswith("file of a relative: it is that of a/c")


def test_the_factor_of_rope_scaling_explains_its_own_product_only() -> None:
    """Yarn-Mistral: 8192 positions by 16, in a file of 32768."""
    held = Lengths("a/b", 131072, "", 32768, "a/b", False, 16.0, 8192, None)
    assert why_another(held, 32768, of_table=False).startswith("RoPE scaling: 8,192 by a factor of 16")
    assert why_another(held._replace(catalog_tokens=65536), 32768, of_table=False) == NOT_EXPLAINED
