"""BERT and Llama in plain numpy, and BERT's word pieces: the papers' formulas over a folder's files, with nothing of torch or transformers."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}

Array = Any


def tensors_of(path: Path) -> dict[str, Array]:
    """All tensors of a safetensors file: a header of JSON whose length stands in front, then the bytes."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return {
        name: np.frombuffer(content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], DTYPES[entry["dtype"]])
        .reshape(entry["shape"]).astype(np.float64)
        for name, entry in header.items() if name != "__metadata__"
    }  # fmt: skip


def softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def heads(matrix: Array, count: int) -> Array:
    """[tokens, count x width] as [count, tokens, width]."""
    return matrix.reshape(len(matrix), count, -1).swapaxes(0, 1)


class Bert:
    """Embeddings, layers with the norm after each half, gelu with the error function."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = tensors_of(folder / "model.safetensors")
        self.vocabulary = {
            word: number for number, word in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
        }

    def vector(self, text: str) -> Array:
        """The mean over the tokens, at length 1."""
        mean = self.forward(self.tokens(text)).mean(0)
        return mean / np.linalg.norm(mean)

    def tokens(self, text: str) -> list[int]:
        pieces = [piece for word in words(text) for piece in self._pieces(word)]
        return [self.vocabulary[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def forward(self, ids: list[int]) -> Array:
        """The last hidden states, [tokens, width]."""
        w, count = self.weights, self.config["num_attention_heads"]
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{number}"
            q, k, v = (
                heads(self._linear(x, f"{layer}.attention.self.{name}"), count) for name in ("query", "key", "value")
            )
            seen = softmax(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])) @ v
            mixed = self._linear(seen.swapaxes(0, 1).reshape(x.shape), f"{layer}.attention.output.dense")
            x = self._norm(x + mixed, f"{layer}.attention.output.LayerNorm")
            inner = self._linear(x, f"{layer}.intermediate.dense")
            inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = self._norm(x + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _pieces(self, word: str) -> list[str]:
        """The longest known piece from the left, again and again; all unknown where there is none."""
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in self.vocabulary), None)
            if end is None:
                return ["[UNK]"]
            found.append(mark + word[start:end])
            start = end
        return found


def words(text: str) -> Iterator[str]:
    """Lower case without accents, parted at white space and at each punctuation mark."""
    plain = "".join(each for each in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(each) != "Mn")
    parted = "".join(f" {each} " if not each.isalnum() and not each.isspace() else each for each in plain)
    yield from parted.split()


class Llama:
    """Norms by the root mean square in front of each half, rotary positions in halves, shared keys, a gated feed-forward, a tied head."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = tensors_of(folder / "model.safetensors")

    def logits(self, ids: list[int]) -> Array:
        """The scores of every next token, [tokens, vocabulary]."""
        w, config = self.weights, self.config
        x = w["model.embed_tokens.weight"][ids]
        for number in range(config["num_hidden_layers"]):
            layer = f"model.layers.{number}"
            x = x + self._attention(self._norm(x, f"{layer}.input_layernorm"), f"{layer}.self_attn")
            y = self._norm(x, f"{layer}.post_attention_layernorm")
            gate = y @ w[f"{layer}.mlp.gate_proj.weight"].T
            inner = gate / (1 + np.exp(-gate)) * (y @ w[f"{layer}.mlp.up_proj.weight"].T)
            x = x + inner @ w[f"{layer}.mlp.down_proj.weight"].T
        return self._norm(x, "model.norm") @ w["model.embed_tokens.weight"].T

    def continued(self, ids: list[int], count: int) -> list[int]:
        """The likeliest next token, `count` times."""
        grown = list(ids)
        for _ in range(count):
            grown.append(int(self.logits(grown)[-1].argmax()))
        return grown[len(ids) :]

    def _attention(self, x: Array, name: str) -> Array:
        count, shared = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        q, k, v = (
            heads(x @ self.weights[f"{name}.{part}_proj.weight"].T, number)
            for part, number in (("q", count), ("k", shared), ("v", shared))
        )
        q, k = self._rotated(q), self._rotated(k)
        k, v = (np.repeat(each, count // shared, axis=0) for each in (k, v))
        future = np.triu(np.full((len(x), len(x)), -np.inf), 1)
        seen = softmax(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]) + future) @ v
        return seen.swapaxes(0, 1).reshape(len(x), -1) @ self.weights[f"{name}.o_proj.weight"].T

    def _rotated(self, x: Array) -> Array:
        half = x.shape[-1] // 2
        speeds = self.config["rope_parameters"]["rope_theta"] ** -(np.arange(half) / half)
        angles = np.arange(x.shape[1])[:, None] * speeds
        first, second = x[..., :half], x[..., half:]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)

    def _norm(self, x: Array, name: str) -> Array:
        return (
            x / np.sqrt((x**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"]) * self.weights[f"{name}.weight"]
        )
