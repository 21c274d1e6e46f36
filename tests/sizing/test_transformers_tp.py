"""`tp_plan="auto"`: what the first rank holds, against the plans of the real configs applied on the meta device."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.model.architectures import read
from fmkit.sizing.transformers_tp import PLANS, tensor_degrees, tensor_rank
from tests.sizing.real_models import config_of, on_meta


@pytest.fixture(scope="module", params=[2, 4])
def mesh(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A mesh of that many ranks of which we are the first; nothing is sent."""
    distributed = pytest.importorskip("torch.distributed")
    fake = importlib.import_module("torch.testing._internal.distributed.fake_pg")
    distributed.init_process_group("fake", rank=0, world_size=request.param, store=fake.FakeStore())
    yield distributed.device_mesh.init_device_mesh("cpu", (request.param,), mesh_dim_names=("tp",))
    distributed.destroy_process_group()


def elements_of_first_rank(name: str, mesh: Any) -> int:
    """Parameters that rank 0 holds once transformers has divided the model."""
    from transformers.distributed.configuration_utils import DistributedConfig  # noqa: PLC0415  heavy, and an extra
    from transformers.distributed.tensor_parallel import apply_tensor_parallelism  # noqa: PLC0415  heavy, and an extra

    model = on_meta(name)
    plan, _, _ = model._resolve_parallel_plans(DistributedConfig(tp_size=mesh.size()))
    known = {**dict(model.named_modules()), **dict(model.named_parameters())}
    apply_tensor_parallelism(model, mesh, {key: style for key, style in plan.items() if key in known})
    tied = model.all_tied_weights_keys
    return sum(
        (value.to_local() if hasattr(value, "to_local") else value).numel()
        for key, value in model.named_parameters()
        if key not in tied
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "meta-llama--Llama-3.1-8B-Instruct", "mistralai--Mixtral-8x7B-v0.1", "microsoft--Phi-3.5-mini-instruct",
        "deepseek-ai--DeepSeek-V3", "Qwen--Qwen3-30B-A3B", "google--gemma-2-9b", "EleutherAI--pythia-160m",
        "bigcode--starcoder2-15b", "allenai--OLMo-2-1124-7B", "allenai--OLMoE-1B-7B-0924", "deepseek-ai--DeepSeek-V2-Lite",
        "ibm-granite--granite-3.3-2b-instruct", "google--gemma-3-27b-it", "HuggingFaceTB--SmolLM3-3B",
    ],
)  # fmt: skip
def test_the_first_rank_holds_what_transformers_gives_it(name: str, mesh: Any) -> None:
    spec = read(config_of(name), where=name)
    rank = tensor_rank(spec, mesh.size())
    assert sum(group.elements for group in rank.tensors if group.part != "buffer") == elements_of_first_rank(name, mesh)


@pytest.mark.slow
def test_every_plan_is_the_configs_own() -> None:
    """Modules and axes against `base_model_tp_plan`; a style that gathers or splits leaves the weights where they are."""
    auto = pytest.importorskip("transformers.models.auto.configuration_auto")
    for model_type, plan in PLANS.items():
        config = auto.CONFIG_MAPPING[model_type]
        text = config.sub_configs.get("text_config") if config.base_model_tp_plan is None else config
        theirs = {
            name.removeprefix("layers.*."): style
            for name, style in (text or config).base_model_tp_plan.items()
            if style.startswith(("colwise", "rowwise", "packed"))
        }
        axes = {name: -1 if style.startswith("rowwise") else -2 for name, style in theirs.items()}
        assert {name: axis for name, axis in plan.modules.items() if name in axes} == axes, model_type
        gathers = any("attn" in name and style == "colwise_gather_output" for name, style in theirs.items())
        assert gathers == plan.gathers or model_type == "qwen3_next", model_type


def test_kv_heads_are_not_repeated() -> None:
    spec = load_catalog().model("llama-3.1-8b").spec
    assert spec is not None
    assert [each.devices for each in tensor_degrees(spec) if each.reason is None] == [1, 2, 4, 8]
    with pytest.raises(UsageError, match=r"8 KV heads do not divide by 16.*possible: 1, 2, 4, 8"):
        tensor_rank(spec, 16)


def test_a_model_without_a_plan_is_refused() -> None:
    spec = load_catalog().model("gpt2").spec
    assert spec is not None
    with pytest.raises(UsageError, match="no plan for gpt2 is known; possible: 1"):
        tensor_rank(spec, 2)
