"""The layouts of the catalog against models really quantised: every stored byte, the quantiser's tables included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.model.architectures import read
from fmkit.model.precision import Layout
from fmkit.model.spec import TensorGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

torch = pytest.importorskip("torch", reason="quantised models are built with torch, which is not installed")
transformers = pytest.importorskip("transformers", reason="quantised models are loaded by transformers")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the libraries' own deprecations; nothing of ours runs in these tests
    pytest.mark.slow,
]

_TEXT = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}
_LLAMA = {**_TEXT, "intermediate_size": 160, "num_key_value_heads": 2}
_VISION = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14, "projection_dim": 64,
}  # fmt: skip
_T5 = {"d_model": 96, "d_ff": 200, "d_kv": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 300}

# name: class, config class, fields, parameters that the class keeps in float32 beside float16
MODELS: dict[str, tuple[str, str, dict[str, Any], str | None]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", _LLAMA, None),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "tie_word_embeddings": True}, None),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**_LLAMA, "num_local_experts": 4}, None),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 96, "n_layer": 2, "n_head": 4, "vocab_size": 300, "n_positions": 64}, None),
    "bert": ("BertModel", "BertConfig", {**_TEXT, "intermediate_size": 200}, None),
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5, "DenseReluDense.wo"),
    "llava": ("LlavaForConditionalGeneration", "LlavaConfig", {
        "vision_config": {**_VISION, "model_type": "clip_vision_model"}, "text_config": {**_LLAMA, "model_type": "llama"},
    }, None),
    "mamba": ("MambaForCausalLM", "MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 300}, None),
}  # fmt: skip


@pytest.fixture(scope="module", params=["bnb-llm-int8", "bnb-nf4-dq"])
def layout(request: pytest.FixtureRequest) -> Layout:
    return load_catalog().layouts[request.param]


@pytest.fixture(scope="module", params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """A tiny model of the architecture, saved in float16: its name, the model, its folder."""
    name = request.param
    class_name, config_name, fields, _ = MODELS[name]
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(getattr(transformers, config_name)(**fields)).to(torch.float16)
    folder = tmp_path_factory.mktemp(name)
    model.save_pretrained(folder)
    return name, model, folder


@pytest.fixture(scope="module")
def stored_bytes(saved: tuple[str, Any, Path], layout: Layout) -> int:
    """What the model really takes once transformers has loaded it quantised."""
    _, plain, folder = saved
    return _stored_bytes(_load(plain, folder, layout))


def test_layout_bytes_equal_the_quantised_model(
    saved: tuple[str, Any, Path], layout: Layout, stored_bytes: int
) -> None:
    """Layout over tensor groups read off the plain model = the bytes of the quantised one, tables and scales included."""
    name, plain, _ = saved
    groups = _groups(plain, MODELS[name][3])
    assert sum(layout.tensor_group_bytes(group, "float16") for group in groups) == stored_bytes


def test_layout_over_the_spec_equals_the_quantised_model(
    saved: tuple[str, Any, Path], layout: Layout, stored_bytes: int
) -> None:
    """The same through the architecture reader: it must know which modules transformers quantises."""
    _, plain, folder = saved
    config = plain.config.to_dict()
    config["architectures"] = [type(plain).__name__]
    weights = [group for group in read(config, where=str(folder)).tensors if group.part != "buffer"]
    assert sum(layout.tensor_group_bytes(group, "float16") for group in weights) == stored_bytes


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
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: the layouts can't be held against it")
    if layout.id == "bnb-llm-int8":
        quantiser = transformers.BitsAndBytesConfig(load_in_8bit=True)
    else:
        quantiser = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
    return type(plain).from_pretrained(folder, quantization_config=quantiser, dtype=torch.float16)


def _groups(model: Any, float32_name: str | None) -> Iterator[TensorGroup]:
    """One group per parameter of a plain model, with what transformers says about it and nothing of our readers."""
    classes = {"Linear": "linear", "NonDynamicallyQuantizableLinear": "linear", "Conv1D": "conv1d"}
    head = model.get_output_embeddings()
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        kind: Any = classes.get(type(module).__name__, "parameter")
        keeps_float32 = float32_name is not None and module_name.endswith(float32_name)
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue  # tied to one counted before
            seen.add(id(parameter))
            yield TensorGroup(
                name=f"{module_name}.{name}",
                part="head" if module is head else "mlp",
                module=kind if name == "weight" else "parameter",
                shape=tuple(parameter.shape),
                dtype="float32" if keeps_float32 else None,
                quantisable=not keeps_float32,
            )


def _stored_bytes(model: Any) -> int:
    """Bytes of all distinct storages that hold weights: parameters, scales on them and on module states, quantiser tables."""
    sizes: dict[int, int] = {}
    for tensor in _tensors(model):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def _tensors(model: Any) -> Iterator[Any]:
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            yield parameter.data
            yield from _held(parameter, "CB", "SCB")
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                yield from _held(state, "absmax", "code", "offset")
                yield from _held(state.state2, "absmax", "code", "offset")
        yield from _held(getattr(module, "state", None), "CB", "SCB")


def _held(owner: object, *names: str) -> Iterator[Any]:
    return (value for value in (getattr(owner, name, None) for name in names) if isinstance(value, torch.Tensor))
