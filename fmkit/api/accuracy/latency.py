"""Rows of measured speed as workloads: which rate of which model at which context was measured.

This mapping is used twice: `fmkit accuracy` scores with it, and the speed model is fitted with it (benchmarks/). Both
see the same rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.api.accuracy.backends import backend_options
from fmkit.api.accuracy.subject import NotScored, Subject, machine_of, not_sized, subject_of
from fmkit.api.sizing import estimate_layout
from fmkit.errors import FmkitError
from fmkit.machine import Machine
from fmkit.sizing.estimate import Workload
from fmkit.speed.estimate import Range, SpeedEstimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import LatencyMeasurement
    from fmkit.model.precision import Layout
    from fmkit.results.vram import Estimate

Rate = Literal["prefill", "decode", "throughput"]


class LatencyCase(msgspec.Struct, frozen=True, kw_only=True):
    """One measured rate, in tokens per second, and the workload it was measured at.

    `prefill` counts prompt tokens of all sequences; `decode` generated tokens of one sequence; `throughput` tokens of
    all sequences over the wall time of a whole batch (`counts_prompt`: prompt tokens too). `workload.context_tokens` is
    what the caches hold on average while decoding, for prefill at its end. `token_by_token`: the prompt was read in decode steps.
    """

    measurement_id: str
    rate: Rate
    measured_per_s: float
    subject: Subject
    machine: Machine
    workload: Workload
    prompt_tokens: int
    gen_tokens: float = 0.0
    counts_prompt: bool = False
    token_by_token: bool = False


READ_TOKEN_BY_TOKEN = ("llama.cpp", "argonne-lcf/LLM-Inference-Bench")
"""Engine and source of rows whose scripts ran llama-bench -b 1, where -b is the tokens of a step: each token of a prompt took a decode step."""


def reads_token_by_token(row: LatencyMeasurement, engine: str) -> bool:
    """Whether a row's engine took a decode step for each token of a prompt."""
    return engine == READ_TOKEN_BY_TOKEN[0] and row.source.startswith(READ_TOKEN_BY_TOKEN[1])


FIRST_OF_V1 = (0, 8)
"""vLLM's second engine (V1) is the default from 0.8 on."""


def is_current(row: LatencyMeasurement, engine: str) -> bool:
    """Whether a row is of the release of transformers or vLLM that speeds are predicted for; one that names none is older."""
    if engine == "transformers":
        return row.engine_version.startswith("transformers 5.")
    found = re.match(r"(?:vllm )?(\d+)\.(\d+)", row.engine_version, re.IGNORECASE)
    return found is not None and (int(found[1]), int(found[2])) >= FIRST_OF_V1


def latency_cases(row: LatencyMeasurement, catalog: Catalog) -> Iterator[LatencyCase]:
    """The rates that a row measured; NotScored where model, engine, weights or device are not known, or the row says no rate."""
    if row.spec_decode:
        raise NotScored("speculative decoding is not modelled")
    subject = subject_of(row, catalog)
    if subject.layout is None:
        raise NotScored(f"no layout is known for weights in {row.quant!r}")
    machine = machine_of(row, catalog)
    if machine is None:
        raise NotScored(f"the catalog has no device {row.accelerator_id}, or not its memory")
    if reason := other_workload(row, subject):
        raise NotScored(reason)
    found = list(rates_of(row))
    if not found:
        raise NotScored(f"no rate that fmkit predicts: a row that measures {row.measures}")
    for rate, measured, context_tokens, prompt_tokens, gen_tokens, counts_prompt in found:
        yield LatencyCase(
            measurement_id=row.measurement_id,
            rate=rate,
            measured_per_s=measured,
            subject=subject,
            machine=machine,
            workload=Workload(
                context_tokens=max(1, context_tokens),
                sequences=max(1, round(row.batch or 1)),
                tensor_parallel=max(row.tp or 1, row.ep or 1) if subject.engine == "vllm" else 1,
                options=backend_options(row, machine.device) if subject.engine == "llama.cpp" else {},
            ),
            prompt_tokens=max(1, prompt_tokens),
            gen_tokens=gen_tokens,
            counts_prompt=counts_prompt,
            token_by_token=reads_token_by_token(row, subject.engine),
        )


def other_workload(row: LatencyMeasurement, subject: Subject) -> str | None:
    """Why a row says nothing of a speed that is predicted: it timed something else than its columns say, or an engine of before."""
    if subject.engine == "vllm" and not is_current(row, "vllm"):
        return "vLLM before 0.8 had another scheduler, sampler and kernels: its speed is not predicted"
    return unstated_limit(row, subject.engine, mixture=subject.spec.is_mixture)


