"""Shapes of stored tensors against those that config.json implies."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING

from fmkit.model.stored_names import SCALES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmkit.model.spec import TensorGroup
    from fmkit.model.stored import StoredTensor

NAMED = 3
"""How many of the tensors with another shape a note names."""


def differs(tensor: StoredTensor, group: TensorGroup) -> bool:
    """Whether a tensor that is not quantised has another size than its `group`; the same size in another order is the same."""
    is_plain = "float" in tensor.dtype and SCALES.search(tensor.name) is None
    return is_plain and tensor.elements != prod(group.shape)


def notes(reshaped: Sequence[tuple[StoredTensor, int, TensorGroup]]) -> Iterable[str]:
    """One note that names the first tensors of another shape, each given with how many there are of it, if there are any."""
    found: Counter[str] = Counter()
    for tensor, tensors, group in reshaped:
        found[f"{group.name} is {_sides(tensor.shape)} in the file, {_sides(group.shape)} by config.json"] += tensors
    named = list(found)[:NAMED]
    if named:
        others = found.total() - sum(found[name] for name in named)
        more = f"; and {others} more tensors" if others else ""
        yield f"the files have other shapes than config.json says: {'; '.join(named)}{more}. Sizes under 'stored' are the files'"


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"
