"""The cache of published models, by summing their layers: steady state, one sequence, 16 bit, transformers 5.23.

The figures in GiB are first-principle sums checked against filled caches of transformers 5.23 (two decimals and more).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fmkit.model.architectures import read
from fmkit.units import GIB

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

CONFIGS = Path(__file__).parents[3] / "catalog" / "configs"
K = 1024


def spec_of(name: str) -> ModelSpec:
    file = f"{name}.json"
    return read(json.loads((CONFIGS / file).read_text("utf-8")), where=file)


def cache_bytes(spec: ModelSpec, context_tokens: int, encoder_tokens: int = 0) -> int:
    stack = spec.cached_stack
    if stack is None:
        return 0
    return sum(
        block.count * mixer.cache_bytes(context_tokens, encoder_tokens, 2)
        for block in stack.blocks
        for mixer in (block.mixer, block.cross)
        if mixer is not None
    )


CASES = [
    ("meta-llama--Meta-Llama-3.1-8B", 0.500, 4.000, 16.000),
    ("meta-llama--Meta-Llama-3.1-70B", 1.250, 10.000, 40.000),
    ("Qwen--Qwen2.5-14B", 0.750, 6.000, 24.000),
    ("mistralai--Mistral-7B-v0.1", 0.500, 0.500, 0.500),
    ("google--gemma-2-9b", 1.312, 5.906, 21.656),
    ("google--gemma-3-27b-it", 0.719, 2.906, 10.406),
    ("deepseek-ai--DeepSeek-V3", 0.268, 2.145, 8.578),
    ("mistralai--Mixtral-8x7B-v0.1", 0.500, 4.000, 16.000),
    ("state-spaces--mamba-2.8b-hf", 0.022, 0.022, 0.022),
    ("google-bert--bert-large-uncased", 0.0, 0.0, 0.0),
    ("openai--clip-vit-large-patch14", 0.0, 0.0, 0.0),
    ("llava-hf--llava-1.5-7b-hf", 2.000, 16.000, 64.000),
    ("openai--gpt-oss-20b", 0.097, 0.753, 3.003),
]


@pytest.mark.parametrize(("name", "at_4k", "at_32k", "at_128k"), CASES, ids=[case[0] for case in CASES])
def test_cache_of_one_sequence(name: str, at_4k: float, at_32k: float, at_128k: float) -> None:
    spec = spec_of(name)
    for tokens, expected in ((4 * K, at_4k), (32 * K, at_32k), (128 * K, at_128k)):
        assert cache_bytes(spec, tokens) / GIB == pytest.approx(expected, abs=0.0006)


def test_whisper_keeps_1500_encoder_tokens() -> None:
    spec = spec_of("openai--whisper-large-v3")
    assert (spec.max_context_tokens, spec.encoder_max_tokens) == (448, 1500)
    assert cache_bytes(spec, 448, 1500) / GIB == pytest.approx(0.297, abs=0.0006)


@pytest.mark.parametrize(("tokens", "expected"), [(4 * K, 0.750), (32 * K, 6.000), (128 * K, 24.000)])
def test_t5_keeps_decoder_and_encoder_tokens(tokens: int, expected: float) -> None:
    assert cache_bytes(spec_of("google-t5--t5-large"), tokens, tokens) / GIB == pytest.approx(expected, abs=0.0006)


def test_the_windows_of_gemma_3() -> None:
    blocks = spec_of("google--gemma-3-27b-it").stacks[0].blocks
    assert {getattr(block.mixer, "window_tokens", None): block.count for block in blocks} == {None: 10, 1024: 52}


def test_falcon_40b_repeats_its_heads_before_caching() -> None:
    """128 heads of 64 kept for 8 stored: 60 layers x 2 x 128 x 64 x 2 bytes a token."""
    assert cache_bytes(spec_of("tiiuae--falcon-40b"), 1) == 60 * 2 * 128 * 64 * 2
    assert cache_bytes(spec_of("tiiuae--falcon-7b"), 1) == 32 * 2 * 1 * 64 * 2


def test_llama_vision_keeps_image_tokens_in_its_cross_layers() -> None:
    """8 cross-attention layers hold 4 tiles x 1601 tokens an image, 32 layers the text."""
    spec = spec_of("meta-llama--Llama-3.2-11B-Vision-Instruct")
    vision = spec.stack("vision")
    assert vision is not None
    assert vision.fixed_tokens == 4 * 1601
    token = 2 * 8 * 128 * 2
    assert cache_bytes(spec, 100, 4 * 1601) == 32 * token * 100 + 8 * token * 6404


SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90}
FILLED = [
    {"model_type": "falcon", **SMALL, "new_decoder_architecture": True, "num_kv_heads": 2},
    {"model_type": "falcon", **SMALL, "multi_query": True},
    {"model_type": "mistral", **SMALL, "num_key_value_heads": 2, "sliding_window": 8},
    {"model_type": "gemma3_text", **SMALL, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 3},
    {
        "model_type": "deepseek_v32", **SMALL, "kv_lora_rank": 16, "q_lora_rank": 12, "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8, "v_head_dim": 12, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 24, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "index_head_dim": 16,
        "index_n_heads": 2, "index_topk": 64,
    },
    {"model_type": "phimoe", **SMALL, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    {"model_type": "qwen2", **SMALL, "num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
]  # fmt: skip


@pytest.mark.parametrize("config", FILLED, ids=[f"{case['model_type']}-{index}" for index, case in enumerate(FILLED)])
def test_a_filled_cache_holds_what_the_layers_say(config: dict[str, object]) -> None:
    """A prompt of 20 tokens and one decode step of a random model in float32: storage, to the byte."""
    torch = pytest.importorskip("torch", reason="fills a cache: pip install 'fmkit[try]'")
    transformers = pytest.importorskip("transformers", reason="fills a cache: pip install 'fmkit[try]'")
    transformers.logging.set_verbosity_error()
    spec = read(config, where="config.json")
    settings = transformers.CONFIG_MAPPING[config["model_type"]].from_dict({**config, "pad_token_id": 0})
    model = transformers.AutoModelForCausalLM.from_config(settings).eval()
    ids = torch.arange(1, 21).unsqueeze(0)
    with torch.no_grad():
        cache = model(ids, use_cache=True).past_key_values
        cache = model(ids[:, :1], past_key_values=cache, use_cache=True).past_key_values
    held = sum(
        tensor.untyped_storage().nbytes()
        for layer in cache.layers
        for tensor in (layer.keys, layer.values, getattr(layer, "indexer_keys", None))
        if tensor is not None
    )
    stack = spec.stacks[0]
    assert held == sum(block.count * block.mixer.cache_bytes(21, 0, 4) for block in stack.blocks)
