"""`fmkit vram` on files: the weights as they are loaded, held against models that transformers saved and loaded again."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.api.vram import vram
from fmkit.errors import ArchitectureUnknownError, ModelNotFoundError, UnsafeInputError, UsageError
from fmkit.results.vram import Estimate, VramResult
from tests.hub.test_local import put
from tests.stand_in.content import literal, llama_config, llama_tensors, safetensors
from tests.stand_in.samples import LLAMA_1B, gguf_files

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {**SMALL, "num_key_value_heads": 2}),
    "llama-tied": ("LlamaForCausalLM", {**SMALL, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "mixtral": ("MixtralForCausalLM", {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4}),
    "qwen3-moe": (
        "Qwen3MoeForCausalLM",
        {
            **SMALL,
            "num_key_value_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "head_dim": 16,
        },
    ),
    "gemma3": ("Gemma3ForCausalLM", {**SMALL, "num_key_value_heads": 2, "head_dim": 16}),
    "bert": ("BertModel", SMALL),
    "gpt2": (
        "GPT2LMHeadModel",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "t5": (
        "T5ForConditionalGeneration",
        {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 500},
    ),
    "mamba": ("MambaForCausalLM", {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 500, "state_size": 8}),
}


def stored(result: VramResult) -> Estimate:
    return next(found for found in result.estimates if found.precision == "stored")


def size(path: Path, **options: Any) -> VramResult:
    return vram(str(path), gpu="rtx-4090", context="64", **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_stored_weights_are_what_transformers_loads(tmp_path: Path, name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    class_name, options = MODELS[name]
    model_class = getattr(transformers, class_name)
    config = model_class.config_class(**options)
    folder = tmp_path / name
    model_class(config).to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="200KB")
    loaded = model_class.from_pretrained(folder, dtype="auto")
    parameters = sum(one.numel() * one.element_size() for one in loaded.parameters())
    result = size(folder)
    lines = [line for line in stored(result).lines if line.part.startswith("weights") and "buffers" not in line.part]
    assert sum(line.bytes for line in lines) == parameters
    assert {line.basis for line in lines} == {"header"}
    assert not any("lack" in note or "does not explain" in note for note in result.warnings)
    assert result.stored is not None
    assert result.stored.tensor_bytes == sum(
        tensor.numel() * tensor.element_size()
        for file in folder.glob("*.safetensors")
        for tensor in importlib.import_module("safetensors.torch").load_file(file).values()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "model", {
        "config.json": literal(llama_config(LLAMA_1B)),
        "model.safetensors": safetensors(llama_tensors(LLAMA_1B)),
    })  # fmt: skip


def rewrite(folder: Path, tensors: dict[str, Any], **config: object) -> None:
    put(
        folder,
        {
            "model.safetensors": safetensors(tensors),
            "config.json": literal(llama_config(LLAMA_1B) | config),
        },
    )


def test_layers_beyond_the_config_are_stored_and_not_loaded(folder: Path) -> None:
    before = stored(size(folder)).weights_bytes
    tensors = llama_tensors(LLAMA_1B._replace(layers=3))
    rewrite(folder, tensors)
    result = size(folder)
    assert stored(result).weights_bytes == before
    assert result.stored is not None
    third = sum(
        2 * shape[0] * (shape[1] if len(shape) > 1 else 1) for name, (_, shape) in tensors.items() if ".2." in name
    )
    assert result.stored.not_loaded_bytes == third
    assert any("several tokens at once" in note for note in result.warnings)


def test_a_stored_copy_of_a_tied_head_is_loaded_once(folder: Path) -> None:
    before = stored(size(folder)).weights_bytes
    rewrite(folder, llama_tensors(LLAMA_1B), tie_word_embeddings=True)
    result = size(folder)
    assert stored(result).weights_bytes == before - 32000 * 2048 * 2
    assert any("copies of the embedding" in note for note in result.warnings)


def test_what_config_and_files_disagree_about_is_said(folder: Path) -> None:
    whole = llama_tensors(LLAMA_1B)
    rewrite(folder, {name: kind for name, kind in whole.items() if "mlp.up_proj" not in name})
    assert any("lack 34M of the" in note or "lack 33.6M" in note for note in size(folder).warnings), size(
        folder
    ).warnings
    rewrite(folder, whole | {"extra.thing": ("BF16", (1000, 1000))})
    assert any("have no place in LlamaForCausalLM" in note for note in size(folder).warnings)
    rewrite(folder, llama_tensors(LLAMA_1B, dtype="F32"))
    assert any("stored as float32; config.json says bfloat16" in note for note in size(folder).warnings)


def test_files_of_another_width_than_the_config_are_said(folder: Path) -> None:
    tensors = llama_tensors(LLAMA_1B)
    rewrite(folder, tensors, hidden_size=4096)
    note = next(note for note in size(folder).warnings if "other shapes" in note)
    assert "model.embed_tokens.weight is 32000 x 2048 in the file, 32000 x 4096 by config.json" in note
    assert note.endswith("; and 16 more tensors. Sizes under 'stored' are the files'")
    rewrite(folder, tensors, vocab_size=16000)
    note = next(note for note in size(folder).warnings if "other shapes" in note)
    assert "lm_head.weight is 32000 x 2048 in the file, 16000 x 2048 by config.json" in note
    assert "more" not in note
    rewrite(folder, tensors)
    assert not any("shapes" in note for note in size(folder).warnings)


def test_awq_is_sized_by_its_packed_tensors(folder: Path) -> None:
    config = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}}
    tensors: dict[str, Any] = {}
    for name, (dtype, shape) in llama_tensors(LLAMA_1B, dtype="F16").items():
        if len(shape) < 2 or "embed" in name or "lm_head" in name:
            tensors[name] = (dtype, shape)
            continue
        out, inner = shape
        stem = name.removesuffix(".weight")
        tensors[f"{stem}.qweight"] = ("I32", (inner, out // 8))
        tensors[f"{stem}.qzeros"] = ("I32", (inner // 128, out // 8))
        tensors[f"{stem}.scales"] = ("F16", (inner // 128, out))
    rewrite(folder, tensors, **config)
    result = size(folder)
    assert stored(result).weights_bytes == safetensors(tensors).size - len(safetensors(tensors).head) + 512
    assert not any("explain" in note or "lack" in note for note in result.warnings)
    assert result.model.params == size(folder.parent / "model").model.params


def test_pickled_weights_are_sized_by_their_files(tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "config.json": literal(llama_config(LLAMA_1B)),
        "pytorch_model.bin": b"x" * 10**6,
    }
    result = size(put(tmp_path / "bin", files))
    (line,) = [line for line in stored(result).lines if line.part == "weights: all parts"]
    assert (line.bytes, line.basis) == (10**6, "measured")
    assert any("none is opened" in note for note in result.warnings)


def test_an_adapter_is_sized_with_its_base(folder: Path) -> None:
    lora = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ("BF16", (16, 2048))}
    config = {"base_model_name_or_path": str(folder), "peft_type": "LORA", "r": 16}
    path = put(
        folder.parent / "lora", {"adapter_config.json": literal(config), "adapter_model.safetensors": safetensors(lora)}
    )
    result = size(path)
    assert stored(result).weights_bytes == stored(size(folder)).weights_bytes + 16 * 2048 * 4
    assert any("LORA adapter, rank 16" in note for note in result.warnings)
    (path / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(Exception, match="does not say which model"):
        size(path)


def test_an_architecture_nobody_knows_is_sized_as_far_as_it_goes(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "never-heard-of"}')
    with pytest.raises(ArchitectureUnknownError, match=r"the weights alone take 482\.0 MiB as stored"):
        size(folder)


def test_an_adapter_of_itself_ends(tmp_path: Path) -> None:
    lora = {"a.lora_A.weight": ("BF16", (16, 2048))}
    path = tmp_path / "loop"
    config = {"base_model_name_or_path": str(path), "peft_type": "LORA"}
    put(path, {"adapter_config.json": literal(config), "adapter_model.safetensors": safetensors(lora)})
    with pytest.raises(UnsafeInputError, match="another adapter as its base"):
        size(path)


def test_quantisations_are_rows_and_can_be_chosen(tmp_path: Path) -> None:
    files = {name: file for name, file in gguf_files().items() if not name.startswith(("mmproj", "imatrix"))}
    path = put(tmp_path / "gguf", dict(files))
    result = size(path)
    assert [found.precision for found in result.estimates] == ["q2_k", "q4_k_m", "q6_k", "q8_0", "f16"]
    weights = [found.weights_bytes for found in result.estimates]
    assert weights == sorted(weights)
    assert [found.precision for found in size(path, precision="Q8_0").estimates] == ["q8_0"]
    with pytest.raises(UsageError, match="nearest: q8_0"):
        size(path, precision="q8_1")
    fit = size(path, fit=True).fit
    assert fit is not None
    assert fit.best_precision == "f16"


def test_a_weight_file_alone(tmp_path: Path) -> None:
    tensors = {"a": ("F32", (1024, 1024)), "b": ("BF16", (16,))}
    path = put(tmp_path / "alone", {"x.safetensors": safetensors(tensors)}) / "x.safetensors"
    result = size(path)
    assert result.estimates == ()
    assert "4.0 MiB of weights; without a config.json" in result.verdict
    assert result.stored is not None
    assert result.stored.bytes_by_dtype == {"float32": 2**22, "bfloat16": 32}


def test_an_engine_that_cannot_read_the_files_does_not_offer_them(folder: Path) -> None:
    result = size(folder, engine="llama.cpp")
    assert "stored" not in {found.precision for found in result.estimates}
    with pytest.raises(UsageError):
        size(folder, engine="llama.cpp", precision="stored")


def test_two_ranks_hold_twice_the_architecture(folder: Path) -> None:
    result = vram(
        str(folder), gpu="h100-sxm5-80gb:2", engine="vllm", tensor_parallel=2, precision="stored", context="64"
    )
    assert stored(result).tensor_parallel == 2


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"no config\.json and no weights"):
        size(tmp_path / "none")
