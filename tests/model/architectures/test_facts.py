"""What a spec says beside its tensors: context limits, windows, image tokens, heads, notes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fmkit.errors import ArchitectureUnknownError, UnsafeInputError
from fmkit.model.architectures import lineage_of, lineages, read
from fmkit.model.attention import FullAttention

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")
LLAMA: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90, "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}  # fmt: skip


def spec_of(name: str) -> ModelSpec:
    file = f"{name}.json"
    path = next(folder / file for folder in FOLDERS if (folder / file).exists())
    return read(json.loads(path.read_text("utf-8")), where=file)


LIMITS = [
    ("openai-community--gpt2", 1024, True),
    ("meta-llama--Meta-Llama-3.1-8B", 131072, False),
    ("deepseek-ai--deepseek-coder-6.7b-instruct", 16384, False),  # linear scaling, applied already
    ("NousResearch--Yarn-Mistral-7b-128k", 131072, False),  # YaRN, not applied: 16 x 8192
    ("deepseek-ai--DeepSeek-V3", 163840, False),  # YaRN, applied already: 40 x 4096
    ("openai--gpt-oss-20b", 131072, False),
    ("microsoft--Phi-3-mini-128k-instruct", 131072, False),
    ("google--gemma-3-4b-it", 131072, False),
    ("google-bert--bert-base-uncased", 512, True),
    ("FacebookAI--roberta-base", 512, True),  # 514 rows, the first two for padding
    ("BAAI--bge-m3", 8192, True),
    ("sentence-transformers--all-mpnet-base-v2", 512, True),
    ("microsoft--deberta-v3-base", 512, False),
    ("facebook--bart-large-cnn", 1024, True),
    ("facebook--nllb-200-distilled-600M", 1024, False),
    ("google-t5--t5-large", None, False),
    ("openai--clip-vit-large-patch14", 77, True),
    ("openai--whisper-large-v3", 448, True),
    ("state-spaces--mamba-2.8b-hf", None, False),
    ("llava-hf--llava-1.5-7b-hf", 4096, False),
    ("Salesforce--blip2-opt-2.7b", 2048, True),
    ("meta-llama--Llama-4-Scout-17B-16E-Instruct", 10485760, False),
    ("Qwen--Qwen3-Next-80B-A3B-Thinking", 262144, False),
    ("mistralai--Devstral-Small-2-24B-Instruct-2512", 393216, False),
    ("EleutherAI--gpt-j-6b", 2048, True),
    ("mistralai--Mamba-Codestral-7B-v0.1", None, False),
    ("RWKV--rwkv-4-169m-pile", 1024, False),
]


@pytest.mark.parametrize(("name", "tokens", "hard"), LIMITS, ids=[limit[0] for limit in LIMITS])
def test_context_limits(name: str, tokens: int | None, hard: bool) -> None:
    spec = spec_of(name)
    assert (spec.max_context_tokens, spec.context_is_hard) == (tokens, hard)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("llava-hf--llava-1.5-7b-hf", 576),
        ("liuhaotian--llava-v1.5-7b", 576),
        ("google--gemma-3-4b-it", 256),
        ("Salesforce--blip2-opt-2.7b", 32),
        ("Salesforce--blip2-flan-t5-xl", 32),
        ("meta-llama--Llama-3.2-11B-Vision-Instruct", 1),
        ("google--paligemma-3b-pt-224", 256),
        ("OpenGVLab--InternVL3-8B-hf", 256),
        ("HuggingFaceTB--SmolVLM-256M-Instruct", 64),
        ("google--gemma-4-31B-it", 280),
        ("Qwen--Qwen2.5-VL-7B-Instruct", 37 * 37),
        ("meta-llama--Llama-4-Scout-17B-16E-Instruct", 17 * 144),
        ("meta-llama--Meta-Llama-3.1-8B", None),
    ],
)
def test_image_tokens(name: str, tokens: int | None) -> None:
    assert spec_of(name).image_tokens == tokens


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("meta-llama--Meta-Llama-3.1-8B", "decoder"),
        ("google-bert--bert-base-uncased", "encoder"),
        ("google-t5--t5-base", "encoder-decoder"),
        ("facebook--bart-base", "encoder-decoder"),
        ("openai--clip-vit-base-patch32", "clip"),
        ("llava-hf--llava-1.5-7b-hf", "vision-language"),
        ("Salesforce--blip2-flan-t5-xl", "vision-language"),
        ("openai--whisper-base", "speech"),
        ("state-spaces--mamba-130m-hf", "state-space"),
        ("mistralai--Mamba-Codestral-7B-v0.1", "state-space"),
        ("tiiuae--Falcon-H1-7B-Base", "hybrid"),
        ("ibm-granite--granite-4-8b-dense-hybrid", "decoder"),
        ("ibm-granite--granite-4.0-h-tiny", "hybrid"),
        ("mistralai--Voxtral-Mini-3B-2507", "speech"),
        ("facebook--wav2vec2-base-960h", "speech"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert spec_of(name).kind == kind


def test_llava_next_at_its_largest_cut() -> None:
    text = {key: value for key, value in LLAMA.items() if key != "architectures"}
    vision = {"hidden_size": 64, "image_size": 336, "patch_size": 14, "num_attention_heads": 4}
    config = {"model_type": "llava_next", "text_config": text, "vision_config": vision}
    spec = read(config, where="config.json")
    assert spec.image_tokens == 576 + 48 * 48 + 48


@pytest.mark.parametrize(
    ("name", "implementations"),
    [
        ("meta-llama--Meta-Llama-3.1-8B", [None]),
        ("llava-hf--llava-1.5-7b-hf", ["llama", "clip_vision_model"]),
        ("google--gemma-3-4b-it", ["gemma3_text", "siglip_vision_model"]),
        ("Salesforce--blip2-opt-2.7b", ["opt", "blip_2_vision_model", "blip_2_qformer"]),
        ("Salesforce--blip2-flan-t5-xl", ["t5", "t5", "blip_2_vision_model", "blip_2_qformer"]),
        ("openai--clip-vit-base-patch32", ["clip_text_model", "clip_vision_model"]),
    ],
)
def test_each_stack_names_the_code_that_runs_it(name: str, implementations: list[str | None]) -> None:
    assert [stack.implementation for stack in spec_of(name).stacks] == implementations


def test_an_unused_window_is_no_window() -> None:
    blocks = spec_of("Qwen--Qwen2.5-7B").stacks[0].blocks
    assert [(block.count, type(block.mixer).__name__) for block in blocks] == [(28, "FullAttention")]


def test_a_null_window_is_no_window() -> None:
    assert type(spec_of("mistralai--Mistral-7B-Instruct-v0.2").stacks[0].blocks[0].mixer).__name__ == "FullAttention"


def test_layers_without_experts_come_first() -> None:
    blocks = spec_of("deepseek-ai--DeepSeek-V3").stacks[0].blocks
    assert [(block.count, block.mlp.experts if block.mlp else None) for block in blocks] == [(3, 0), (58, 256)]


def test_layers_that_are_stored_but_not_loaded_are_named() -> None:
    assert any("stored but not loaded" in note for note in spec_of("deepseek-ai--DeepSeek-V3").notes)


@pytest.mark.parametrize(
    ("name", "has_head", "tied"),
    [
        ("google-bert--bert-base-uncased", False, False),
        ("cross-encoder--ms-marco-MiniLM-L-6-v2", False, False),
        ("sentence-transformers--all-roberta-large-v1", True, True),
        ("intfloat--e5-mistral-7b-instruct", False, False),
        ("meta-llama--Llama-3.2-1B-Instruct", True, True),
        ("meta-llama--Meta-Llama-3.1-8B", True, False),
        ("google--flan-t5-base", True, True),
    ],
)
def test_heads_follow_the_class(name: str, has_head: bool, tied: bool) -> None:
    spec = spec_of(name)
    assert (spec.has_head, spec.tied_head) == (has_head, tied)


def test_the_type_is_read_from_the_text_model_too() -> None:
    assert spec_of("llava-hf--llava-1.5-7b-hf").config_dtype == "float16"
    assert read({**LLAMA, "torch_dtype": "torch.float16"}, where="x").config_dtype == "float16"
    silent = read({key: value for key, value in LLAMA.items() if key != "torch_dtype"}, where="x")
    assert silent.config_dtype == "float32"
    assert not silent.names_dtype
    assert "the type of the stored weights is unknown: the configuration names none" in silent.notes
    assert read({**LLAMA, "torch_dtype": "float32"}, where="x").names_dtype


def test_every_lineage_of_the_contract_is_there() -> None:
    wanted = (
        "gpt2 llama mistral mixtral qwen2 qwen3 qwen3_moe gemma gemma2 gemma3_text gemma3 phi3 phimoe falcon cohere "
        "cohere2 deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 gpt_oss bert roberta xlm-roberta distilbert deberta-v2 "
        "mpnet electra t5 mt5 bart m2m_100 pegasus marian clip clip_vision_model siglip llava llava_next blip-2 opt "
        "whisper mamba falcon_mamba mllama nomic_bert"
    )
    assert set(wanted.split()) <= set(lineages())


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("ai21labs--Jamba-v0.1", {"StateSpace": 28, "FullAttention": 4}),
        ("ibm-ai-platform--Bamba-9B-v1", {"Mamba2": 29, "FullAttention": 3}),
        ("nvidia--Nemotron-H-8B-Base-8K", {"Mamba2": 24, "NoMixer": 24, "FullAttention": 4}),
        ("Qwen--Qwen3-Next-80B-A3B-Thinking", {"DeltaAttention": 36, "FullAttention": 12}),
        ("MiniMaxAI--MiniMax-Text-01-hf", {"LinearAttention": 70, "FullAttention": 10}),
        ("LiquidAI--LFM2-1.2B", {"ShortConvolution": 10, "FullAttention": 6}),
        ("tiiuae--Falcon-H1-7B-Base", {"Parallel": 44}),
        ("meta-llama--Llama-4-Scout-17B-16E-Instruct", {"ChunkedAttention": 36, "FullAttention": 12}),
        ("google--gemma-4-E2B-it", {"SlidingAttention": 12, "FullAttention": 3, "SharedAttention": 20}),
        ("deepseek-ai--DeepSeek-V4-Flash", {"SlidingAttention": 2, "CompressedAttention": 41}),
        ("nvidia--Llama-3_3-Nemotron-Super-49B-v1", {"FullAttention": 49, "NoMixer": 31}),
    ],
)
def test_layers_by_kind(name: str, kinds: dict[str, int]) -> None:
    counts: Counter[str] = Counter()
    for block in spec_of(name).stacks[0].blocks:
        counts[type(block.mixer).__name__] += block.count
    assert dict(counts) == kinds


def test_full_layers_of_gemma_4_have_wider_heads() -> None:
    """Half the heads, twice as wide: and one projection for keys and values in the large ones."""
    mixers = {type(block.mixer).__name__: block.mixer for block in spec_of("google--gemma-4-26B-A4B").stacks[0].blocks}
    assert {
        name: (mixer.kv_heads, mixer.key_dim) for name, mixer in mixers.items() if isinstance(mixer, FullAttention)
    } == {"SlidingAttention": (8, 256), "FullAttention": (2, 512)}


def test_both_sizes_of_gemma_3n_leave_the_same_image_tower() -> None:
    """E2B's published total less the projections it stores and does not load: the tower was derived from E4B's."""
    config = json.loads((FOLDERS[0] / "google--gemma-3n-E4B-it.json").read_text("utf-8"))
    text = config["text_config"]
    text |= {
        "num_hidden_layers": 30,
        "intermediate_size": 8192,
        "num_kv_shared_layers": 10,
        "layer_types": text["layer_types"][:30],
    }
    assert read(config, where="x").params == 5_439_438_272 - 10 * (2 * 512 * 2048 + 256)


def test_a_type_is_found_with_and_without_loading_all_modules() -> None:
    assert {model_type: lineage_of(model_type) for model_type in lineages()} == lineages()
    assert lineage_of("decoder") is lineage_of("config") is lineage_of("no such type") is None


class TestGeneric:
    """A type that no reader knows: sized by its fields, if they say everything."""

    CONFIG: ClassVar[dict[str, Any]] = {
        **LLAMA,
        "model_type": "newllama",
        "architectures": ["NewLlamaForCausalLM"],
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }

    def test_it_is_sized_like_a_llama_and_says_so(self) -> None:
        spec = read(self.CONFIG, where="x")
        same = read({**self.CONFIG, "model_type": "llama", "architectures": ["LlamaForCausalLM"]}, where="x")
        assert (spec.params, spec.stacks) == (same.params, same.stacks)
        assert any("'newllama' is not known: sized from its fields" in note for note in spec.notes)

    @pytest.mark.parametrize(
        "field", ["hidden_size", "num_key_value_heads", "intermediate_size", "hidden_act", "tie_word_embeddings"]
    )
    def test_a_missing_fact_is_named(self, field: str) -> None:
        config = {key: value for key, value in self.CONFIG.items() if key != field}
        with pytest.raises(ArchitectureUnknownError, match=f"'newllama' is not known.*lacks {field}"):
            read(config, where="config.json")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_local_experts": 8}, "num_local_experts is set"),
            ({"kv_lora_rank": 512}, "kv_lora_rank is set"),
            ({"vision_config": {}}, "vision_config is set"),
            ({"is_encoder_decoder": True}, "is_encoder_decoder is set"),
            ({"hidden_act": "gelu"}, "gated does not follow from hidden_act"),
            ({"sliding_window": 512}, "which layers have the sliding_window"),
            ({"architectures": ["NewLlamaForTokenClassification"]}, "nor is its class"),
            ({"layer_types": ["full_attention", "mamba"]}, "layer type 'mamba' is not understood"),
        ],
    )
    def test_what_is_no_plain_decoder_is_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ArchitectureUnknownError) as caught:
            read({**self.CONFIG, **changes}, where="config.json")
        assert message in caught.value.message

    def test_a_window_that_is_not_used_is_no_window(self) -> None:
        spec = read({**self.CONFIG, "sliding_window": 512, "use_sliding_window": False}, where="x")
        assert type(spec.stacks[0].blocks[0].mixer).__name__ == "FullAttention"


class TestRefusals:
    def test_an_unknown_model_type_names_the_nearest(self) -> None:
        with pytest.raises(ArchitectureUnknownError, match="'lama' is not known; nearest: llama") as caught:
            read({"model_type": "lama"}, where="config.json")
        assert (caught.value.where, caught.value.next_command) == ("config.json", "fmkit catalog list")

    def test_a_missing_dimension_is_named(self) -> None:
        config = {key: value for key, value in LLAMA.items() if key != "hidden_size"}
        with pytest.raises(ArchitectureUnknownError, match="lacks hidden_size"):
            read(config, where="config.json")

    def test_a_dimension_that_is_null_is_missing(self) -> None:
        with pytest.raises(ArchitectureUnknownError, match="lacks hidden_size") as caught:
            read({**LLAMA, "hidden_size": None}, where="config.json")
        assert caught.value.exit_code == 8

    def test_a_missing_model_type_is_named(self) -> None:
        with pytest.raises(ArchitectureUnknownError, match="lacks model_type"):
            read({}, where="config.json")

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("hidden_size", True, "hidden_size is true"),
            ("hidden_size", -1, "hidden_size is -1"),
            ("hidden_size", 0, "hidden_size is 0"),
            ("hidden_size", 32.0, "hidden_size is 32.0"),
            ("hidden_size", "32", "hidden_size is '32'"),
            ("hidden_size", [32], "hidden_size is a list"),
            ("hidden_size", 33, "hidden_size is 33; expected a multiple of num_attention_heads"),
            ("hidden_size", 10**30, "hidden_size is a number of 100 bits"),
            pytest.param("hidden_size", 10**6000, "hidden_size is a number of", id="too long to print"),
            ("num_hidden_layers", 10**9, "at most 10,000 layers"),
            ("num_key_value_heads", 3, "multiple of num_key_value_heads"),
            ("attention_bias", "yes", "attention_bias is 'yes'; expected true or false"),
            ("torch_dtype", "floaty", "torch_dtype is 'floaty'"),
            ("architectures", "LlamaForCausalLM", "architectures is 'LlamaForCausalLM'; expected a list"),
            ("rope_scaling", {"type": "yarn", "factor": "x"}, "rope_scaling.factor is 'x'"),
            ("rope_scaling", {"type": "yarn", "factor": float("nan")}, "rope_scaling.factor is nan"),
        ],
    )
    def test_a_wrong_field_is_named(self, field: str, value: object, message: str) -> None:
        with pytest.raises(UnsafeInputError) as caught:
            read({**LLAMA, field: value}, where="config.json")
        assert message in caught.value.message
        assert caught.value.where == "config.json"

    def test_a_nested_field_is_named_with_its_path(self) -> None:
        with pytest.raises(UnsafeInputError, match=r"text_config\.vocab_size is -3"):
            read({"model_type": "gemma3", "text_config": {"vocab_size": -3}, "vision_config": {}}, where="config.json")

    def test_a_missing_part_is_named(self) -> None:
        with pytest.raises(ArchitectureUnknownError, match="lacks vision_config"):
            read({"model_type": "llava", "text_config": {}}, where="config.json")

    def test_layer_types_of_another_length(self) -> None:
        config = {
            **LLAMA,
            "model_type": "mistral",
            "architectures": ["MistralForCausalLM"],
            "layer_types": ["full_attention"],
        }
        with pytest.raises(UnsafeInputError, match="one item for each of 2 layers"):
            read({**config, "num_key_value_heads": 2}, where="config.json")

    def test_a_class_with_a_head_that_is_not_understood(self) -> None:
        with pytest.raises(ArchitectureUnknownError, match="LlamaForQuestionAnswering"):
            read({**LLAMA, "architectures": ["LlamaForQuestionAnswering"]}, where="config.json")

    def test_more_parameters_than_any_machine_holds(self) -> None:
        with pytest.raises(UnsafeInputError, match=r"2\*\*53"):
            read({**LLAMA, "vocab_size": 2**40, "hidden_size": 2**30}, where="config.json")

    def test_something_that_is_no_object(self) -> None:
        with pytest.raises(UnsafeInputError, match="a list"):
            read([1, 2], where="config.json")  # type: ignore[arg-type]


def test_active_parameters_without_the_embedding_are_those_that_openai_states() -> None:
    """5.13B of 117B, and 3.61B of 21B: model card of gpt-oss, arXiv:2508.10925."""
    assert spec_of("openai--gpt-oss-120b").active_params_without_embedding == pytest.approx(5.13e9, rel=0.002)
    assert spec_of("openai--gpt-oss-20b").active_params_without_embedding == pytest.approx(3.61e9, rel=0.002)
