"""Files that are written to be timed: read by the gguf package, and run by llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import gguf
import pytest

from fmkit.trial.llama_cpp_rates import KINDS, REPEATS, SLIM, WIDE, Timed, beside_weights, in_turn
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


def test_what_a_layer_takes_beside_its_weights_is_told_from_two_models() -> None:
    """Of models that take 2 ps a weight and token, 1 ms a layer and 3 us a layer and token, and half a millisecond a step."""

    def pass_s(shape: LlamaShape, tokens: int) -> float:
        return shape.layers * (tokens * (2e-12 * shape.layer_weights + 3e-6) + 1e-3) + 5e-4

    slim, wide = ({tokens: pass_s(shape, tokens) for tokens in (1, 64, 256)} for shape in (SLIM, WIDE))
    found = {point.tokens: point.seconds for point in beside_weights(slim, wide, token_s=5e-4)}
    assert found == pytest.approx({tokens: 1e-3 + tokens * 3e-6 for tokens in (1, 64, 256)})


def test_models_take_turns() -> None:
    """A moment at which everything takes nine times as long is a part of every model's rounds."""
    seen: list[str] = []

    class Scripted:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.seconds = name, seconds

        def pass_s(self, tokens: int) -> float:
            seen.append(self.name)
            return self.seconds * tokens * (9 if len(seen) <= 4 else 1)

    slim, wide, broad = models = cast("Any", (Scripted("slim", 1.0), Scripted("wide", 2.0), Scripted("broad", 3.0)))
    assert in_turn((slim, wide, slim, broad), (1, 4)) == {
        slim: {1: 1.0, 4: 4.0},
        wide: {1: 2.0, 4: 8.0},
        broad: {1: 3.0, 4: 12.0},
    }
    assert seen[:8] == ["slim", "slim", "wide", "wide", "slim", "slim", "broad", "broad"]
    assert len(seen) == 2 * REPEATS * (len(models) + 1)
