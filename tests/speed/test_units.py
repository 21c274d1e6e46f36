"""Rates of published tables: of one sequence or of all, of answers or of prompts too (trap 2 of such tables).

What the reader makes of a row is held against another column of it, which the reader does not use.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed.cases import Case, cases_of, shipped_rows
from fmkit.catalog.load import Catalog
from fmkit.speed.roofline import POWER_SHARE

SOURCES = ("argonne-lcf/LLM-Inference-Bench@", "ml-energy/leaderboard@", "casper-hansen/AutoAWQ@")


@pytest.fixture(scope="module")
def cases(catalog: Catalog) -> dict[str, list[Case]]:
    """What is read in the trusted rows of each source."""
    rows = [row for row in shipped_rows() if row.trust in ("A", "B")]
    return {
        source: cases_of(tuple(row for row in rows if row.source.startswith(source)), catalog)[0] for source in SOURCES
    }


def test_a_static_batch_took_as_long_as_its_source_says(cases: dict[str, list[Case]]) -> None:
    """Argonne counts tokens of prompts too and prints seconds beside its rates: without the prompts they would be half."""
    found = cases["argonne-lcf/LLM-Inference-Bench@"]
    assert len(found) > 500
    assert {case.row.throughput_kind for case in found} == {"input+output"}
    for case in found:
        assert case.seconds == pytest.approx(case.row.e2e_latency_s, rel=0.01), case.row.measurement_id


def test_steps_of_a_server_make_the_tokens_of_all_its_sequences(cases: dict[str, list[Case]]) -> None:
    """ML.ENERGY prints the time between two tokens of a request, the running batch (8 to 2,048) and the tokens of all: two make the third."""
    found = [case for case in cases["ml-energy/leaderboard@"] if "; dp=1;" in case.row.notes]
    assert len(found) > 150
    ratios = sorted(case.sequences / case.seconds / (case.row.throughput_tok_s or 1) for case in found)
    assert ratios[len(ratios) // 20] > 0.95
    assert ratios[len(ratios) * 9 // 10] < 1.5


def test_decoding_that_is_summed_over_a_batch_is_divided_by_it(cases: dict[str, list[Case]]) -> None:
    """AutoAWQ 0.1.6, Mistral 7B on an RTX 4090: 156.317 tokens/s alone, 1,185.25 of eight sequences, a step being as long as before."""
    seconds = {
        case.sequences: case.seconds
        for case in cases["casper-hansen/AutoAWQ@"]
        if (case.rate, case.row.model_name, case.row.quant, case.row.gen_tokens) == ("decode", "Mistral", "AWQ-4bit GEMM", 64)
    }  # fmt: skip
    assert seconds == pytest.approx({1: 1 / 156.317, 8: 8 / 1185.25}, rel=1e-3)


def test_metered_power_lies_where_energy_takes_it_to_be(cases: dict[str, list[Case]]) -> None:
    drawn = [
        case.row.power_w / (case.device.power_w * (case.row.count or 1))
        for case in cases["ml-energy/leaderboard@"]
        if case.row.power_w is not None and case.device.power_w is not None
    ]
    assert len(drawn) == 245
    stated = (POWER_SHARE.low, POWER_SHARE.median, POWER_SHARE.high)
    assert np.quantile(drawn, (0.1, 0.5, 0.9)) == pytest.approx(stated, abs=0.005)
