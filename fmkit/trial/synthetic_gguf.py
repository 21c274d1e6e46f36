"""A GGUF file of a small Llama that is written to be timed: every matrix in one type, random weights, a byte a token."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.ggml import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from fmkit.model.ggml import GgmlType

ALIGNMENT = 32
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
"""Types of values in a file's header."""

FIRST_TOKENS = 259
"""Unknown, begin and end of text, and the 256 bytes."""

REPEATED_BLOCKS = 997
"""Length of the run of random blocks that is repeated: a prime, so that rows differ."""

SCALES = {
    "Q4_0": (0, 2), "Q4_1": (0, 4), "Q5_0": (0, 2), "Q5_1": (0, 4), "Q8_0": (0, 2), "Q2_K": (80, 84), "Q3_K": (108, 110),
    "Q4_K": (0, 4), "Q5_K": (0, 4), "Q6_K": (208, 210), "IQ4_NL": (0, 2), "IQ4_XS": (0, 2),
}  # fmt: skip
"""Where in a block the float16 scales are: ggml-common.h of llama.cpp."""

SCALE = struct.pack("<e", 1e-3)
FLOATS = {"F16": (2, b"\x28\xa8"), "BF16": (2, b"\x3d\xbd"), "F32": (4, b"\x3d\xbd")}
"""Bytes of a number, and the highest byte of numbers of a few hundredths, of either sign."""

Value = int | float | str | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]


class LlamaShape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the model. The widths are multiples of 256, the longest block of ggml's types."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int = 512
    context_tokens: int = 4096

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def layer_weights(self) -> int:
        """Weights of the matrices of one layer."""
        kv = self.kv_heads * self.head_dim
        return self.hidden * (2 * self.hidden + 2 * kv + 3 * self.inner)


def write_llama(path: Path, shape: LlamaShape, kind: str) -> None:
    """Write the file, every matrix of a layer and the output in `kind`; norms and embedding are float32, as converters write them."""
    tensors = list(_tensors(shape, TYPES[kind]))
    placed, offset = [], 0
    for name, dims, each in tensors:
        placed.append(_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, each.number, offset))
        offset += _padded(each.tensor_bytes(dims))
    keys = _keys(shape)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(placed), len(keys))
    head += b"".join(_string(name) + _value(value) for name, value in keys.items()) + b"".join(placed)
    with path.open("wb") as stream:
        stream.write(head + bytes(_padded(len(head)) - len(head)))
        write_data(stream, [(each, each.tensor_bytes(dims)) for _, dims, each in tensors])


def _tensors(shape: LlamaShape, kind: GgmlType) -> Iterator[tuple[str, tuple[int, ...], GgmlType]]:
    hidden, inner, kv = shape.hidden, shape.inner, shape.kv_heads * shape.head_dim
    wide = TYPES["F32"]
    yield "token_embd.weight", (hidden, shape.vocabulary), wide
    yield "output_norm.weight", (hidden,), wide
    yield "output.weight", (hidden, shape.vocabulary), kind
    matrices = {
        "attn_q": (hidden, hidden), "attn_k": (hidden, kv), "attn_v": (hidden, kv), "attn_output": (hidden, hidden),
        "ffn_gate": (hidden, inner), "ffn_up": (hidden, inner), "ffn_down": (inner, hidden),
    }  # fmt: skip
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{norm}.weight", (hidden,), wide
        for name, dims in matrices.items():
            yield f"blk.{layer}.{name}.weight", dims, kind


def _keys(shape: LlamaShape) -> Mapping[str, Value]:
    others = shape.vocabulary - FIRST_TOKENS
    every_byte = (f"<0x{number:02X}>" for number in range(256))
    return {
        "general.architecture": "llama",
        "llama.context_length": shape.context_tokens,
        "llama.embedding_length": shape.hidden,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.inner,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.head_dim,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ("<unk>", "<s>", "</s>", *every_byte, *(f"t{number}" for number in range(others))),
        "tokenizer.ggml.scores": (0.0,) * shape.vocabulary,
        "tokenizer.ggml.token_type": (2, 3, 3, *(6,) * 256, *(1,) * others),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Value) -> bytes:
    """A value with its type before it."""
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    return _array(value)


def _array(items: Sequence[str] | Sequence[int] | Sequence[float]) -> bytes:
    first = items[0]
    if isinstance(first, str):
        return struct.pack("<IIQ", ARRAY, STRING, len(items)) + b"".join(_string(str(item)) for item in items)
    kind, letter = (INT32, "i") if isinstance(first, int) else (FLOAT32, "f")
    return struct.pack(f"<IIQ{len(items)}{letter}", ARRAY, kind, len(items), *items)


def _padded(size: int) -> int:
    return size + -size % ALIGNMENT


def data_bytes(tensors: Sequence[tuple[GgmlType, int]]) -> int:
    """Bytes that tensors of these types and sizes take in a file."""
    return sum(_padded(size) for _, size in tensors)


def write_data(stream: BinaryIO, tensors: Sequence[tuple[GgmlType, int]]) -> None:
    """Random blocks with small scales for tensors of these types and sizes, one after the other, with zeros up to the alignment."""
    runs = {kind.name: _blocks(kind) for kind, _ in tensors}
    for kind, size in tensors:
        run = runs[kind.name]
        whole, rest = divmod(size, len(run))
        stream.writelines(run for _ in range(whole))
        stream.write(run[:rest] + bytes(_padded(size) - size))


def _blocks(kind: GgmlType) -> bytes:
    """A run of random blocks whose weights are about a hundredth."""
    source = random.Random(0)  # noqa: S311  any weights do
    if kind.name in FLOATS:
        size, highest = FLOATS[kind.name]
        return b"".join(source.randbytes(size - 1) + bytes((source.choice(highest),)) for _ in range(REPEATED_BLOCKS))
    start, end = SCALES[kind.name]
    run = bytearray(source.randbytes(REPEATED_BLOCKS * kind.block_bytes))
    for block in range(0, len(run), kind.block_bytes):
        run[block + start : block + end] = SCALE * ((end - start) // 2)
    return bytes(run)
