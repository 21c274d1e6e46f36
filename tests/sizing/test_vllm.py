"""vLLM's rules: the cache in blocks and groups, the start-up profile, the share of the card.

Published start-up logs are held against them in tests/api/accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import catalog_machine, memory_machine
from fmkit.model.attention import BlockSparseAttention, FullAttention, SlidingAttention
from fmkit.model.recurrent import DeltaAttention, ShortConvolution
from fmkit.model.spec import Block, ModelSpec, Stack
from fmkit.sizing.engines.vllm_cache import groups_of
from fmkit.sizing.engines.vllm_options import Settings, settings_from
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.units import GIB

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.layers import Mixer

MODELS = (
    "gpt2", "llama-3.1-8b", "mistral-7b-v0.1", "mixtral-8x7b-v0.1", "gemma-2-9b", "gemma-3-27b-it", "deepseek-v3", "gpt-oss-20b",
    "bert-base-uncased", "whisper-large-v3", "mamba-2.8b-hf", "clip-vit-large-patch14", "llava-1.5-7b-hf", "t5-base",
)  # fmt: skip
PRECISIONS = ("fp32", "fp16", "fp8", "int8", "int4", "mxfp4")


def sized(
    model: str,
    precision: str = "fp16",
    *,
    context_tokens: int = 4096,
    sequences: int = 1,
    machine: Machine | None = None,
    **options: str,
) -> MemoryEstimate:
    catalog = load_catalog()
    spec = catalog.model(model).spec
    assert spec is not None
    engine = catalog.engines["vllm"]
    layout = catalog.layouts[engine.layouts[precision]]
    workload = Workload(context_tokens=context_tokens, sequences=sequences, options=options)
    return estimate(spec, engine, layout, precision, workload, machine)


def h100() -> Machine:
    return catalog_machine(load_catalog().devices["h100-sxm5-80gb"], 1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_lines_sum_to_totals(model: str, precision: str) -> None:
    found = sized(model, precision, context_tokens=64, sequences=3, machine=h100())
    assert sum(line.bytes for line in found.lines) == found.peak_bytes
    assert sum(line.bytes for line in found.lines if line.phase == "steady") == found.steady_bytes
    assert sum(line.bytes for line in found.lines if line.part.startswith("weights")) == found.weights_bytes
    assert sum(line.bytes for line in found.lines if line.part.startswith("cache")) == found.cache_bytes
    assert found.peak_bytes >= found.steady_bytes >= found.weights_bytes + found.cache_bytes
    assert found.low_bytes <= found.peak_bytes <= found.high_bytes
    assert all(line.bytes > 0 and line.reason and line.source and line.formula for line in found.lines)


@pytest.mark.parametrize(
    ("model", "context", "gib"),
    [
        # what vLLM reserves with 8192 batched tokens: figures worked out by hand from its code, apart from this program
        ("mistral-7b-v0.1", 4096, 0.50), ("mistral-7b-v0.1", 32768, 1.50), ("mistral-7b-v0.1", 131072, 1.50),
        ("gemma-2-9b", 4096, 1.31), ("gemma-2-9b", 32768, 7.22), ("gemma-2-9b", 131072, 22.97),
        ("gemma-3-27b-it", 4096, 2.19), ("gemma-3-27b-it", 32768, 6.73), ("gemma-3-27b-it", 131072, 14.23),
        ("gpt-oss-20b", 4096, 0.19), ("gpt-oss-20b", 32768, 0.94), ("gpt-oss-20b", 131072, 3.19),
        ("llama-3.1-8b", 131072, 16.0), ("deepseek-v3", 131072, 8.58), ("mixtral-8x7b-v0.1", 32768, 4.0),
        ("llava-1.5-7b-hf", 4096, 2.0), ("bert-base-uncased", 512, 0.0),
    ],
)  # fmt: skip
def test_cache_is_what_vllm_reserves(model: str, context: int, gib: float) -> None:
    assert sized(model, context_tokens=context).cache_bytes / GIB == pytest.approx(gib, abs=6e-3)


def test_fewer_batched_tokens_shrink_the_windows() -> None:
    small = sized("gemma-3-27b-it", context_tokens=131072, max_num_batched_tokens="2048")
    assert small.cache_bytes / GIB == pytest.approx(11.41, abs=0.01)


def test_without_the_hybrid_manager_windows_cost_full_attention() -> None:
    found = sized("gemma-3-27b-it", context_tokens=131072, disable_hybrid_kv_cache_manager="true")
    assert found.cache_bytes == 62 * GIB


def test_cache_types() -> None:
    full = sized("llama-3.1-8b").cache_bytes
    assert sized("llama-3.1-8b", kv_cache_dtype="fp8").cache_bytes == full // 2
    per_head = sized("llama-3.1-8b", kv_cache_dtype="int8_per_token_head").cache_bytes
    assert per_head == 4096 * 32 * 8 * (2 * 128 + 2 * 4)
    assert sized("llama-3.1-8b", kv_cache_dtype="nvfp4").cache_bytes == 4096 * 32 * 8 * (128 + 16)
    assert sized("llama-3.1-8b", kv_cache_dtype="fp8").cache_dtype == "fp8"


def test_a_block_is_rounded_up() -> None:
    assert sized("llama-3.1-8b", context_tokens=4097).cache_bytes == 257 * 16 * 131072
    assert sized("llama-3.1-8b", context_tokens=4097, block_size="128").cache_bytes == 33 * 128 * 131072


def hybrid(*layers: tuple[int, Mixer]) -> ModelSpec:
    blocks = tuple(Block(count=count, mixer=mixer) for count, mixer in layers)
    return ModelSpec(
        architecture="X", model_type="x", kind="hybrid", stacks=(Stack(role="decoder", hidden_dim=2048, blocks=blocks),), tensors=(),
        config_dtype="bfloat16", vocab_size=65536, max_context_tokens=128000, context_is_hard=False,
    )  # fmt: skip


def test_lfm2_pads_its_states_and_groups() -> None:
    # start-up log of LFM2.5-1.2B: "attention block size to 16", "Padding mamba page size by 300.00%", "Add 2 padding layers"
    attention = FullAttention(query_heads=32, kv_heads=8, key_dim=64, value_dim=64)
    spec = hybrid((10, ShortConvolution(hidden_dim=2048, conv_kernel=3)), (6, attention))
    groups = {group.page.kind: group for group in groups_of(spec, Settings(), 2048, 0)}
    convolution = groups["convolution"]
    assert groups["full"].page.block_tokens == 16
    assert convolution.page.page_bytes == 4 * 2048 * 2 * 2
    assert convolution.padding == 2


def test_a_state_lengthens_the_blocks_of_attention() -> None:
    # start-up log of Qwen3.5-0.8B: "attention block size to 544 tokens", "Padding mamba page size by 2.64%"
    attention = FullAttention(query_heads=8, kv_heads=2, key_dim=256, value_dim=256)
    delta = DeltaAttention(key_heads=16, value_heads=16, key_dim=128, value_dim=128, conv_kernel=4)
    full = next(
        group
        for group in groups_of(hybrid((18, delta), (6, attention)), Settings(), 2048, 0)
        if group.page.kind == "full"
    )
    assert full.page.block_tokens == 544
    assert full.page.page_bytes / (16 * 128 * 128 * 4 + 6144 * 3 * 2) == pytest.approx(1.0264, abs=1e-4)


def test_the_keys_of_an_indexer_have_pages_of_their_own() -> None:
    """MiniMax-M3: vLLM's `MiniMaxM3IndexerCache` asks for one 16-bit vector a token, also beside an 8-bit cache."""
    heads = {"query_heads": 64, "kv_heads": 4, "key_dim": 128, "value_dim": 128}
    full = FullAttention(**heads)
    chosen = BlockSparseAttention(**heads, index_dim=128, block_tokens=128, chosen_blocks=16)
    for cache_type, wide in (("auto", 2), ("fp8", 1)):
        groups = groups_of(hybrid((3, full), (57, chosen)), Settings(cache_type=cache_type), 4096, 0)
        held = sum(group.slots * group.groups * group.blocks * group.page.page_bytes for group in groups)
        assert held == 4096 * (60 * 2 * 4 * 128 * wide + 57 * 128 * 2)


