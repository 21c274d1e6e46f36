"""Readers of models whose class is not in transformers, against what was published of their files and counted in their own code."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import pytest

from fmkit.errors import ArchitectureUnknownError, UnsafeInputError
from fmkit.model.architectures import read
from tests.configs import load

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec


def spec_of(name: str, **changes: Any) -> ModelSpec:
    return read({**load(name), **changes}, where=name)


def elements(spec: ModelSpec, *prefixes: str) -> int:
    return sum(group.elements for group in spec.tensors if group.part != "buffer" and group.name.startswith(prefixes))


def test_kimi_k3_has_the_bytes_of_its_headers() -> None:
    """1,560,860,324,864 bytes of tensors in the repository's 96 files (their headers, file-index id 68438294499)."""
    spec = spec_of("moonshotai--Kimi-K3")
    assert spec.stored is not None
    biases = sum(group.elements for group in spec.tensors if group.name.endswith("e_score_correction_bias"))
    weights = sum(spec.stored.tensor_group_bytes(group, "bfloat16") for group in spec.tensors if group.part != "buffer")
    assert weights + 4 * biases == 1_560_860_324_864


@pytest.mark.parametrize(
    ("name", "prefix", "counted"),
    [
        ("deepseek-ai--deepseek-vl2-tiny", "vision.", 428_225_600),
        ("deepseek-ai--Janus-1.3B", "vision_model.", 316_283_904),
    ],
)
def test_towers_are_those_of_timm(name: str, prefix: str, counted: int) -> None:
    """Parameters of vit_so400m_patch14_siglip_384 and vit_large_patch16_siglip_384, timm 1.0.31, on the meta device."""
    assert elements(spec_of(name), prefix) == counted


def test_janus_is_the_class_of_transformers_and_a_pooling_head() -> None:
    torch = pytest.importorskip("torch", reason="counts the class: pip install 'fmkit[try]'")
    transformers = pytest.importorskip("transformers", reason="counts the class: pip install 'fmkit[try]'")
    spec, config = spec_of("deepseek-ai--Janus-1.3B"), load("deepseek-ai--Janus-1.3B")
    settings = transformers.CONFIG_MAPPING["janus"].from_dict(
        {"text_config": config["language_config"], "tie_word_embeddings": False}
    )
    with torch.device("meta"):
        model = transformers.JanusForConditionalGeneration._from_config(settings)
    counted = {name: prod(parameter.shape) for name, parameter in model.named_parameters()}

    def theirs(*names: str) -> int:
        return sum(count for name, count in counted.items() if name.split(".")[name.startswith("model.")] in names)

    pooling = elements(spec, "vision_model.vision_tower.attn_pool.")
    assert elements(spec, "vision_model.") - pooling == theirs("vision_model")
    assert elements(spec, "gen_vision_model.") == theirs("vqmodel")
    assert elements(spec, "aligner.", "gen_aligner.") == theirs("aligner", "generation_aligner")
    assert elements(spec, "gen_head.", "gen_embed.") == theirs("generation_head", "generation_embeddings")
    assert elements(spec, "language_model.") == theirs("language_model", "lm_head")
    assert spec.params == sum(counted.values()) + pooling == 2_089_232_011


def test_rwkv_5_at_the_sizes_of_the_published_total() -> None:
    """rwkv-5-world-1b5: 1,577,754,624, which the published facts name for the 3b, too."""
    sizes = {"hidden_size": 2048, "attention_hidden_size": 2048, "num_hidden_layers": 24}
    assert spec_of("RWKV--rwkv-5-world-3b", **sizes).params == 1_577_754_624


@pytest.mark.parametrize(
    ("name", "layers", "hidden", "heads"),
    [("RWKV--rwkv-5-world-3b", 32, 2560, 40), ("RWKV--RWKV7-Goose-World2.8-0.1B-HF", 12, 768, 12)],
)
def test_the_state_of_rwkv_is_a_float32_matrix_per_head(name: str, layers: int, hidden: int, heads: int) -> None:
    """The tensors that the code allocates: two of [hidden] in the model's type, one of [heads, 64, 64] in float32."""
    stack = spec_of(name).stacks[0]
    for tokens in (1, 4096):
        held = sum(block.count * block.mixer.cache_bytes(tokens, 0, 2) for block in stack.blocks)
        assert held == layers * (2 * hidden * 2 + heads * 64 * 64 * 4)


def test_minimax_m3_with_its_tower_is_the_published_total() -> None:
    """427,040,140,160, of which the biases of 57 routers are buffers."""
    text = {**load("MiniMaxAI--MiniMax-M3"), "model_type": "minimax_m3_vl_text"}
    whole = read({"model_type": "minimax_m3_vl", "text_config": text, "vision_config": {}}, where="config.json")
    biases = sum(group.elements for group in whole.tensors if group.name.endswith("e_score_correction_bias"))
    assert (whole.params + biases, biases) == (427_040_140_160, 57 * 128)
    alone = spec_of("MiniMaxAI--MiniMax-M3")
    assert alone.params == elements(whole, "model.language_model.", "lm_head.")
    assert any("text model alone" in note for note in alone.notes)


