"""Files that are written to be timed: read by the gguf package, and run by llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import gguf
import pytest

from fmkit.trial.llama_cpp_rates import KINDS, NARROW, WIDE, Timed, beside_seconds
from fmkit.trial.synthetic_gguf import LlamaShape, write_llama

SMALL = LlamaShape(layers=2, hidden=256, inner=512, heads=4, kv_heads=2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_matrix_has_the_type_asked_for(kind: str, tmp_path: Path) -> None:
    write_llama(tmp_path / "model.gguf", SMALL, kind)
    tensors = gguf.GGUFReader(tmp_path / "model.gguf").tensors
    matrices = [one for one in tensors if one.name.startswith("blk.") and len(one.shape) == 2]
    assert {one.tensor_type.name for one in matrices} == {kind}
    assert sum(one.n_elements for one in matrices) == SMALL.layers * SMALL.layer_weights


def test_llama_cpp_runs_it(tmp_path: Path) -> None:
    timed = Timed(tmp_path, SMALL, "Q4_K")
    assert timed.threads >= 1
    assert timed.prompt_s(16) > 0
    assert not (tmp_path / "model.gguf").exists()


class Scripted:
    """A model that takes 2 ps a weight and token and 3 ns a token and unit of width, and 1 ms a layer."""

    def __init__(self, shape: LlamaShape) -> None:
        self.shape = shape

    def prompt_s(self, tokens: int) -> float:
        return self.shape.layers * (tokens * (2e-12 * self.shape.layer_weights + 3e-9 * self.shape.hidden) + 1e-3)


def test_what_a_layer_does_beside_its_matrices_is_told_from_two_models() -> None:
    found = beside_seconds(cast("Any", Scripted(NARROW)), cast("Any", Scripted(WIDE)), layer_s=1e-3, token_s=0.0)
    assert found == pytest.approx(3e-9)