def test_kinds_of_nearly_the_same_number_are_padded_up() -> None:
    full = FullAttention(query_heads=64, kv_heads=8, key_dim=64, value_dim=64)
    window = SlidingAttention(query_heads=64, kv_heads=8, key_dim=64, value_dim=64, window_tokens=128)
    groups = groups_of(hybrid((13, full), (12, window)), Settings(), 4096, 0)
    assert [(group.groups, group.slots, group.padding) for group in groups] == [(1, 13, 0), (1, 13, 1)]


def test_the_card_decides_the_defaults() -> None:
    large = sized("llama-3.1-8b", context_tokens=16000, machine=h100())
    small = sized("llama-3.1-8b", context_tokens=16000, machine=catalog_machine(load_catalog().devices["rtx-4090"], 1))
    profile = [line.bytes / GIB for found in (large, small) for line in found.lines if line.phase == "prefill"]
    assert profile == pytest.approx([4.76, 1.24], abs=0.01)


def test_it_fills_its_share_of_the_card() -> None:
    card = h100()
    found = sized("llama-3.1-8b", machine=card)
    assert found.fits is True
    assert found.budget_bytes == int(card.usable_bytes * 0.9)
    assert found.reserved_bytes == found.budget_bytes - found.peak_bytes
    half = sized("llama-3.1-8b", machine=card, gpu_memory_utilization="0.25")
    assert half.fits is False
    assert half.reserved_bytes == 0


