"""A small made-up catalog: enough kinds of model to see every rule at work."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.machine import Machine
from fmkit.selection.facts import ApiTerms, Candidate, CloudPrice, Licence, Score, Task, TaskBenchmark
from fmkit.selection.pool import Pool
from fmkit.selection.sized import Sized
from fmkit.sizing.estimate import MemoryEstimate
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.units import GIB

BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
BANDWIDTH_BYTES_PER_S = 1e12


def score(benchmark: str, value: float, **changes: Any) -> Score:
    facts: dict[str, Any] = {
        "variant": "5-shot", "unit": "%", "source": "https://example.org/scores", "source_date": "2025-01-01",
        "reported_by": "independent",
    }  # fmt: skip
    return Score(benchmark=benchmark, score=value, **(facts | changes))


def candidate(name: str, **changes: Any) -> Candidate:
    facts: dict[str, Any] = {
        "name": name, "hub_id": f"example/{name}", "family": name.partition("-")[0], "publisher": "Example",
        "spec_kind": "decoder", "tuning": "instruct", "licence": "apache-2.0", "tasks": ("chat",), "not_for": (),
        "languages": ("en",), "inputs": ("text",), "outputs": ("text",), "context_tokens": 131072,
        "params": 8_000_000_000, "active_params": 8_000_000_000, "released": "2025-01-01", "scores": (),
    }  # fmt: skip
    return Candidate(id=name, **(facts | changes))


def api_candidate(name: str, **changes: Any) -> Candidate:
    terms: dict[str, Any] = {"input_usd_per_1m": 2.0, "output_usd_per_1m": 10.0, "price_date": "2025-06-01"}
    terms |= changes.pop("terms", {})
    facts: dict[str, Any] = {
        "hub_id": None, "spec_kind": "api", "licence": "terms", "params": None, "active_params": None,
        "api": ApiTerms(provider="provider", **terms),
    }  # fmt: skip
    return candidate(name, **(facts | changes))


def licence(name: str, licence_class: str, **changes: Any) -> Licence:
    facts: dict[str, Any] = {
        "id": name, "name": name, "licence_class": licence_class, "commercial": "yes", "conditions": ("keep the notice",),
        "verification": "text-read", "source": "https://example.org/licence", "trains_on_outputs": "yes",
    }  # fmt: skip
    return Licence(**(facts | changes))


LICENCES = {
    found.id: found
    for found in (
        licence("apache-2.0", "permissive"),
        licence("mit", "permissive"),
        licence(
            "llama3.1",
            "community-restricted",
            commercial="conditional",
            user_cap=700_000_000,
            conditions=("say Llama",),
        ),
        licence(
            "vision-licence", "community-restricted", excluded_regions=("EU",), excluded_regions_modalities=("image",)
        ),
        licence("research", "research-only", commercial="no", trains_on_outputs="no"),
        licence("terms", "proprietary-api", trains_on_outputs="no"),
    )
}


def chat_task(**changes: Any) -> Task:
    facts: dict[str, Any] = {
        "id": "chat", "name": "Chat", "summary": "Talk.", "tunings": ("instruct", "reasoning"), "kinds": ("decoder",),
        "context_tokens": 8192, "prompt_tokens": 1024, "output_tokens": 256,
        "benchmarks": (
            TaskBenchmark(benchmark="A", weight=2, reason="close to chat", variants=("5-shot", "0-shot*")),
            TaskBenchmark(benchmark="B", weight=1, reason="knowledge"),
        ),
        "words": ("talk", "assistant"),
    }  # fmt: skip
    return Task(**(facts | changes))


def machine(usable_gib: float = 24, **changes: Any) -> Machine:
    usable = round(usable_gib * GIB)
    facts: dict[str, Any] = {
        "name": "a card", "origin": "memory", "device": None, "count": 1, "memory_bytes": usable, "usable_bytes": usable,
    }  # fmt: skip
    return Machine(**(facts | changes))


def memory_estimate(
    precision: str, context_tokens: int, weights_bytes: int, budget_bytes: int, sequences: int = 1
) -> MemoryEstimate:
    cache = sequences * context_tokens * 128 * 1024
    peak = weights_bytes + cache
    return MemoryEstimate(
        engine="transformers", engine_version="5", precision=precision, layout=precision, cache_dtype="bfloat16",
        context_tokens=context_tokens, encoder_tokens=0, sequences=sequences, tensor_parallel=1, pipeline_parallel=1, valid=True,
        weights_bytes=weights_bytes, cache_bytes=cache, steady_bytes=peak, peak_bytes=peak, low_bytes=peak, high_bytes=peak,
        reserved_bytes=0, per_device_bytes=peak, lines=(), fits=peak <= budget_bytes, budget_bytes=budget_bytes,
    )  # fmt: skip


def speed_estimate(decode_tokens_per_s: float, sequences: int = 1, alone: float | None = None) -> SpeedEstimate:
    def around(median: float) -> Range:
        return Range(low=median / 2, median=median, high=median * 2)

    return SpeedEstimate(
        ttft_s=around(1.0),
        prefill_tokens_per_s=around((alone or decode_tokens_per_s) * 20),
        decode_tokens_per_s=around(decode_tokens_per_s),
        throughput_tokens_per_s=around(decode_tokens_per_s * sequences),
        basis="class",
        bound="bandwidth",
        reason="made up",
    )


def pool_of(
    *candidates: Candidate,
    task: Task | None = None,
    on: Machine | None = None,
    prices: tuple[CloudPrice, ...] = (),
    speed_known: bool = True,
    unknown: frozenset[tuple[str, str]] = frozenset(),
    bandwidth: float = BANDWIDTH_BYTES_PER_S,
) -> Pool:
    """A pool whose models weigh params * bits / 8 and decode at bandwidth / weight, each of several sequences a twentieth slower.

    `unknown` (model, precision) have no speed.
    """
    by_id = {found.id: found for found in candidates}
    where = on or machine()

    def size(
        model: str, precision: str, context_tokens: int, _share: float = 1.0, sequences: int | None = None
    ) -> Sized | None:
        params = by_id[model].params
        if params is None:
            return None
        weights, together = params * BITS[precision] // 8, sequences or 1
        each = bandwidth / weights / (0.95 + 0.05 * together)
        return Sized(
            precision=precision,
            memory=memory_estimate(precision, context_tokens, weights, where.usable_bytes * where.count, together),
            speed=speed_estimate(each, together, bandwidth / weights)
            if speed_known and (model, precision) not in unknown
            else None,
        )

    return Pool(
        task=task or chat_task(),
        candidates=tuple(candidates),
        licences=LICENCES,
        cloud_prices=prices,
        precision_bits=BITS,
        machine=where,
        size=size,
    )


class Build:
    """The builders above, for tests: pytest hands them over as the fixture `build`."""

    score = staticmethod(score)
    candidate = staticmethod(candidate)
    api = staticmethod(api_candidate)
    licence = staticmethod(licence)
    licences = LICENCES
    task = staticmethod(chat_task)
    machine = staticmethod(machine)
    speed = staticmethod(speed_estimate)
    pool = staticmethod(pool_of)


@pytest.fixture
def build() -> type[Build]:
    return Build


@pytest.fixture
def chat_pool() -> Pool:
    """Ten models of which each is out for another reason, or in."""
    return pool_of(
        candidate("alpha-8b", scores=(score("A", 60), score("B", 70))),
        candidate("beta-70b", params=70_000_000_000, scores=(score("A", 90), score("B", 88))),
        candidate("llama-8b", licence="llama3.1", languages=("en", "de"), scores=(score("A", 70), score("B", 65))),
        candidate("gamma-3b", params=3_000_000_000, licence="research", scores=(score("A", 40), score("B", 50))),
        candidate("base-8b", tuning="base", scores=(score("A", 80),)),
        candidate("short-1b", params=1_000_000_000, context_tokens=2048, scores=(score("A", 30),)),
        candidate("thinker-8b", tuning="reasoning", thinks=True, scores=(score("A", 85), score("B", 70))),
        candidate("silent-8b"),
        api_candidate("cloud", scores=(score("A", 95), score("B", 95))),
        api_candidate("old-cloud", terms={"status": "retired", "successor": "cloud"}, scores=(score("A", 70),)),
    )
