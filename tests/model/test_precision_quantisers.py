"""Layouts against what the quantisers themselves make of single matrices, and against repositories really written and loaded."""

from __future__ import annotations

import importlib
import json
from math import prod
from typing import TYPE_CHECKING, Any

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.hub.local import read_config
from fmkit.model.architectures import read
from fmkit.model.quantised.loading import loaded
from fmkit.model.spec import TensorGroup
from tests.model.quantised_models import build, stored_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.model.spec import ModelSpec

torch = pytest.importorskip("torch", reason="quantised modules are built with torch, which is not installed")
transformers = pytest.importorskip("transformers", reason="models are built and loaded by transformers")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the libraries' own deprecations; nothing of ours runs in these tests
    pytest.mark.slow,
]

SHAPES = [(320, 192), (192, 320), (48, 208), (32, 64)]


def _matrix(outputs: int, inputs: int) -> TensorGroup:
    return TensorGroup(name="layers.*.mlp.down_proj.weight", part="mlp", module="linear", shape=(outputs, inputs))


def _linear(outputs: int, inputs: int) -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs, bias=False).to(torch.bfloat16)


@pytest.mark.full
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("bits", [4, 8])
def test_hqq(bits: int, outputs: int, inputs: int) -> None:
    """HQQLinear in groups of 64: packed weights, scale and zero. Installing hqq slows every import of transformers, so CI does without."""
    hqq = pytest.importorskip("hqq.core.quantize", reason="hqq is not installed")
    layout = load_catalog().layouts[f"hqq-int{bits}-g64"]
    setting = hqq.BaseQuantizeConfig(nbits=bits, group_size=64)
    module = hqq.HQQLinear(_linear(outputs, inputs), setting, compute_dtype=torch.bfloat16, device="cpu")
    assert layout.tensor_group_bytes(_matrix(outputs, inputs), "bfloat16") == stored_bytes(module)


@pytest.mark.parametrize(("outputs", "inputs"), [*SHAPES, (304, 1040)])
def test_torchao_nvfp4(outputs: int, inputs: int) -> None:
    """Scales lie in tiles of 128 rows and 4 groups of 16."""
    formats = pytest.importorskip("torchao.prototype.mx_formats", reason="torchao is not installed")
    module = torch.nn.Sequential(_linear(outputs, inputs))
    importlib.import_module("torchao.quantization").quantize_(module, formats.NVFP4WeightOnlyConfig())
    layout = load_catalog().layouts["torchao-nvfp4"]
    assert layout.tensor_group_bytes(_matrix(outputs, inputs), "bfloat16") == stored_bytes(module)


def test_torchao_int4_leaves_rows_alone_that_its_groups_do_not_divide() -> None:
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    module = torch.nn.Sequential(_linear(320, 192))
    quantization.quantize_(module, quantization.Int4WeightOnlyConfig(group_size=128))
    layout = load_catalog().layouts["torchao-int4-g128"]
    assert layout.tensor_group_bytes(_matrix(320, 192), "bfloat16") == stored_bytes(module) == 320 * 192 * 2


@pytest.mark.parametrize("name", ["llama", "qwen2", "mixtral"])
def test_fp8_of_transformers(name: str, tmp_path: Path) -> None:
    """FP8Linear and FP8Experts, built on the meta device: every Linear but the head, and the fused experts."""
    fp8 = importlib.import_module("transformers.integrations.finegrained_fp8")
    plain = build(name, tmp_path)
    with torch.device("meta"):
        model = type(plain)(plain.config).to(torch.bfloat16)
    quantiser = transformers.FineGrainedFP8Config(modules_to_not_convert=["lm_head"])
    fp8.replace_with_fp8_linear(model, quantiser.modules_to_not_convert, quantiser)
    made = sum(
        tensor.numel() * (2 if tensor.dtype == torch.float32 and "scale" not in key else tensor.element_size())
        for key, tensor in model.named_parameters()
    )  # new biases are float32 until weights are loaded
    layout = load_catalog().layouts["fp8-block-linear"]
    spec = _spec(plain)
    assert _bytes(spec, layout) == made


