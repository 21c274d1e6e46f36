"""Repositories of every kind for the stand-in Hub: of real size by their headers, of a few hundred kilobytes in memory."""

from __future__ import annotations

from pathlib import Path

from tests.gguf_file import header, key, tensor
from tests.stand_in.content import (
    COMMIT,
    File,
    Repository,
    Shape,
    literal,
    llama_config,
    llama_tensors,
    safetensors,
    sharded,
)

EMBEDDED = Path(__file__).parents[2] / "fmkit" / "trial" / "embedded"
LLAMA_70B = Shape(layers=80, hidden=8192, ffn=28672, kv=1024, vocab=128256)
LLAMA_1B = Shape(layers=2, hidden=2048, ffn=8192, kv=512, vocab=32000)
TEXT = {"pipeline_tag": "text-generation"}
QUANTS = {"Q2_K": 10, "Q4_K_M": 12, "Q6_K": 14, "Q8_0": 8, "F16": 1}


def samples() -> list[Repository]:
    """One repository of each kind that fmkit tells apart."""
    small = llama_tensors(LLAMA_1B)
    config = literal(llama_config(LLAMA_1B))
    single = {"config.json": config, "model.safetensors": safetensors(small), "README.md": literal("# A model\n")}
    return [
        Repository("acme/single", single, tags=("conversational", "license:apache-2.0", "en"), extra=TEXT),
        Repository("acme/talks", {**single, **text_files()}, tags=("conversational",)),
        Repository("acme/base", single, tags=("license:mit",), extra=TEXT),
        Repository("copier/single", single, tags=("conversational",), extra={**TEXT, "downloads": 9}),
        Repository("copier/mixed", single, tags=("conversational", "merge"), extra=TEXT),
        Repository("acme/sharded-70b", {
            "config.json": literal(llama_config(LLAMA_70B)),
            **sharded(llama_tensors(LLAMA_70B), 30),
        }),
        Repository("acme/gated", single, gated="manual", tags=("conversational",), extra=TEXT),
        Repository("acme/private", single, private=True),
        Repository("acme/disabled", single, disabled=True),
        Repository("acme/tagged", single, revisions={"v1.0": COMMIT, "refs/pr/1": COMMIT}),
        Repository("acme/pickled", {"config.json": config, "pytorch_model.bin": File(b"PK\x03\x04", 1_200_000_000)}),
        Repository("acme/gguf", gguf_files(), tags=("gguf", "base_model:quantized:acme/single")),
        Repository("acme/lora", {
            "adapter_config.json": literal({"base_model_name_or_path": "acme/single", "peft_type": "LORA", "r": 16}),
            "adapter_model.safetensors": safetensors(
                {f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{ab}.weight": ("BF16", shape)
                 for n in range(2) for ab, shape in (("A", (16, 2048)), ("B", (2048, 16)))}
            ),
        }),
        Repository("acme/pipeline", {
            "model_index.json": literal({"_class_name": "SomePipeline"}),
            "unet/config.json": literal({}),
            "unet/diffusion_pytorch_model.safetensors": safetensors({"conv.weight": ("F16", (320, 4, 3, 3))}),
            "unet/diffusion_pytorch_model.fp16.safetensors": safetensors({"conv.weight": ("F16", (320, 4, 3, 3))}),
            "text_encoder/model.safetensors": safetensors({"w": ("F16", (768, 768))}),
        }),
        Repository("other/single-AWQ", {
            "config.json": config, "model.safetensors": safetensors({"a.qweight": ("I32", (1000, 1000))}),
        }, tags=("awq", "base_model:quantized:acme/single"), extra={"downloads": 5000}),
        Repository("acme/empty", {"README.md": literal("nothing here\n")}),
    ]  # fmt: skip


