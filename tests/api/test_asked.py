"""What callers ask for is read alike, and refused with the option's name."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.api.asked import MOST, one_or_many, precision_id, text, tokens, whole
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError


def test_one_or_many() -> None:
    assert one_or_many("int4", "--x") == ("int4",)
    assert one_or_many(["a", "b"], "--x") == ("a", "b")
    assert one_or_many((), "--x") == one_or_many(None, "--x") == ()


@pytest.mark.parametrize("asked", [1.5, {"a": 1}, b"int4"])
def test_what_is_neither_is_refused(asked: Any) -> None:
    with pytest.raises(UsageError) as caught:
        one_or_many(asked, "--x")
    assert caught.value.where == "--x"


@pytest.mark.parametrize("value", [0, -1, MOST + 1, True, 1.0, "1", None])
def test_a_count_has_limits(value: object) -> None:
    with pytest.raises(UsageError, match="whole number from 1 to"):
        whole(value, "--x")


def test_aliases_of_precisions() -> None:
    catalog = load_catalog()
    assert [precision_id(name, catalog) for name in ("INT4", "4bit", "int4-bnb", "bf16", "fp32")] == [
        "int4",
        "int4",
        "nf4",
        "fp16",
        "fp32",
    ]
    with pytest.raises(UsageError, match="nearest: fp16"):
        precision_id("fp17", catalog)
    with pytest.raises(UsageError):
        precision_id(None, catalog)


def test_lengths_and_texts() -> None:
    assert tokens("1k", "--x") == tokens(1024, "--x") == 1024
    assert text("a", "--x") == "a"
    for wrong in (None, True, 1.5):
        with pytest.raises(UsageError):
            tokens(wrong, "--x")
