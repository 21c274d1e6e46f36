"""Totals without words are the totals of the full estimate, over the whole catalog and every precision of each engine."""

from __future__ import annotations

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError
from fmkit.model.spec import ModelSpec
from fmkit.sizing.engine import EngineSpec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate
from fmkit.sizing.totals import Totals, totals

WORKLOADS = tuple(
    Workload(context_tokens=tokens, sequences=count) for tokens in (300, 4_097, 131_072) for count in (1, 8)
)
SAMPLE = 6
"""Every sixth model in the quick test: the models of one lineage stand beside each other."""


def agree(spec: ModelSpec, engine: EngineSpec) -> bool:
    """Whether the engine knows the model at all; where it does, every total must be the estimate's."""
    layouts = [load_catalog().layouts[name] for name in dict.fromkeys(engine.layouts.values())]
    layouts = [layout for layout in layouts if layout.file_type != "stored"]
    try:
        quick = list(totals(spec, engine, layouts, WORKLOADS))
    except FmkitError as refusal:
        with pytest.raises(type(refusal)):
            estimate(spec, engine, layouts[0], "any", WORKLOADS[0])
        return False
    full = [estimate(spec, engine, layout, "any", workload) for layout in layouts for workload in WORKLOADS]
    assert quick == [Totals(f.weights_bytes, f.cache_bytes, f.steady_bytes, f.peak_bytes) for f in full]
    return True


@pytest.mark.parametrize("engine", ["transformers", "vllm", "llama.cpp"])
def test_totals_of_every_sixth_model(engine: str) -> None:
    catalog = load_catalog()
    specs = [spec for name in catalog.model_ids()[::SAMPLE] if (spec := catalog.model(name).spec) is not None]
    assert sum(agree(spec, catalog.engines[engine]) for spec in specs) > len(specs) / 3


@pytest.mark.full
@pytest.mark.parametrize("engine", ["transformers", "vllm", "llama.cpp"])
def test_totals_of_the_whole_catalog(engine: str) -> None:
    catalog = load_catalog()
    for name in catalog.model_ids():
        if (spec := catalog.model(name).spec) is not None:
            agree(spec, catalog.engines[engine])
