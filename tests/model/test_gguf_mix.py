"""The mixes of llama.cpp's quantiser: published files to the byte, counts of types, and lineages that are refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.gguf_sizes import PUBLISHED, load
from fmkit.errors import ArchitectureUnknownError
from fmkit.model.architectures import read
from fmkit.model.ggml import FILE_TYPE_NAMES, FILE_TYPES
from fmkit.model.gguf_lineages import LINEAGES, lineage_of
from fmkit.model.gguf_mix import mixed
from fmkit.model.gguf_tensors import tensors_of
from fmkit.model.spec import ModelSpec

LLAMA = "meta-llama--Meta-Llama-3.1-8B"
HEADER_BYTES = 7_841_184
"""What the eight published files hold beside the tensors that a config.json tells of: 128,256 tokens, merges, names, and 256 bytes of
rotary factors."""


def data_bytes(spec: ModelSpec, file_type: str, *, imatrix: bool = False) -> int:
    return sum(entry.bytes for entry in mixed(spec, file_type, imatrix=imatrix))


def types(spec: ModelSpec, file_type: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in mixed(spec, file_type):
        counts[entry.kind.name] += entry.tensor.count
    return counts


@pytest.mark.parametrize(("file_type", "published"), PUBLISHED.items())
def test_published_files_differ_by_the_header_only(file_type: str, published: int) -> None:
    assert published - data_bytes(load(LLAMA), file_type, imatrix=True) == HEADER_BYTES


@pytest.mark.parametrize(
    ("config", "file_type", "published"),
    [  # bytes of tensors that llama-bench prints; rotary factors are 256 bytes (lhl/strix-halo-testing at 5ee14b5)
        ("meta-llama--Llama-3.1-8B-Instruct", "Q4_K_M", 4_912_898_304 - 256),
        ("meta-llama--Llama-3.3-70B-Instruct", "Q4_K_M", 42_512_531_712 - 256),
        ("meta-llama--Llama-2-7b-hf", "Q4_0", 3_825_065_984),
        ("meta-llama--Llama-2-7b-hf", "Q4_K_M", 4_080_263_168),
        ("Qwen--Qwen3-32B", "Q8_0", 34_811_744_256),
    ],
)
def test_tensors_of_files_that_were_run(config: str, file_type: str, published: int) -> None:
    assert data_bytes(load(config), file_type) == published


@pytest.mark.parametrize(
    ("file_type", "published"),
    [  # made by llama-quantize at 5306f4b from a Q8_0 file (jklappenbach/cajeta-llm at 26bd5e5, codebook-quants-plan.md)
        ("IQ1_S", 2_019_632_544), ("IQ1_M", 2_161_976_736), ("IQ2_XXS", 2_399_217_056), ("IQ2_XS", 2_605_786_528),
        ("IQ2_S", 2_758_493_600), ("IQ2_M", 2_948_285_856), ("IQ3_XXS", 3_274_917_280), ("IQ3_XS", 3_518_752_160),
        ("IQ3_S", 3_682_330_016), ("IQ3_M", 3_784_828_320),
    ],
)  # fmt: skip
def test_codebook_types_differ_by_the_header_only(file_type: str, published: int) -> None:
    assert published - data_bytes(load(LLAMA), file_type, imatrix=True) == HEADER_BYTES


@pytest.mark.parametrize(
    ("file_type", "gib"),
    [  # Llama-7B, of the shape of Llama-2-7B; the table of sizes and perplexities that arca.live/b/alpaca/100250412 gives
        ("Q5_1", 4.72), ("Q4_1", 3.95), ("IQ4_NL", 3.56), ("Q2_K_S", 2.16), ("IQ3_M", 2.90), ("IQ3_S", 2.75), ("IQ3_XS", 2.60),
        ("IQ3_XXS", 2.41), ("IQ2_M", 2.20), ("IQ2_S", 2.05), ("IQ2_XS", 1.89), ("IQ2_XXS", 1.73), ("IQ1_S", 1.42),
    ],
)  # fmt: skip
def test_types_of_a_7b_model_to_the_digits_published(file_type: str, gib: float) -> None:
    assert data_bytes(load("meta-llama--Llama-2-7b-hf"), file_type, imatrix=True) / 2**30 == pytest.approx(
        gib, abs=0.006
    )


def test_ternary_types_of_a_4b_model_to_the_digits_published() -> None:
    """TriLM-3.99B in TQ2_0 is 1.08 GiB in llama-bench (ikawrakow/ik_llama.cpp#12); a shape of 3.99 B parameters."""
    config = {
        "model_type": "llama", "hidden_size": 3072, "intermediate_size": 9216, "num_hidden_layers": 30, "num_attention_heads": 24,
        "num_key_value_heads": 24, "vocab_size": 50688, "max_position_embeddings": 2048, "tie_word_embeddings": False,
    }  # fmt: skip
    spec = read(config, where="test")
    assert spec.params == pytest.approx(3.99e9, abs=0.005e9)
    assert data_bytes(spec, "TQ2_0") / 2**30 == pytest.approx(1.08, abs=0.006)


def test_q4_k_m_of_gemma_3_1b_falls_back() -> None:
    spec = load("google--gemma-3-1b-it")
    counts = types(spec, "Q4_K_M")
    assert counts["Q5_0"] == 117  # rows of 1,152 (published log of llama-quantize)
    bits = 8 * data_bytes(spec, "Q4_K_M") / spec.params
    assert bits == pytest.approx(6.40, abs=0.02)


def test_mixtral_has_eight_experts() -> None:
    found = {entry.tensor.name: entry.kind.name for entry in mixed(load("mistralai--Mixtral-8x7B-v0.1"), "Q4_K_S")}
    assert found["blk.*.attn_v.weight"] == found["blk.*.attn_k.weight"] == "Q8_0"
    assert found["blk.*.attn_output.weight"] == "Q5_K"
    assert found["blk.*.ffn_gate_inp.weight"] == "F32"
    assert found["blk.*.ffn_up_exps.weight"] == "Q4_K"


def test_tied_embedding_is_the_output() -> None:
    found = {entry.tensor.name: entry.kind.name for entry in mixed(load("google--gemma-2-2b"), "Q4_K_M")}
    assert found["token_embd.weight"] == "Q6_K"
    assert "output.weight" not in found


def test_experts_are_three_dimensional() -> None:
    found = {one.name: one for one in tensors_of(load("Qwen--Qwen3-30B-A3B"))}
    assert found["blk.*.ffn_gate_exps.weight"].dims == found["blk.*.ffn_up_exps.weight"].dims == (2048, 768, 128)
    assert found["blk.*.ffn_down_exps.weight"].dims == (768, 2048, 128)


def test_latent_attention_is_split() -> None:
    found = {one.name: one for one in tensors_of(load("deepseek-ai--DeepSeek-V2-Lite"))}
    assert found["blk.*.attn_k_b.weight"].dims == (128, 512, 16)
    assert found["blk.*.attn_v_b.weight"].dims == (512, 128, 16)
    assert found["blk.*.ffn_up.weight"].layers == (0,)
    assert found["blk.*.ffn_up_exps.weight"].layers == tuple(range(1, 27))


def test_small_files_that_were_really_written() -> None:
    """The inventory of a config with the shape of the fixtures is what the fixtures hold."""
    from fmkit.hub.gguf import read_gguf  # noqa: PLC0415  the parser is the other side of this comparison

    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 256, "tie_word_embeddings": False,
    }  # fmt: skip
    spec = read(config, where="test")
    for file in sorted((Path(__file__).parents[1] / "fixtures" / "gguf").glob("*.gguf")):
        written = read_gguf(file)
        name = FILE_TYPE_NAMES[int(str(written.keys["general.file_type"]))]
        ours = {
            (entry.tensor.name.replace("*", str(layer)), entry.tensor.dims, entry.kind.name)
            for entry in mixed(spec, name)
            for layer in entry.tensor.layers or (0,)
        }
        assert ours == {(one.name, one.shape[::-1], one.dtype) for one in written.tensors}, file.name


