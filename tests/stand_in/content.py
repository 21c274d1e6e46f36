"""What the stand-in Hub holds: repositories whose files are a few literal bytes and then zeros, as long as they claim to be."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS_BYTES = 1_000_000
"""Files from this size on, and all weights, come from the second origin, as on the real Hub."""

BITS = {"F32": 32, "F16": 16, "BF16": 16, "I32": 32, "F8_E4M3": 8, "U8": 8, "I64": 64, "F4": 4}


@dataclass(frozen=True)
class File:
    """A file: its first bytes, and its length; the rest is zeros that are never stored."""

    head: bytes
    size: int

    def part(self, first: int, last: int) -> bytes:
        """The bytes from `first` to `last`, both included."""
        known = self.head[first : last + 1]
        return known + bytes(last + 1 - first - len(known))

    @property
    def etag(self) -> str:
        """The digest of the content where all of it is there; else a stable name: nobody digests gigabytes of zeros."""
        whole = self.head if self.size == len(self.head) else self.head + str(self.size).encode()
        return hashlib.sha256(whole).hexdigest()

    @property
    def blob(self) -> str:
        """Git's own digest of the content, where all of it is there."""
        return hashlib.sha1(b"blob %d\0%b" % (self.size, self.head)).hexdigest()


@dataclass
class Repository:
    """A model repository, at one commit unless `revisions` has more."""

    id: str
    files: dict[str, File] = field(default_factory=dict)
    commit: str = COMMIT
    gated: str | bool = False
    private: bool = False
    disabled: bool = False
    tags: Sequence[str] = ()
    revisions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def is_large(self, name: str) -> bool:
        """Whether the file is kept with the content network."""
        return self.files[name].size >= LFS_BYTES or name.endswith((".safetensors", ".gguf", ".bin"))

    def resolves(self, revision: str) -> bool:
        """Whether that branch, tag or commit exists."""
        return revision in ("main", self.commit) or revision in self.revisions


def literal(data: bytes | str | object) -> File:
    """A small file of exactly these bytes; anything but bytes and text as JSON."""
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data)).encode()
    return File(data, len(data))


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str] | None = None) -> File:
    """A safetensors file of zeros with these tensors, each a type and a shape."""
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": "pt"})}
    end = 0
    for name, (dtype, shape) in tensors.items():
        size = BITS[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size // 8]}
        end += size // 8
    return with_header(json.dumps(header, separators=(",", ":")).encode(), end)


def with_header(header: bytes, data_bytes: int) -> File:
    """A safetensors file of this header, well-formed or not, padded to 8 bytes as the reference implementation does."""
    padded = header + b" " * (-len(header) % 8)
    head = struct.pack("<Q", len(padded)) + padded
    return File(head, len(head) + data_bytes)


def sharded(tensors: Mapping[str, tuple[str, Sequence[int]]], shards: int) -> dict[str, File]:
    """The tensors spread over that many files, with their index."""
    names = list(tensors)
    files: dict[str, File] = {}
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        inside = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        files[file] = safetensors({name: tensors[name] for name in inside})
        weight_map |= dict.fromkeys(inside, file)
    files["model.safetensors.index.json"] = literal({"metadata": {"total_size": 0}, "weight_map": weight_map})
    return files


def folder(path: Path) -> dict[str, File]:
    """The files of a real folder, whole."""
    return {
        str(file.relative_to(path)): literal(file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()
    }


class Shape(NamedTuple):
    """The sizes of a Llama; heads are 128 wide."""

    layers: int
    hidden: int
    ffn: int
    kv: int
    vocab: int


def llama_tensors(shape: Shape, dtype: str = "BF16") -> dict[str, tuple[str, Sequence[int]]]:
    """The tensors of a Llama as its repository stores them."""
    layers, hidden, ffn, kv, vocab = shape
    found: dict[str, tuple[str, Sequence[int]]] = {"model.embed_tokens.weight": (dtype, (vocab, hidden))}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes: Iterable[tuple[str, tuple[int, ...]]] = (
            ("self_attn.q_proj", (hidden, hidden)), ("self_attn.k_proj", (kv, hidden)), ("self_attn.v_proj", (kv, hidden)),
            ("self_attn.o_proj", (hidden, hidden)), ("mlp.gate_proj", (ffn, hidden)), ("mlp.up_proj", (ffn, hidden)),
            ("mlp.down_proj", (hidden, ffn)), ("input_layernorm", (hidden,)), ("post_attention_layernorm", (hidden,)),
        )  # fmt: skip
        found |= {f"{block}.{name}.weight": (dtype, sizes) for name, sizes in shapes}
    return found | {"model.norm.weight": (dtype, (hidden,)), "lm_head.weight": (dtype, (vocab, hidden))}


def llama_config(shape: Shape, **more: object) -> dict[str, Any]:
    """The config.json of that Llama."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": shape.hidden, "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.hidden // 128, "num_key_value_heads": shape.kv // 128,
        "vocab_size": shape.vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "torch_dtype": "bfloat16", "tie_word_embeddings": False, **more,
    }  # fmt: skip
