"""Off-loading: where accelerate really puts each weight, against the plan, and that the answer stays the same."""

from __future__ import annotations

import gc
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.api.sizing import estimate_for
from fmkit.api.trial_result import predicted_parts
from fmkit.api.try_model import try_model
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Machine, memory_machine
from fmkit.model.architectures import read
from fmkit.sizing.estimate import Workload
from fmkit.units import GIB
from tests.trial.tiny import CONFIGS, TOKENS, request

torch = pytest.importorskip("torch", reason="models are run with torch")
transformers = pytest.importorskip("transformers", reason="models are run by transformers")

CPU = msgspec.structs.replace(memory_machine(16 * GIB), origin="detected")
NAMES = ("llama", "gpt2", "bert", "mixtral", "t5")


def size_of(name: str) -> int:
    """Bytes of the parameters in float32, tied ones once."""
    _, config = CONFIGS[name]
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(transformers.AutoConfig.for_model(**config))
    return sum(parameter.numel() * 4 for parameter in model.parameters())


def engine_of(name: str, limit: int | None, **changes: Any) -> Any:
    from fmkit.trial.engines.transformers import TransformersEngine  # noqa: PLC0415  imports transformers

    off_loaded = {} if limit is None else {"offload": True, "max_memory_bytes": limit}
    engine = TransformersEngine(request(name, repeat=0, checks=(), **off_loaded, **changes))
    engine.load()
    return engine


def predicted(name: str, limit: int, machine: Machine = CPU) -> dict[str, int]:
    spec = read({**CONFIGS[name][1], "dtype": "float32"}, where=name)
    workload = Workload(context_tokens=TOKENS, offload="cpu", options={"max_memory": f"{limit}B"})
    return predicted_parts(estimate_for(spec, "fp32", workload, machine, load_catalog()))


@pytest.mark.parametrize("share", [0.35, 0.7])
@pytest.mark.parametrize("name", NAMES)
def test_each_place_holds_what_was_predicted(name: str, share: float) -> None:
    """A CPU whose main memory takes a share of the weights, the rest on disk: equal to the byte in both places."""
    limit = int(share * size_of(name))
    measured = engine_of(name, limit).prefill_memory()
    plan = predicted(name, limit)
    assert measured["weights_on_disk_bytes"] > 0
    for part in ("weights", "weights_on_disk_bytes"):
        assert measured[part] == plan[part], part


def test_an_off_loaded_model_says_the_same() -> None:
    """The same random weights, in memory and on disk: equal scores, and a matrix at a time in memory."""
    size = size_of("llama")
    scores, above = [], []
    for limit in (None, size // 3):
        engine = engine_of("llama", limit)
        with torch.no_grad():
            scores.append(engine.loaded.run(input_ids=engine.loaded.token_ids(8)).logits)
        found = engine.prefill_memory()
        above.append(found["prefill_peak_bytes"] - found["weights"])
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-6)
    largest = 300 * 64 * 4  # the embedding, or the head
    assert above[1] - above[0] <= largest < size // 2


def test_nothing_stays_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine = engine_of("llama", size_of("llama") // 3)
    assert any(tmp_path.glob("offload-*/*"))
    del engine
    gc.collect()
    assert not list(tmp_path.glob("offload-*"))


def test_a_folder_is_read_from_where_it_lies(tmp_path: Path) -> None:
    """Weights of a safetensors file that stay on disk: nothing is written anew, and the answer is the same."""
    _, config = CONFIGS["llama"]
    model = transformers.LlamaForCausalLM(transformers.AutoConfig.for_model(**config))
    model.save_pretrained(tmp_path)
    given = json.loads((tmp_path / "config.json").read_text())
    engines = [
        engine_of("llama", limit, folder=str(tmp_path), config=given) for limit in (None, int(0.6 * size_of("llama")))
    ]
    plain, split = engines
    assert set(split.loaded.model.hf_device_map.values()) == {"cpu", "disk"}
    ids = plain.loaded.token_ids(8)
    with torch.no_grad():
        scores = [engine.loaded.run(input_ids=ids).logits for engine in engines]
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_memory": "1GiB"}, "says nothing of the rest"),
        ({"offload": True, "max_memory": "much"}, "can't read size"),
        ({"offload": True, "tensor_parallel": 2}, "either tp_plan or device_map"),
        ({"offload": True, "max_memory": "100MB", "precision": "nf4"}, "bitsandbytes refuses"),
        ({"offload": True, "max_memory": "100MB", "precision": "int8-quanto"}, "quanto refuses"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        try_model("gpt2", random_weights=True, device="cpu", keep=False, offline=True, **options)