def unstated_limit(row: LatencyMeasurement, engine: str, *, mixture: bool) -> str | None:
    """Why a row timed something else than what its columns say, where its source shows that: fits leave it out too."""
    notes = row.notes.casefold()
    if "egpu" in notes or "raspberry" in notes:
        return "the host's bus or processor is the limit, and the row says only the card"
    if engine == "transformers" and mixture and row.engine_version.startswith("transformers 4."):
        return "mixtures in transformers before 5.0 looped over all experts in Python"
    return None


def rates_of(row: LatencyMeasurement) -> Iterator[tuple[Rate, float, int, int, float, bool]]:
    """Rate, figure, context, prompt, generated tokens, and whether prompt tokens count; one for each figure of the row."""
    prompt, generated = row.prompt_tokens or 0, row.gen_tokens or 0.0
    depth = round(prompt + generated / 2)
    if row.measures in ("prefill", "prefill+decode") and row.prefill_tok_s and prompt:
        yield "prefill", row.prefill_tok_s, prompt, prompt, 0.0, False
    if row.measures in ("decode", "prefill+decode") and row.decode_tok_s_per_seq:
        yield "decode", row.decode_tok_s_per_seq, depth or row.context_tokens or 0, prompt, generated, False
    if row.measures == "e2e" and row.throughput_tok_s and prompt and generated:
        counts_prompt = row.throughput_kind == "input+output"
        yield "throughput", row.throughput_tok_s, depth, prompt, generated, counts_prompt
    if row.measures == "serving" and row.itl_ms and row.batch and (depth or row.context_tokens):
        yield "decode", 1000 / row.itl_ms, depth or row.context_tokens or 0, prompt, generated, False


def predicted_rate(case: LatencyCase, catalog: Catalog) -> Range:
    """The rate that fmkit predicts for a case; NotScored with the reason where it predicts none."""
    subject = case.subject
    if subject.layout is None:
        raise NotScored("the layout of the weights is unknown")
    try:
        estimate = _estimate(case, subject.layout, case.workload, catalog)
        if estimate.fits is False and _may_spill(case):
            # nobody recorded it, but what is larger than the card can't have run otherwise
            estimate = _estimate(case, subject.layout, msgspec.structs.replace(case.workload, offload="cpu"), catalog)
    except FmkitError as error:
        raise NotScored(not_sized(error)) from error
    speed = estimate.speed
    if speed is None:
        why = next((text for text in estimate.warnings if text.startswith("no speed")), "no speed is predicted")
        raise NotScored(why)
    found = _rate_of(case, speed)
    if found is None:
        raise NotScored(f"no {case.rate} rate is predicted for this kind of model")
    return found


def _may_spill(case: LatencyCase) -> bool:
    """Whether the engine puts into main memory by itself what a card has no room for: ollama and its like do."""
    device = case.machine.device
    return case.subject.engine == "llama.cpp" and device is not None and not device.unified_memory


def _estimate(case: LatencyCase, layout: Layout, workload: Workload, catalog: Catalog) -> Estimate:
    subject = case.subject
    return estimate_layout(
        subject.spec,
        subject.precision,
        layout,
        workload,
        case.machine,
        catalog,
        engine=subject.engine,
        prompt_tokens=case.prompt_tokens,
    )


def _counted_share(case: LatencyCase, steps_per_s: Range) -> Range:
    """The rate of a whole batch that takes a step for each token of prompt and answer, of the tokens that the row counts."""
    counted = case.gen_tokens + (case.prompt_tokens if case.counts_prompt else 0)
    share = case.workload.sequences * counted / (case.gen_tokens + case.prompt_tokens)
    return steps_per_s.times(share)


def _rate_of(case: LatencyCase, speed: SpeedEstimate) -> Range | None:
    if case.rate == "prefill":
        return speed.prefill_tokens_per_s
    if case.rate == "decode":
        return speed.decode_tokens_per_s
    if speed.ttft_s is None or speed.decode_tokens_per_s is None:
        return None
    if case.token_by_token:
        return _counted_share(case, speed.decode_tokens_per_s)
    tokens = case.workload.sequences * (case.gen_tokens + (case.prompt_tokens if case.counts_prompt else 0))

    def rate(ttft_s: float, decode_per_s: float) -> float:
        """Tokens over the time of one static batch: the first token, then the rest at the rate of the mean context."""
        return tokens / (ttft_s + max(0.0, case.gen_tokens - 1) / decode_per_s)

    decode = speed.decode_tokens_per_s
    return Range(
        low=rate(speed.ttft_s.high, decode.low),
        median=rate(speed.ttft_s.median, decode.median),
        high=rate(speed.ttft_s.low, decode.high),
    )