def test_kinds_of_layers() -> None:
    def kinds(name: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for block in spec_of(name).stacks[0].blocks:
            kind = type(block.mixer).__name__
            counts[kind] = counts.get(kind, 0) + block.count
        return counts

    assert kinds("MiniMaxAI--MiniMax-M3") == {"FullAttention": 3, "BlockSparseAttention": 57}
    assert kinds("moonshotai--Kimi-K3") == {"DeltaAttention": 69, "LatentAttention": 24}
    assert kinds("deepseek-ai--deepseek-vl2-tiny") == {"FullAttention": 12}


def test_a_filled_cache_of_kimi_linear() -> None:
    pytest.importorskip("transformers", reason="fills a cache: pip install 'fmkit[try]'")
    torch = pytest.importorskip("torch", reason="fills a cache: pip install 'fmkit[try]'")
    from tests.sizing.tracing import filled_cache_bytes  # noqa: PLC0415  needs torch

    config = {
        "model_type": "kimi_linear", "architectures": ["KimiLinearForCausalLM"], "hidden_size": 32, "num_hidden_layers": 5,
        "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90, "pad_token_id": 0, "kv_lora_rank": 16,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12, "num_experts": 4, "num_experts_per_token": 2,
        "moe_intermediate_size": 24, "linear_attn_config": {
            "head_dim": 8, "num_heads": 4, "short_conv_kernel_size": 4, "full_attn_layers": [2, 5], "kda_layers": [1, 3, 4],
        },
    }  # fmt: skip
    inputs = {"input_ids": torch.ones(3, 20, dtype=torch.long)}
    prefilled, stepped = filled_cache_bytes(config, inputs, dtype=torch.bfloat16, fake=False)
    blocks = read(config, where="config.json").stacks[0].blocks
    held = [3 * sum(block.count * block.mixer.cache_bytes(tokens, 0, 2) for block in blocks) for tokens in (20, 21)]
    assert held == [prefilled, stepped]


@pytest.mark.parametrize(
    ("name", "image_tokens"),
    [
        ("deepseek-ai--deepseek-vl2-tiny", 14 * 15 + 1 + 126 * 15),
        ("deepseek-ai--Janus-1.3B", 24 * 24),
        ("openbmb--MiniCPM-V-2_6", 64),
        ("allenai--Molmo-7B-D-0924", 12 * 12),
    ],
)
def test_image_tokens(name: str, image_tokens: int) -> None:
    assert spec_of(name).image_tokens == image_tokens


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("openbmb--MiniCPM-V-2_6", {"version": None}, "lacks version"),
        ("openbmb--MiniCPM-V-2_6", {"version": 2.5}, "another version than 2.6"),
        ("allenai--Molmo-7B-D-0924", {"intermediate_size": None}, "lacks intermediate_size"),
        ("xverse--XVERSE-7B", {"num_experts": 64}, "experts of XVERSE-MoE"),
        ("RWKV--RWKV7-Goose-World2.8-0.1B-HF", {"attn": {"layers": [1]}}, "attn is set"),
        ("RWKV--RWKV7-Goose-World2.8-0.1B-HF", {"v_low_rank_dim": None}, "lacks v_low_rank_dim"),
        ("deepseek-ai--Janus-1.3B", {"vision_config": {"params": {"model_name": "other"}}}, "image tower 'other'"),
        ("deepseek-ai--Janus-1.3B", {"gen_vision_config": {"cls": "VQ-8"}}, "image generator 'VQ-8'"),
        ("deepseek-ai--deepseek-vl2-tiny", {"tile_tag": "1D"}, "tile_tag is not 2D"),
        ("moonshotai--Kimi-K3", {"vision_config": {"mm_projector_type": "other"}}, "projector of type 'other'"),
    ],
)
def test_what_is_not_understood_is_named(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureUnknownError, match=message):
        spec_of(name, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("MiniMaxAI--MiniMax-M3", {"moe_layer_freq": [1, 1]}, "one item for each of 60 layers"),
        ("RWKV--rwkv-5-world-3b", {"head_size": 0}, "head_size is 0"),
        ("RWKV--rwkv-5-world-3b", {"attention_hidden_size": 4096}, "attention_hidden_size is 4096"),
        ("allenai--Molmo-7B-D-0924", {"intermediate_size": 7}, "intermediate_size is 7"),
    ],
)
def test_what_does_not_fit_is_named(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsafeInputError, match=message):
        spec_of(name, **changes)