@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_every_file_type_of_every_lineage(file_type: str) -> None:
    for config in (
        "HuggingFaceTB--SmolLM2-135M-Instruct",
        "openai-community--gpt2-xl",
        "tiiuae--falcon-40b",
        "openai--gpt-oss-20b",
    ):
        spec = load(config)
        size = data_bytes(spec, file_type)
        assert spec.params // 8 < size <= spec.params * 4 + 10**7


def test_a_lineage_without_a_mapping_says_so() -> None:
    spec = load("facebook--bart-base")
    with pytest.raises(ArchitectureUnknownError, match="GGUF file of 'bart'"):
        tensors_of(spec)
    assert "bart" not in LINEAGES


def test_parameters_are_all_there() -> None:
    """Nothing of the language model is lost on the way: elements of the inventory are the model's parameters."""
    root = Path(__file__).parents[2] / "catalog" / "configs"
    checked = 0
    for path in sorted(root.glob("*.json")):
        try:
            spec = read(json.loads(path.read_text()), where=path.name)
            inventory = tensors_of(spec)
        except ArchitectureUnknownError:
            continue
        outside = sum(
            group.elements for group in spec.tensors if group.part in {"vision", "audio", "qformer", "projector"}
        )
        lineage = lineage_of(spec)
        if not lineage.causal:  # the head of an encoder and the unused positions of RoBERTa are not converted
            outside += sum(group.elements for group in spec.tensors if group.part == "head")
            outside += lineage.position_offset * spec.stacks[0].hidden_dim
        routing = sum(one.elements * one.count for one in inventory if "exp_probs_b" in one.name)
        assert sum(one.elements * one.count for one in inventory) - routing == spec.params - outside, path.name
        checked += 1
    assert checked >= 90
