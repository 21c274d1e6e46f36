"""ggml's types: bytes against the gguf package, and the fallback for rows that are no whole number of blocks."""

from __future__ import annotations

import importlib

import pytest

from fmkit.model.ggml import FILE_TYPE_NAMES, FILE_TYPES, TYPES, TYPES_BY_NUMBER, base_type, fitting_type

BITS = {
    "F32": 32, "F16": 16, "BF16": 16, "Q4_0": 4.5, "Q4_1": 5, "Q5_0": 5.5, "Q5_1": 6, "Q8_0": 8.5, "Q2_K": 2.625, "Q3_K": 3.4375,
    "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625, "IQ1_S": 1.5625, "IQ1_M": 1.75, "IQ2_XXS": 2.0625, "IQ2_XS": 2.3125, "IQ2_S": 2.5625,
    "IQ3_XXS": 3.0625, "IQ3_S": 3.4375, "IQ4_XS": 4.25, "IQ4_NL": 4.5, "TQ1_0": 1.6875, "TQ2_0": 2.0625, "MXFP4": 4.25, "NVFP4": 4.5,
    "Q1_0": 1.125,
}  # fmt: skip


@pytest.mark.parametrize(("name", "bits"), BITS.items())
def test_bits_per_weight(name: str, bits: float) -> None:
    assert TYPES[name].bits == bits


def test_agrees_with_the_gguf_package() -> None:
    pytest.importorskip("gguf", reason="the gguf package is not installed: pip install 'fmkit[dev]'")
    constants = importlib.import_module("gguf.constants")
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in constants.GGML_QUANT_SIZES.items()}
    assert {n: (one.name, one.block_weights, one.block_bytes) for n, one in TYPES_BY_NUMBER.items()} == theirs
    names = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in constants.LlamaFileType}
    assert {n: name for n, name in names.items() if n in FILE_TYPE_NAMES} == FILE_TYPE_NAMES


@pytest.mark.parametrize(
    ("wanted", "row", "found"),
    [
        ("Q4_K", 4096, "Q4_K"), ("Q4_K", 1152, "Q5_0"), ("Q5_K", 1152, "Q5_1"), ("Q6_K", 576, "Q8_0"), ("Q2_K", 96, "Q4_0"),
        ("Q3_K", 96, "Q4_0"), ("IQ4_XS", 96, "IQ4_NL"), ("IQ2_XXS", 96, "IQ4_NL"), ("TQ1_0", 96, "Q4_0"), ("Q4_K", 100, "F16"),
        ("Q8_0", 33, "F16"), ("Q8_0", 96, "Q8_0"),
    ],
)  # fmt: skip
def test_fallback(wanted: str, row: int, found: str) -> None:
    assert fitting_type(TYPES[wanted], row).name == found


def test_every_file_type_has_a_base() -> None:
    assert {base_type(name).name for name in FILE_TYPES} <= set(TYPES)
    assert base_type("IQ2_M").name == "IQ2_S"
