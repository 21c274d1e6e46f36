"""A small writer of GGUF files for tests: a header byte by byte, right or wrong on purpose, and files of any size without data."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from fmkit.model.attention import EncoderAttention, FullAttention
from fmkit.model.ggml import FILE_TYPES
from fmkit.model.gguf_lineages import lineage_of
from fmkit.model.gguf_mix import MixedTensor, mixed
from fmkit.model.layers import Mixer, parts_of
from fmkit.model.recurrent import Mamba2, ShortConvolution
from fmkit.model.spec import ModelSpec

ALIGNMENT = 32
U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9

Value = int | float | str | Sequence[str] | Sequence[float] | Sequence[int]


def string(text: str | bytes, order: str = "<") -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(f"{order}Q", len(raw)) + raw


def key(name: str, value: Value, order: str = "<") -> bytes:
    """A key with its value: numbers as u32 or f32, arrays as f32, i32 or strings."""
    return string(name, order) + _typed(value, order)


def _typed(value: Value, order: str) -> bytes:
    if isinstance(value, str):
        return struct.pack(f"{order}I", STRING) + string(value, order)
    if isinstance(value, int):
        return struct.pack(f"{order}II", U32, value)
    if isinstance(value, float):
        return struct.pack(f"{order}If", F32, value)
    kind = STRING if isinstance(value[0], str) else F32 if isinstance(value[0], float) else I32
    head = struct.pack(f"{order}IIQ", ARRAY, kind, len(value))
    if kind == STRING:
        return head + b"".join(string(str(item), order) for item in value)
    return head + struct.pack(f"{order}{len(value)}{'f' if kind == F32 else 'i'}", *value)


def tensor(name: str, dims: Sequence[int], kind: int, offset: int, order: str = "<") -> bytes:
    return (
        string(name, order)
        + struct.pack(f"{order}I{len(dims)}Q", len(dims), *dims)
        + struct.pack(f"{order}IQ", kind, offset)
    )


def header(keys: Sequence[bytes], tensors: Sequence[bytes], *, version: int = 3, order: str = "<") -> bytes:
    return b"GGUF" + struct.pack(f"{order}IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)


def write_model(path: Path, spec: ModelSpec, file_type: str) -> None:
    """A file that llama.cpp loads, with all of the model's tensors in their true types and a made-up vocabulary; the data are a hole."""
    placed, size = _placed(mixed(spec, file_type))
    keys = [key(name, value) for name, value in _model_keys(spec).items()]
    keys.append(key("general.file_type", FILE_TYPES[file_type]))
    data = header(keys, placed)
    padding = -len(data) % ALIGNMENT
    with path.open("wb") as stream:
        stream.write(data + bytes(padding))
        stream.truncate(len(data) + padding + size)


def _placed(entries: Sequence[MixedTensor]) -> tuple[list[bytes], int]:
    infos, offset = [], 0
    for entry in entries:
        for layer in entry.tensor.layers or (0,):
            name = entry.tensor.name.replace("*", str(layer))
            infos.append(tensor(name, entry.tensor.dims, entry.kind.number, offset))
            size = entry.kind.tensor_bytes(entry.tensor.dims)
            offset += size + -size % ALIGNMENT
    return infos, offset


def _model_keys(spec: ModelSpec) -> Mapping[str, Value]:
    stack = spec.stacks[0]
    kinds = [stack.blocks[number].mixer for number in stack.layer_blocks]
    parts = [part for kind in kinds for part in parts_of(kind)]
    mixer = next(part for part in parts if isinstance(part, FullAttention | EncoderAttention))
    mlp = stack.blocks[0].mlp
    assert mlp is not None
    assert spec.vocab_size is not None
    name = lineage_of(spec).architecture
    bytes_of_vocabulary = [f"<0x{number:02X}>" for number in range(256)]
    rest = spec.vocab_size - 259
    window = {f"{name}.attention.sliding_window": getattr(mixer, "window_tokens", 0)}
    experts = {f"{name}.expert_count": mlp.experts, f"{name}.expert_used_count": mlp.experts_per_token}
    return {
        "general.architecture": name,
        f"{name}.context_length": spec.max_context_tokens or 4096,
        f"{name}.embedding_length": stack.hidden_dim,
        f"{name}.block_count": stack.layers,
        f"{name}.feed_forward_length": mlp.ffn_dim,
        f"{name}.attention.head_count": mixer.query_heads,
        f"{name}.attention.head_count_kv": mixer.kv_heads,
        f"{name}.attention.key_length": mixer.key_dim,
        f"{name}.attention.value_length": mixer.value_dim,
        f"{name}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{name}.rope.dimension_count": mixer.key_dim,
        **(window if lineage_of(spec).windowed else {}),
        **(experts if mlp.experts else {}),
        **_other_keys(name, kinds),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *bytes_of_vocabulary, *(f"t{n}" for n in range(rest))],
        "tokenizer.ggml.scores": [0.0] * spec.vocab_size,
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * rest],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _other_keys(name: str, kinds: Sequence[Mixer]) -> dict[str, Value]:
    """What encoders and layers without attention need beside the rest."""
    if any(isinstance(kind, EncoderAttention) for kind in kinds):
        return {
            f"{name}.attention.layer_norm_epsilon": 1e-12,
            f"{name}.pooling_type": 2,
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.token_type_count": 2,
        }
    convolution = next((kind for kind in kinds if isinstance(kind, ShortConvolution)), None)
    state = next((part for kind in kinds for part in parts_of(kind) if isinstance(part, Mamba2)), None)
    if state is not None:
        return {
            f"{name}.ssm.conv_kernel": state.conv_kernel,
            f"{name}.ssm.inner_size": state.inner_dim,
            f"{name}.ssm.state_size": state.state_dim,
            f"{name}.ssm.time_step_rank": state.heads,
            f"{name}.ssm.group_count": state.groups,
        }
    if convolution is None:
        return {}
    return {
        f"{name}.attention.head_count_kv": [kind.kv_heads if isinstance(kind, FullAttention) else 0 for kind in kinds],
        f"{name}.shortconv.l_cache": convolution.conv_kernel,
    }
