"""Remembered answers are those of the very objects asked about."""

from __future__ import annotations

import msgspec
import pytest

from fmkit.catalog.load import load_catalog
from fmkit.model.remembered import remembered
from fmkit.sizing.weights import weight_bytes, weight_lines


def test_another_model_or_layout_has_its_own_answer() -> None:
    catalog = load_catalog()
    spec = catalog.model("gpt2").spec
    assert spec is not None
    layouts = [catalog.layouts[catalog.engines["transformers"].layouts[name]] for name in ("fp32", "fp16", "int8")]
    wider = msgspec.structs.replace(spec, tensors=spec.tensors[:-1])
    for _ in range(2):
        for model in (spec, wider):
            for layout in layouts:
                assert sum(line.bytes for line in weight_lines(model, layout)) == weight_bytes(model, layout)


def test_answers_are_forgotten_when_there_are_too_many() -> None:
    asked = []

    @remembered(2)
    def double(value: tuple[int]) -> int:
        asked.append(value)
        return 2 * value[0]

    first, second, third = [(number,) for number in range(2000, 2003)]
    assert [double(value) for value in (first, second, first, second, third, first)] == [
        4000,
        4002,
        4000,
        4002,
        4004,
        4000,
    ]
    assert asked == [first, second, third, first]
    with pytest.raises(TypeError, match="by position"):
        double(value=first)
