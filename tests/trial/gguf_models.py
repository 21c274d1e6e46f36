"""Small GGUF files that llama.cpp really runs: true architectures with few layers, random weights, and a byte a token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import quants

from fmkit.model.architectures import read
from fmkit.model.spec import ModelSpec
from tests.gguf_file import write_model
from tests.sizing.real_models import config_of

VOCAB = 512
LAYERS = 6
SCALES = {"Q4_K": (144, slice(0, 4)), "Q6_K": (210, slice(208, 210))}
"""Types that the gguf package reads but does not write: bytes of a block of 256 weights, and where in it its float16 scales are."""


def small_spec(config: str, **changes: Any) -> ModelSpec:
    """The architecture of a real config with few layers and a small vocabulary."""
    raw = config_of(config) | {"num_hidden_layers": LAYERS, "vocab_size": VOCAB} | changes
    raw.pop("layer_types", None)
    return read(raw, where=config)


def write_running_model(path: Path, spec: ModelSpec, file_type: str) -> Path:
    """The file, with data in every tensor: norms are 1, biases 0, matrices random."""
    write_model(path, spec, file_type)
    rng = np.random.default_rng(0)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if len(tensor.shape) == 1:
            tensor.data[...] = 0 if tensor.name.endswith(".bias") else 1
        else:
            tensor.data[...] = _random(rng, tensor).reshape(tensor.data.shape)
    return path


def _random(rng: np.random.Generator, tensor: Any) -> Any:
    kind = tensor.tensor_type
    if kind.name not in SCALES:
        values = rng.standard_normal([int(size) for size in reversed(tensor.shape)], dtype=np.float32)
        return quants.quantize(values * np.float32(0.05), kind)
    block_bytes, scales = SCALES[kind.name]
    blocks = rng.integers(0, 256, (tensor.data.size // block_bytes, block_bytes), dtype=np.uint8)
    blocks[:, scales] = np.full((scales.stop - scales.start) // 2, 1e-4, dtype=np.float16).view(np.uint8)
    return blocks
