"""Measured rows as seconds of passes: the traps of published tables, and a fit that finds what it was given."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed.cases import Case, cases_of, shipped_rows
from benchmarks.speed.exclusions import split
from benchmarks.speed.fitting import Problem
from benchmarks.speed.settings import engine_name
from fmkit.api.accuracy.backends import build_of
from fmkit.catalog.load import Catalog
from fmkit.catalog.measurements import LatencyMeasurement
from fmkit.speed.parts import LAYER_S
from fmkit.speed.physics import MOST_SHARE


def row(**facts: object) -> LatencyMeasurement:
    plain = {
        "measurement_id": "x", "hub_id": "meta-llama/Meta-Llama-3-8B", "quant": "bf16", "engine": "vLLM", "trust": "A",
        "accelerator_id": "h100-sxm5-80gb", "count": 1, "split_group": "llama-3-8b @ h100",
    }  # fmt: skip
    return LatencyMeasurement(**{**plain, **facts})  # type: ignore[arg-type]  # the columns of the table


def one(catalog: Catalog, **facts: object) -> Case:
    (found,), left_out = cases_of((row(**facts),), catalog)
    assert not left_out
    return found


def test_a_rate_of_one_sequence_is_not_divided_by_the_batch(catalog: Catalog) -> None:
    found = one(catalog, measures="decode", decode_tok_s_per_seq=50.0, batch=16, prompt_tokens=100, gen_tokens=200)
    assert found.seconds == pytest.approx(1 / 50)
    assert found.sequences == 16
    assert found.context_tokens == 200  # the mean depth: the prompt and half of the answer


def test_llama_bench_starts_from_an_empty_cache(catalog: Catalog) -> None:
    found = one(
        catalog, measures="decode", engine="llama.cpp", quant="GGUF Q4_K_M", decode_tok_s_per_seq=100.0, prompt_tokens=0,
        gen_tokens=512,
    )  # fmt: skip
    assert found.context_tokens == 256


@pytest.mark.parametrize(("kind", "tokens"), [("output", 64 * 1024), ("input+output", 64 * 2048)])
def test_prompt_tokens_count_where_the_table_counts_them(kind: str, tokens: int, catalog: Catalog) -> None:
    """The same seconds, 18.8 for 64 sequences of 1024 + 1024 tokens, whether the table adds the prompts or not."""
    found = one(
        catalog, measures="e2e", throughput_tok_s=tokens / 18.8, throughput_kind=kind, batch=64, prompt_tokens=1024,
        gen_tokens=1024,
    )  # fmt: skip
    assert found.seconds == pytest.approx(18.8)
    assert found.steps == 1023
    assert found.answer == tokens


def test_a_prompts_rate_is_that_of_all_sequences(catalog: Catalog) -> None:
    found = one(catalog, measures="prefill", prefill_tok_s=8000.0, batch=4, prompt_tokens=1000)
    assert found.seconds == pytest.approx(0.5)
    assert (found.step, found.steps) == (None, 0)
    assert sum(tower.tokens for tower in found.reads) == 4000


def test_long_prompts_take_llama_cpp_several_passes(catalog: Catalog) -> None:
    short, long = (
        one(
            catalog, measures="prefill", engine="llama.cpp", quant="GGUF F16", prefill_tok_s=1e4, prompt_tokens=tokens
        ).reads[0]
        for tokens in (512, 2048)
    )
    assert (short.steps, long.steps) == (1, 4)


def test_what_is_given_to_many_is_shared_or_split_by_layers(catalog: Catalog) -> None:
    figures = {"measures": "decode", "decode_tok_s_per_seq": 50.0, "prompt_tokens": 1, "gen_tokens": 64, "count": 4}
    assert (one(catalog, **figures).setting.ranks, one(catalog, **figures).setting.stages) == (4, 1)
    split_by_layers = one(catalog, engine="llama.cpp", quant="GGUF F16", **figures).setting
    assert (split_by_layers.ranks, split_by_layers.stages) == (1, 4)


def test_a_saturated_server_runs_what_its_memory_holds(catalog: Catalog) -> None:
    found = one(
        catalog,
        measures="serving",
        throughput_tok_s=15_220.0,
        throughput_kind="output",
        prompt_tokens=1000,
        gen_tokens=1000,
    )
    assert found.saturated
    assert 150 < found.sequences < 300  # (72 - 16) GB less than 0.26 GB a sequence
    assert found.read_share == pytest.approx(1 / 2)  # two prompts of 1000 tokens fit a chunk of 2048


@pytest.mark.parametrize(("count", "ranks"), [(2, 2), (8, 2), (32, 2)])
def test_a_server_that_does_not_say_how_it_is_divided_runs_copies(count: int, ranks: int, catalog: Catalog) -> None:
    """MLPerf's Llama 2 70B in FP8: 69 GB fill one H100 and leave two of them a cache; 32 cards are 16 copies."""
    facts = {
        "measures": "serving", "engine": "TensorRT 10.2.0", "quant": "fp8 typical", "hub_id": "meta-llama/Llama-2-70b-chat-hf",
        "throughput_tok_s": 3000.0 * count, "throughput_kind": "output", "prompt_tokens": 294, "gen_tokens": 294,
    }  # fmt: skip
    found = one(catalog, count=count, **facts)
    assert found.setting.ranks == ranks
    assert found.answer / found.seconds == pytest.approx(6000)
    told = one(catalog, count=count, tp=count, **facts)
    assert told.setting.ranks == count
    assert told.answer / told.seconds == pytest.approx(3000 * count)


