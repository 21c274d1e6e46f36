"""The layouts of bitsandbytes, torchao and optimum-quanto against models really loaded by transformers, to the byte."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.model.architectures import read
from fmkit.model.spec import TensorGroup
from tests.model.quantised_models import MODELS, build, plain_groups, stored_bytes

if TYPE_CHECKING:
    from fmkit.model.precision import Layout

torch = pytest.importorskip("torch", reason="quantised models are built with torch, which is not installed")
transformers = pytest.importorskip("transformers", reason="quantised models are loaded by transformers")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the libraries' own deprecations; nothing of ours runs in these tests
    pytest.mark.slow,
]

LIBRARIES = {"bnb": "bitsandbytes", "torchao": "torchao", "quanto": "optimum.quanto"}


@pytest.fixture(
    scope="module",
    params=["bnb-llm-int8", "bnb-nf4-dq", "bnb-nf4", "bnb-fp4", "torchao-int8", "quanto-int8", "quanto-int4"],
)
def layout(request: pytest.FixtureRequest) -> Layout:
    return load_catalog().layouts[request.param]


@pytest.fixture(scope="module", params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """A tiny model of the architecture, saved in float16: its name, the model, its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, build(request.param, folder), folder


@pytest.fixture(scope="module")
def held(saved: tuple[str, Any, Path], layout: Layout) -> int:
    """What the model really takes once transformers has loaded it quantised."""
    _, plain, folder = saved
    return stored_bytes(_load(plain, folder, layout))


def test_layout_bytes_equal_the_quantised_model(saved: tuple[str, Any, Path], layout: Layout, held: int) -> None:
    """Layout over tensor groups read off the plain model = the bytes of the quantised one, tables and scales included."""
    name, plain, _ = saved
    groups = plain_groups(plain, MODELS[name][3])
    assert sum(layout.tensor_group_bytes(group, "float16") for group in groups) == held


def test_layout_over_the_spec_equals_the_quantised_model(
    saved: tuple[str, Any, Path], layout: Layout, held: int
) -> None:
    """The same through the architecture reader: it must know which modules transformers quantises."""
    _, plain, folder = saved
    config = plain.config.to_dict()
    config["architectures"] = [type(plain).__name__]
    weights = [group for group in read(config, where=str(folder)).tensors if group.part != "buffer"]
    assert sum(layout.tensor_group_bytes(group, "float16") for group in weights) == held


def test_one_tensor_by_hand() -> None:
    """4096 x 14336 in nf4: half a byte a weight, a byte per 64, 4 per 16,384, and 1,092 of tables."""
    group = TensorGroup(name="mlp.down_proj.weight", part="mlp", module="linear", shape=(4096, 14336), count=32)
    layouts = load_catalog().layouts
    weights = 4096 * 14336
    assert layouts["bnb-nf4-dq"].tensor_group_bytes(group, "bfloat16") == 32 * (
        weights // 2 + weights // 64 + weights // 16384 * 4 + 1092
    )
    assert layouts["bnb-llm-int8"].tensor_group_bytes(group, "bfloat16") == 32 * (weights + 4 * 4096)
    assert layouts["plain-16"].tensor_group_bytes(group, "bfloat16") == 32 * weights * 2
    assert layouts["plain-32"].tensor_group_bytes(group, "bfloat16") == 32 * weights * 4


def _load(plain: Any, folder: Path, layout: Layout) -> Any:
    library = LIBRARIES[layout.id.partition("-")[0]]
    module = pytest.importorskip(library, reason=f"{library} is not installed: its layouts can't be held against it")
    if layout.id == "quanto-int4" and folder.name.startswith(_UNPACKED) and not _extension_is_built(module):
        pytest.skip("optimum-quanto would compile a C++ extension for minutes to load this class")
    return type(plain).from_pretrained(folder, quantization_config=_quantiser(layout.id), dtype=torch.float16)


_UNPACKED = ("t5", "llava", "mamba")
"""Models whose 4-bit weights transformers unpacks once while it loads them, for which optimum-quanto has compiled code only."""


def _extension_is_built(quanto: Any) -> bool:
    return any(Path(quanto.__file__).parent.glob("library/extensions/cpp/build/*.so"))


def _quantiser(layout_id: str) -> Any:
    if layout_id == "bnb-llm-int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    if layout_id.startswith("bnb"):
        kind = layout_id.split("-")[1]
        double = layout_id.endswith("-dq")
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double
        )
    if layout_id == "torchao-int8":
        return transformers.TorchAoConfig(importlib.import_module("torchao.quantization").Int8WeightOnlyConfig())
    return transformers.QuantoConfig(weights=layout_id.split("-")[1])