@pytest.mark.full
@pytest.mark.parametrize(("outputs", "inputs", "group"), [(320, 256, 128), (64, 320, 64), (96, 192, 32)])
def test_awq(outputs: int, inputs: int, group: int) -> None:
    """AutoAWQ's own module: qweight, qzeros and scales. Its package as a whole needs an older transformers, so the module is enough."""
    gemm = pytest.importorskip("awq.modules.linear.gemm", reason="autoawq can't be imported", exc_type=ImportError)
    linear = _linear(outputs, inputs).half()
    ones = torch.ones(inputs // group, outputs).half()
    module = gemm.WQLinear_GEMM.from_linear(linear, 4, group, scales=ones, zeros=ones)
    layout = load_catalog().layouts[f"awq-g{group}"]
    made = sum(buffer.untyped_storage().nbytes() for buffer in module.buffers())
    assert layout.tensor_group_bytes(_matrix(outputs, inputs), "float16") == made


@pytest.mark.full
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("setting", "layout_id"),
    [
        ("NVFP4_DEFAULT_CFG", "nvfp4"), ("NVFP4_MLP_ONLY_CFG", "nvfp4"), ("FP8_DEFAULT_CFG", "fp8-tensor"),
        ("FP8_PER_CHANNEL_PER_TOKEN_CFG", "fp8-channel"),
    ],
)  # fmt: skip
def test_a_modelopt_repository_to_the_byte(setting: str, layout_id: str, tmp_path: Path, *, beside: bool) -> None:
    """What NVIDIA ModelOpt writes, by its config.json or by its hf_quant_config.json, against the tensors of its file."""
    quantization = pytest.importorskip("modelopt.torch.quantization", reason="nvidia-modelopt is not installed")
    model = build("qwen2", tmp_path / "plain", hidden_size=256, intermediate_size=384).to(torch.bfloat16)
    model = quantization.quantize(model, getattr(quantization, setting), lambda one: one(torch.arange(8)[None]))
    export = importlib.import_module("modelopt.torch.export").export_hf_checkpoint
    export(model, dtype=torch.bfloat16, export_dir=str(tmp_path))
    if beside:
        config = json.loads((tmp_path / "config.json").read_text())
        del config["quantization_config"]
        (tmp_path / "config.json").write_text(json.dumps(config))
    spec = read(read_config(tmp_path), where=str(tmp_path))
    assert spec.stored is not None
    assert spec.stored.id == layout_id
    assert _bytes(spec, spec.stored) == _file_bytes(tmp_path)


PRESETS = {
    "W4A16": ("w4a16-g128", 128), "W4A16_ASYM": ("w4a16-g128-asym", 128), "W8A16": ("w8a16-g128", 128), "W3A16": ("w3a16-g128", 128),
    "INT8": ("int8-channel", None), "FP8": ("fp8-tensor", None), "FP8_DYNAMIC": ("fp8-channel", None), "FP8_BLOCK": ("fp8-block", None),
    "NVFP4": ("nvfp4", 16), "NVFP4A16": ("nvfp4-a16", 16), "MXFP4": ("mxfp4", 32), "MXFP8": ("mxfp8", 32),
}  # fmt: skip


@pytest.fixture(scope="module", params=PRESETS)
def compressed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny model that compressed-tensors has quantised and written with its quantization_config."""
    compressors = pytest.importorskip("compressed_tensors.compressors", reason="compressed-tensors is not installed")
    quantization = importlib.import_module("compressed_tensors.quantization")
    schemes = importlib.import_module("compressed_tensors.quantization.quant_scheme")
    folder = tmp_path_factory.mktemp(request.param)
    model = build("qwen2", folder / "plain", hidden_size=256, intermediate_size=384)
    scheme = schemes.preset_name_to_scheme(request.param, ["Linear"])
    ignored = ["lm_head", "re:.*layers\\.1\\.self_attn\\.o_proj"]
    quantization.apply_quantization_config(
        model, quantization.QuantizationConfig(config_groups={"group_0": scheme}, ignore=ignored)
    )
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            parameter.data.fill_(1)
    compressor = compressors.ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(folder)
    return request.param, folder


def test_a_compressed_tensors_repository_to_the_byte(compressed: tuple[str, Path]) -> None:
    """The layout that its own quantization_config gives against the tensors of its own file."""
    name, folder = compressed
    spec = read(json.loads((folder / "config.json").read_text()), where=str(folder))
    assert spec.stored is not None
    assert (spec.stored.id, spec.stored.method) == (PRESETS[name][0], "compressed-tensors")
    assert spec.stored.kept["model.layers.*.self_attn.o_proj.weight"] == 1
    assert _bytes(spec, spec.stored) == _file_bytes(folder)


_NOT_RUN = {
    "W4A16_ASYM": "transformers 5.23 does not load packed zero points: shapes of the file and of the module differ",
    "FP8_BLOCK": "compressed-tensors pads blocks to 128 x 128 and keeps the padded storage",
    **dict.fromkeys(("NVFP4", "MXFP4", "MXFP8"), "a pass with quantised activations of this format needs a GPU"),
}


@pytest.mark.parametrize("forward", [False, True])
def test_transformers_unpacks_compressed_tensors_in_the_first_forward_pass(
    compressed: tuple[str, Path], *, forward: bool
) -> None:
    name, folder = compressed
    if name in _NOT_RUN:
        pytest.skip(_NOT_RUN[name])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    if forward:
        model(torch.arange(8)[None])
    spec = read(json.loads((folder / "config.json").read_text()), where=str(folder))
    assert spec.stored is not None
    layout = loaded(spec.stored, "unpacked" if forward else "kept")
    assert _bytes(spec, layout) == stored_bytes(model)


def _spec(model: Any) -> ModelSpec:
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    return read(config, where="the test")


def _bytes(spec: ModelSpec, layout: Any) -> int:
    weights = [group for group in spec.tensors if group.part != "buffer"]
    return sum(int(layout.tensor_group_bytes(group, "float16")) for group in weights)


_ELEMENT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "F8_E4M3": 1}


def _file_bytes(folder: Path) -> int:
    content = (folder / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return sum(
        prod(entry["shape"]) * _ELEMENT_BYTES[entry["dtype"]] for key, entry in header.items() if key != "__metadata__"
    )