def test_rates_of_answers_of_all_tokens_and_of_one_sequence_are_of_one_run(catalog: Catalog) -> None:
    """18.8 s for 64 sequences of 1,024 + 1,024 tokens: 3,486 tokens/s written, 6,972 with prompts, 54 per sequence."""
    shared = {"batch": 64, "prompt_tokens": 1024, "gen_tokens": 1024}
    output, every = (
        one(catalog, measures="e2e", throughput_tok_s=rate, throughput_kind=kind, **shared)
        for rate, kind in ((3486.0, "output"), (6972.0, "input+output"))
    )
    each = one(catalog, measures="decode", decode_tok_s_per_seq=54.0, **shared)
    assert output.seconds == pytest.approx(every.seconds)
    assert each.seconds * 1024 == pytest.approx(18.96, rel=0.001)
    assert each.sequences == output.sequences == 64


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"trust": "C", "measures": "decode", "decode_tok_s_per_seq": 1.0}, "trust C"),
     ({"spec_decode": "mtp", "measures": "decode", "decode_tok_s_per_seq": 1.0}, "speculative"),
     ({"accelerator_id": "abacus", "measures": "decode", "decode_tok_s_per_seq": 1.0}, "no device"),
     ({"hub_id": "nobody/nothing", "measures": "decode", "decode_tok_s_per_seq": 1.0}, "no config.json"),
     ({"measures": "asr"}, "seconds of a recording")],
)  # fmt: skip
def test_rows_that_say_too_little_are_left_out_with_the_reason(
    facts: dict[str, object], reason: str, catalog: Catalog
) -> None:
    found, left_out = cases_of((row(**facts),), catalog)
    assert found == []
    assert reason in next(iter(left_out))[1]


def test_a_step_faster_than_reading_the_weights_is_another_precision(catalog: Catalog) -> None:
    found = one(catalog, measures="decode", decode_tok_s_per_seq=400.0, prompt_tokens=1, gen_tokens=64)
    kept, left_out = split([found])
    assert kept == []
    assert "faster than reading the weights once" in next(iter(left_out))[1]


def test_engines_and_builds_have_one_name() -> None:
    assert engine_name(row(engine="TensorRT 10.2.0, CUDA 12.4", measures="serving")) == "tensorrt-llm"
    assert engine_name(row(engine="ollama", measures="decode")) == "llama.cpp"
    notes = "llama-bench; flash_attn=True; {'build': 'llama.cpp-vulkan', 'fa': '-fa 1'}"
    assert build_of(row(notes=notes, measures="decode")) == "vulkan fa"


def test_the_fit_finds_the_efficiency_that_it_was_given(catalog: Catalog) -> None:
    """Models of 0.5B to 70B on one card, made to take 100 us a layer and 70 % of the bandwidth: both are found within 5 %."""
    made = []
    names = (
        "Qwen/Qwen2.5-0.5B",
        "Qwen/Qwen2.5-1.5B",
        "Qwen/Qwen2.5-7B",
        "Qwen/Qwen2.5-14B",
        "Qwen/Qwen2.5-32B",
        "Qwen/Qwen2.5-72B",
    )
    for name in names:
        plain = one(catalog, hub_id=name, measures="decode", decode_tok_s_per_seq=1.0, prompt_tokens=1, gen_tokens=64)
        assert plain.step is not None
        seconds = plain.step.layers * 1e-4 + (plain.step.weight_bytes + plain.step.cache_bytes) / (0.7 * 3.35e12)
        made += [
            one(
                catalog,
                hub_id=name,
                measures="decode",
                decode_tok_s_per_seq=1 / seconds,
                prompt_tokens=1,
                gen_tokens=64,
            )
        ] * 5
    problem = Problem(made)
    effects = problem.fit(np.ones(len(made), dtype=bool))
    found = {
        part: sum(effects[place] for (_, own, _), place in problem.keys.items() if own == part)
        for part in ("launch", "weights")
    }
    assert LAYER_S * np.exp(found["launch"]) == pytest.approx(1e-4, rel=0.05)
    assert np.exp(-found["weights"]) == pytest.approx(0.7, rel=0.05)