def text_files() -> dict[str, File]:
    """A tokenizer with three added words, a chat template of its own file, and defaults of generation."""
    added = {str(number): {"content": f"<|{name}|>"} for number, name in enumerate(("start", "end", "tool"), 31_997)}
    return {
        "tokenizer_config.json": literal({
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": {"content": "<|end|>"}, "pad_token": None,
            "model_max_length": 8192, "added_tokens_decoder": added,
        }),
        "generation_config.json": literal({"temperature": 0.6, "top_p": 0.9, "eos_token_id": [2, 31_998], "transformers_version": "5"}),
        "chat_template.jinja": literal("{% for m in messages %}\n{{ m.content }}\n{% endfor %}"),
    }  # fmt: skip


def gguf_files(vocabulary: int = 1000) -> dict[str, File]:
    """Quantisations of a small Llama: one file each, Q8_0 in two parts, and what is no model."""
    files = {f"m-{label}.gguf": gguf(kind, vocabulary) for label, kind in QUANTS.items() if label != "Q8_0"}
    first, second = gguf_parts(QUANTS["Q8_0"], vocabulary)
    files |= {"Q8_0/m-Q8_0-00001-of-00002.gguf": first, "Q8_0/m-Q8_0-00002-of-00002.gguf": second}
    return files | {"mmproj-m-F16.gguf": File(b"GGUF", 10**9), "imatrix.gguf": File(b"GGUF", 10**7)}


def gguf(kind: int, vocabulary: int, merges: int = 0) -> File:
    """A llama of two blocks whose matrices have that ggml type."""
    return _gguf(_gguf_tensors(kind, vocabulary), _gguf_keys(vocabulary, merges))


def gguf_parts(kind: int, vocabulary: int) -> tuple[File, File]:
    """The same in two files: the second has no keys of the architecture."""
    tensors = _gguf_tensors(kind, vocabulary)
    return _gguf(tensors[:5], _gguf_keys(vocabulary)), _gguf(tensors[5:], [key("split.no", 1)])


def _gguf(tensors: list[tuple[str, tuple[int, ...], int]], keys: list[bytes]) -> File:
    from fmkit.model.ggml import TYPES_BY_NUMBER  # noqa: PLC0415  sizes of ggml's types

    infos, offset = [], 0
    for name, dims, kind in tensors:
        infos.append(tensor(name, dims, kind, offset))
        size = TYPES_BY_NUMBER[kind].tensor_bytes(dims)
        offset += size + -size % 32
    data = header(keys, infos)
    head = data + bytes(-len(data) % 32)
    return File(head, len(head) + offset)


def _gguf_keys(vocabulary: int, merges: int = 0) -> list[bytes]:
    joined = [key("tokenizer.ggml.merges", [f"tok en{number}" for number in range(merges)])] if merges else []
    return [
        *joined,
        key("general.architecture", "llama"), key("llama.block_count", 2), key("llama.context_length", 8192),
        key("llama.embedding_length", 2048), key("llama.feed_forward_length", 8192), key("llama.attention.head_count", 16),
        key("llama.attention.head_count_kv", 4), key("llama.rope.dimension_count", 128),
        key("tokenizer.ggml.tokens", [f"token{number}" for number in range(vocabulary)]), key("general.file_type", 15),
    ]  # fmt: skip


def _gguf_tensors(kind: int, vocabulary: int) -> list[tuple[str, tuple[int, ...], int]]:
    found: list[tuple[str, tuple[int, ...], int]] = [("token_embd.weight", (2048, vocabulary), kind)]
    for layer in range(2):
        block = f"blk.{layer}"
        found += [
            (f"{block}.attn_q.weight", (2048, 2048), kind), (f"{block}.attn_k.weight", (2048, 512), kind),
            (f"{block}.attn_v.weight", (2048, 512), kind), (f"{block}.attn_output.weight", (2048, 2048), kind),
            (f"{block}.ffn_gate.weight", (2048, 8192), kind), (f"{block}.ffn_up.weight", (2048, 8192), kind),
            (f"{block}.ffn_down.weight", (8192, 2048), kind), (f"{block}.attn_norm.weight", (2048,), 0),
            (f"{block}.ffn_norm.weight", (2048,), 0),
        ]  # fmt: skip
    return [*found, ("output_norm.weight", (2048,), 0), ("output.weight", (2048, vocabulary), kind)]
