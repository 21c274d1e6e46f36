"""Totals without words are the totals of the full estimate, and these the sums of its lines, for any model, engine and work."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.sizing.engine import EngineSpec
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import PreparedModel, estimate
from fmkit.sizing.totals import Totals, totals

ENGINES = ("transformers", "vllm", "llama.cpp")
WORKLOADS = tuple(
    Workload(context_tokens=tokens, sequences=count) for tokens in (300, 4_097, 131_072) for count in (1, 8)
)
SAMPLE = 24
"""Every so many models one in the quick test: the models of one lineage stand beside each other."""


@cache
def layouts_of(engine: str) -> tuple[Layout, ...]:
    """All that the engine makes of 16-bit weights."""
    found = [load_catalog().layouts[name] for name in dict.fromkeys(load_catalog().engines[engine].layouts.values())]
    return tuple(layout for layout in found if layout.file_type != "stored")


def of_estimate(found: MemoryEstimate) -> Totals:
    """The totals of an estimate, which must be the sums of its lines."""
    steady = [line for line in found.lines if line.phase == "steady"]
    for part, expected in (("weights", found.weights_bytes), ("cache", found.cache_bytes)):
        assert sum(line.bytes for line in steady if line.kind == part) == expected
    assert sum(line.bytes for line in steady) == found.steady_bytes
    assert sum(line.bytes for line in found.lines) == found.peak_bytes
    return Totals(found.weights_bytes, found.cache_bytes, found.steady_bytes, found.peak_bytes)


def agree(spec: ModelSpec, engine: EngineSpec) -> bool:
    """Whether the engine knows the model at all; where it does, every total must be the estimate's."""
    layouts = layouts_of(engine.id)
    try:
        quick = list(totals(spec, engine, layouts, WORKLOADS))
    except FmkitError as refusal:
        with pytest.raises(type(refusal)):
            estimate(spec, engine, layouts[0], "any", WORKLOADS[0])
        return False
    model = PreparedModel(spec, engine.id)
    full = [model.at(layout).estimate(engine, "any", workload) for layout in layouts for workload in WORKLOADS]
    assert quick == [of_estimate(found) for found in full]
    return True


@pytest.mark.parametrize("engine", ENGINES)
def test_totals_of_some_models(engine: str) -> None:
    catalog = load_catalog()
    specs = [spec for name in catalog.model_ids()[::SAMPLE] if (spec := catalog.model(name).spec) is not None]
    assert sum(agree(spec, catalog.engines[engine]) for spec in specs) > len(specs) / 3


@pytest.mark.full
@pytest.mark.parametrize("engine", ENGINES)
def test_totals_of_the_whole_catalog(engine: str) -> None:
    catalog = load_catalog()
    for name in catalog.model_ids():
        if (spec := catalog.model(name).spec) is not None:
            agree(spec, catalog.engines[engine])


@settings(max_examples=100, deadline=None)
@given(data=st.data(), engine=st.sampled_from(ENGINES))
def test_a_model_that_was_asked_before_answers_as_a_new_one(data: st.DataObject, engine: str) -> None:
    catalog = load_catalog()
    spec = catalog.model(data.draw(st.sampled_from(catalog.model_ids()))).spec
    if spec is None:
        return
    layout, other = data.draw(st.tuples(*[st.sampled_from(layouts_of(engine))] * 2))
    work = st.builds(
        Workload,
        context_tokens=st.integers(1, 2**20),
        sequences=st.integers(1, 300),
        encoder_tokens=st.none() | st.integers(1, 5000),
        images=st.none() | st.integers(0, 4),
        attention=st.sampled_from(("sdpa", "eager")),
    )
    workload, before = data.draw(work), data.draw(work)
    facts = catalog.engines[engine]
    try:
        new = estimate(spec, facts, layout, "any", workload)
    except FmkitError:
        return
    model = PreparedModel(spec, engine)
    model.at(other).estimate(facts, "any", before)
    prepared = model.at(layout)
    prepared.estimate(facts, "any", before)
    assert prepared.estimate(facts, "any", workload) == new
    assert list(totals(spec, facts, [other, layout], [workload]))[1] == of_estimate(new)


def test_totals_refuse_work_that_changes_the_weights() -> None:
    catalog = load_catalog()
    spec = catalog.model("gpt2").spec
    assert spec is not None
    other = msgspec.structs.replace(WORKLOADS[0], images=2)
    with pytest.raises(ValueError, match="images"):
        list(totals(spec, catalog.engines["vllm"], layouts_of("vllm")[:1], [WORKLOADS[0], other]))