@pytest.mark.parametrize(
    ("device", "share_gib"),
    [
        (
            "a10g",
            19.86,
        ),  # "total_gpu_memory (22.07GiB) x gpu_memory_utilization (0.90) = 19.86GiB", vllm-0.7-llama-3.1-8b.log
        ("rtx-4090", 21.19),  # "(23.54GiB) x (0.90) = 21.19GiB", vllm-project/vllm issue 11550
    ],
)
def test_the_share_is_of_what_the_driver_reports(device: str, share_gib: float) -> None:
    found = sized("qwen2.5-7b", machine=catalog_machine(load_catalog().devices[device], 1))
    assert found.budget_bytes is not None
    assert share_gib * 0.985 < found.budget_bytes / GIB <= share_gib


def test_graphs_can_be_left_out() -> None:
    with_graphs = sized("llama-3.1-8b")
    without = sized("llama-3.1-8b", enforce_eager="true")
    assert with_graphs.peak_bytes - without.peak_bytes == 386_547_057


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_num_sequences": "4"}, "max_num_seqs"), ({"kv_cache_dtype": "fp9"}, "fp8"), ({"gpu_memory_utilization": "90"}, "fraction"),
        ({"block_size": "x"}, "length"), ({"enforce_eager": "maybe"}, "enforce_eager"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings_from(options, "bfloat16", None)


@pytest.mark.parametrize("model", MODELS)
def test_more_bits_never_take_less(model: str) -> None:
    weights = [sized(model, name, context_tokens=64).weights_bytes for name in ("int4", "int8", "fp16", "fp32")]
    assert weights == sorted(weights)


def test_experts_are_quantised_and_routers_are_not() -> None:
    assert sized("mixtral-8x7b-v0.1", "int4").weights_bytes / GIB == pytest.approx(22.96, rel=0.002)
    found = sized("mixtral-8x7b-v0.1", "int4")
    router = next(line for line in found.lines if line.part == "weights: router")
    assert router.bytes == 32 * 8 * 4096 * 2


def test_awq_is_the_published_size() -> None:
    spec = load_catalog().model("llama-3.1-8b").spec
    assert spec is not None
    table = 131072 * 128 * 2
    published = 1_105_465_344 * 2 + 879_230_976 * 4  # headers of an 8B AWQ repository: F16 and I32 elements
    buffers = 512
    assert sized("llama-3.1-8b", "int4").weights_bytes - table - buffers == published


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    tokens=st.integers(1, 300_000),
    more=st.integers(0, 50_000),
    count=st.integers(1, 2000),
)
def test_memory_never_falls_with_context_or_sequences(model: str, tokens: int, more: int, count: int) -> None:
    found = sized(model, context_tokens=tokens, sequences=count)
    for grown in (
        sized(model, context_tokens=tokens + more, sequences=count),
        sized(model, context_tokens=tokens, sequences=count + 1),
    ):
        assert grown.cache_bytes >= found.cache_bytes
        assert grown.peak_bytes >= found.peak_bytes


@pytest.mark.parametrize(
    "model", ["t5-base", "bart-base", "blip2-flan-t5-xl", "rwkv-4-169m-pile", "llama-3.2-11b-vision-instruct"]
)
def test_a_model_it_does_not_run_fits_nothing(model: str) -> None:
    found = sized(model, context_tokens=64, machine=h100())
    assert found.refused is not None
    assert "no implementation" in found.refused
    assert found.fits is False


@pytest.mark.parametrize("model", ["whisper-large-v3", "blip2-opt-2.7b", "bert-base-uncased"])
def test_an_encoder_alone_or_of_sound_or_images_is_run(model: str) -> None:
    found = sized(model, context_tokens=64, machine=h100())
    assert found.refused is None
    assert found.fits


def test_a_bare_size_is_a_card() -> None:
    assert sized("llama-3.1-8b", machine=memory_machine(24 * GIB)).budget_bytes == int(24 * GIB * 0.9)
