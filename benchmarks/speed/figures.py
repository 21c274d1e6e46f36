"""The rates that a measured row prints, each with its workload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from fmkit.api.accuracy.latency import rates_of
from fmkit.catalog.measurements import LatencyMeasurement

UNSTATED_PROMPT_TOKENS = 512
"""Depth of a row that says neither prompt nor answer (assumed)."""


class Figure(msgspec.Struct, frozen=True):
    """One printed rate and its workload."""

    rate: Literal["decode", "prefill", "throughput", "saturated"]
    per_s: float
    context_tokens: int
    prompt_tokens: int
    answer_tokens: float
    counts_prompt: bool


def figures(row: LatencyMeasurement) -> Iterator[Figure]:
    """The rates that `fmkit accuracy` reads in a row, saturated servers, and steps of unstated depth."""
    found = [Figure(*one) for one in rates_of(row)]
    yield from found
    prompt, answer = row.prompt_tokens or 0, row.gen_tokens or 0.0
    if row.measures == "serving" and row.throughput_tok_s and not row.itl_ms and prompt and answer:
        counted = row.throughput_kind == "input+output"
        yield Figure("saturated", row.throughput_tok_s, round(prompt + answer / 2), prompt, answer, counted)
    elif not found and row.measures == "decode" and row.decode_tok_s_per_seq:
        yield Figure("decode", row.decode_tok_s_per_seq, round(answer / 2) or UNSTATED_PROMPT_TOKENS, 0, answer, False)
    elif not found and row.measures == "serving" and row.itl_ms and row.batch:
        yield Figure("decode", 1000 / row.itl_ms, UNSTATED_PROMPT_TOKENS, 0, answer, False)
