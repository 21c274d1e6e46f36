"""The caches that transformers' options ask for, against caches really filled: equal to the byte."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.errors import UsageError
from fmkit.model.architectures import read
from fmkit.sizing.activations import Activations
from fmkit.sizing.engines.transformers_cache import cache_plan
from fmkit.sizing.engines.transformers_options import settings_from
from fmkit.sizing.estimate import Workload
from fmkit.sizing.forward import Pass
from tests.sizing.test_activations import shortened
from tests.trial.tiny import CONFIGS

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402  needs torch
from transformers import DynamicCache, QuantizedCache, StaticCache  # noqa: E402

from fmkit.trial.tracker import LiveStorages, storage_bytes  # noqa: E402
from tests.sizing import tracing  # noqa: E402

LLAMA = {**CONFIGS["llama"][1], "head_dim": 64}


def planned(config: dict[str, Any], tokens: int, sequences: int, element_bytes: int, **options: str) -> Any:
    settings = settings_from(options, tokens)
    run = Pass(
        workload=Workload(context_tokens=tokens, sequences=sequences, images=0),
        encoder_tokens=0,
        element_bytes=element_bytes,
        on_cpu=True,
        chunk_tokens=settings.chunk_tokens,
    )
    return cache_plan(read(config, where="test"), settings, run), run


def steady(plan: Any) -> int:
    return sum(line.bytes for line in plan.lines)


def held_bytes(value: Any) -> int:
    """Storage of all tensors that a cache reaches, those inside quantised tensors included."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor) and hasattr(item, "__tensor_flatten__"):
            waiting.extend(getattr(item, name) for name in item.__tensor_flatten__()[0])
        elif isinstance(item, torch.Tensor):
            found.append(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif hasattr(item, "__dict__"):
            waiting.extend(vars(item).values())
    return storage_bytes(found)


@pytest.mark.parametrize("name", ["llama", "gemma3", "deepseek", "mixtral"])
@pytest.mark.parametrize("sequences", [1, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_static_cache_is_whole_from_the_start(name: str, sequences: int, dtype: Any) -> None:
    config = CONFIGS[name][1]
    with torch.no_grad():
        model = tracing.build(config, dtype, None)
        cache = StaticCache(config=model.config, max_cache_len=200)
        model(torch.ones(sequences, 40, dtype=torch.long), past_key_values=cache)
        filled = held_bytes(cache.layers)
    plan, _ = planned(config, 41, sequences, dtype.itemsize, max_cache_len="200")
    assert steady(plan) == plan.prefill_bytes == filled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("backend", "bits"), [("quanto", 4), ("quanto", 2), ("hqq", 4), ("hqq", 2), ("hqq", 8), ("fp8", 8)]
)
@pytest.mark.parametrize(("prompt", "steps"), [(200, 127), (64, 127), (9, 5)])
def test_a_quantised_cache_is_the_filled_cache(backend: str, bits: int, dtype: Any, prompt: int, steps: int) -> None:
    pytest.importorskip({"quanto": "optimum.quanto", "hqq": "hqq", "fp8": "torch"}[backend])
    whole = {} if backend == "fp8" else {"nbits": bits, "residual_length": steps + 1}
    axes = {"axis_key": 1, "axis_value": 1} if backend == "hqq" else {}
    model = tracing.build(LLAMA, dtype, None)
    cache = QuantizedCache(backend, model.config, **whole, **axes)
    with torch.no_grad():
        model(torch.ones(2, prompt, dtype=torch.long), past_key_values=cache)
        prefilled = held_bytes(cache.layers)
        for _ in range(steps):
            model(torch.ones(2, 1, dtype=torch.long), past_key_values=cache)
    options = {"backend": backend, "nbits": str(bits), "residual_length": str(steps + 1)}
    after_prefill, _ = planned(LLAMA, prompt, 2, dtype.itemsize, **options)
    assert after_prefill.prefill_bytes == prefilled
    plan, _ = planned(LLAMA, prompt + steps, 2, dtype.itemsize, **options)
    assert steady(plan) == held_bytes(cache.layers)


@pytest.mark.parametrize(("backend", "bits"), [("quanto", 4), ("hqq", 4), ("fp8", 8)])
def test_a_decode_step_unpacks_one_layer(backend: str, bits: int) -> None:
    pytest.importorskip({"quanto": "optimum.quanto", "hqq": "hqq", "fp8": "torch"}[backend])
    model = tracing.build(LLAMA, torch.bfloat16, None)
    whole = {} if backend == "fp8" else {"nbits": bits, "residual_length": 8}
    axes = {"axis_key": 1, "axis_value": 1} if backend == "hqq" else {}
    cache = QuantizedCache(backend, model.config, **whole, **axes)
    ids = torch.ones(2, 1024, dtype=torch.long)
    with torch.no_grad(), LiveStorages((), ignored=[*model.parameters(), *model.buffers(), ids]) as live:
        model(ids, past_key_values=cache)
        peaks = []
        for _ in range(8):  # the last one fills the residual, and quantises all of the layer again
            live.reset_peak()
            model(ids[:, :1], past_key_values=cache)
            peaks.append(live.peak_bytes)
    options = {"backend": backend, "nbits": str(bits), "residual_length": "8"}
    plan, _ = planned(LLAMA, 1032, 2, 2, **options)
    assert steady(plan) + plan.growth_bytes == pytest.approx(max(peaks), rel=0.03)
    assert steady(plan) + plan.growth_bytes >= max(peaks) * 0.97


@pytest.mark.parametrize("sequences", [1, 2])
@pytest.mark.parametrize(
    ("name", "tokens", "chunk"),
    [
        ("meta-llama--Llama-3.2-1B-Instruct", 4096, 512),
        ("Qwen--Qwen3-0.6B", 4096, 1024),
        ("mistralai--Mistral-7B-v0.1", 6144, 1024),
    ],
)
def test_a_prompt_in_chunks_peaks_where_the_formula_says(name: str, tokens: int, chunk: int, sequences: int) -> None:
    config = shortened(name)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model = tracing.build(config, torch.bfloat16, None)
        ids = torch.ones(sequences, chunk, dtype=torch.long)
        cache = DynamicCache(config=model.config)
        with LiveStorages((), ignored=[*model.parameters(), *model.buffers(), ids]) as live:
            for _ in range(tokens // chunk):
                out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                del out
    plan, run = planned(config, tokens, sequences, 2, prefill_chunk_size=str(chunk))
    moments = Activations(read(config, where="test"), run.kind).prefill(run)
    predicted = max(moment.bytes + plan.prefill_bytes for moment in moments)
    assert predicted == pytest.approx(live.peak_bytes, rel=0.003)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache": "sttic"}, "static"),
        ({"nbits": "3"}, "nbits"),
        ({"cache": "static", "nbits": "4"}, "no backend"),
        ({"kv_dtype": "int3"}, "int4"),
        ({"speed": "9"}, "valid"),
        ({"residual_length": "-1"}, "residual_length"),
    ],
)
def test_silly_options_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings_from(options, 4096)
    assert words in f"{caught.value.message} {caught.value.where}"


@pytest.mark.parametrize("name", ["gemma3", "deepseek", "mamba", "t5"])
def test_a_quantised_cache_is_for_full_attention(name: str) -> None:
    with pytest.raises(UsageError, match="full attention only"):
        planned(CONFIGS[name][1], 64, 1, 2, cache="quantized")