@pytest.fixture(scope="module")
def published(catalog: Catalog) -> list[Case]:
    """What is read in all rows that are shipped."""
    return cases_of(shipped_rows(), catalog)[0]


def test_most_published_rows_are_read(published: list[Case]) -> None:
    read = {case.row.measurement_id for case in published}
    trusted = [entry for entry in shipped_rows() if entry.trust in ("A", "B")]
    assert len(read) > 0.93 * len(trusted)


def test_hardly_a_step_reads_its_weights_faster_than_estimates_may_say(published: list[Case]) -> None:
    """MLX with 4 bit on an M4 Pro, and llama.cpp on a processor whose nominal rate is that of copying, are all that is above 95 %."""
    kept, _ = split(published)
    shares = {
        case.row.measurement_id: case.step.weight_bytes / (case.device.bandwidth_bytes_per_s * case.setting.ranks) / case.seconds
        for case in kept
        if case.rate == "decode" and case.step is not None and not case.setting.mixture and not case.host_s
        if case.device.bandwidth_bytes_per_s is not None
    }  # fmt: skip
    assert len(shares) > 1000
    assert {name for name, share in shares.items() if share > MOST_SHARE} == {"own-cpu-56", "L1f793552c5"}


def test_a_prompt_read_token_by_token_is_a_row_of_decode_steps(catalog: Catalog) -> None:
    """llama-bench -b 1: 128 + 128 tokens in 4.3447 s are 17.0 ms a step, whatever the rate counts."""
    found = one(
        catalog, measures="e2e", engine="llama.cpp", quant="fp16/bf16", throughput_tok_s=58.92, throughput_kind="input+output",
        batch=1, prompt_tokens=128, gen_tokens=128, source="argonne-lcf/LLM-Inference-Bench@1:a.csv",
    )  # fmt: skip
    assert (found.reads, found.steps) == ((), 255)
    assert found.seconds == pytest.approx(4.3447, rel=0.001)


def test_what_a_card_has_no_room_for_is_read_from_main_memory(catalog: Catalog) -> None:
    """18.6 GB of weights on 12 GiB: a third or so of each step comes from main memory at 40 GB/s, and is no part of the card's work."""
    facts = {
        "measures": "decode",
        "engine": "llama.cpp",
        "quant": "GGUF Q4_K_M",
        "decode_tok_s_per_seq": 4.4,
        "gen_tokens": 300,
    }
    whole, spilt = (
        one(catalog, hub_id="Qwen/Qwen3-32B", accelerator_id=device, **facts) for device in ("rtx-4090", "rtx-5070")
    )
    assert whole.host_s == 0
    assert 0.15 < spilt.host_s < 0.30
    assert whole.step is not None
    assert spilt.step is not None
    assert spilt.step.weight_bytes + spilt.host_s * 40e9 == pytest.approx(whole.step.weight_bytes, rel=0.001)


def test_a_file_with_16_bit_attention_reads_more_than_the_quantisers_own(catalog: Catalog) -> None:
    """gpt-oss-20b: 1.8 billion weights beside the experts are active, 3.7 GB a token in all with 2 bytes each; with Q8_0 there, 1.9 GB."""
    facts = {
        "measures": "decode",
        "engine": "llama.cpp",
        "hub_id": "openai/gpt-oss-20b",
        "accelerator_id": "ryzen-ai-max-395",
        "decode_tok_s_per_seq": 47.0,
        "gen_tokens": 128,
    }
    wide, own = (one(catalog, quant=quant, **facts) for quant in ("GGUF MXFP4 (F16 non-expert)", "GGUF MXFP4"))
    assert wide.setting.kernel == own.setting.kernel == "mxfp4"
    assert wide.step is not None
    assert own.step is not None
    assert wide.step.weight_bytes == pytest.approx(3.7e9, rel=0.02)
    assert own.step.weight_bytes == pytest.approx(2.2e9, rel=0.2)


@pytest.mark.parametrize(
    ("engine", "version", "release"),
    [("vLLM", "0.11.1", "V1"), ("vLLM", "vLLM 0.6.3", "V0"), ("vLLM", "mid-2024", "V0"), ("vLLM", "MLPerf Inference v4.1", "V0"),
     ("transformers", "transformers 5.1.0", "5"), ("transformers", "transformers 4.46", "4")],
)  # fmt: skip
def test_releases_that_are_programs_of_their_own(engine: str, version: str, release: str, catalog: Catalog) -> None:
    found = one(
        catalog, measures="decode", engine=engine, engine_version=version, decode_tok_s_per_seq=50.0, gen_tokens=64
    )
    assert found.setting.build == release
