"""Perplexity and agreement against computations that share no code with the program's: plain torch and numpy, token by token."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from fmkit.trial.embedded import MODEL_PATH
from fmkit.trial.engines.transformers import TransformersEngine
from fmkit.trial.observe.scoring import windows
from fmkit.trial.request import TrialRequest
from tests.trial import scripted
from tests.trial.scripted import check

TEXT = (
    "The file is opened for reading, and its lines are given to the caller one after the other. If the file does not exist, an error "
    "is raised that names it. Processes that read the same file at once do not see each other."
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "given.txt"
    path.write_text(TEXT + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(MODEL_PATH, dtype="float32").eval()


@pytest.fixture(scope="module")
def ids() -> Any:
    return transformers.AutoTokenizer.from_pretrained(MODEL_PATH)(TEXT, return_tensors="pt").input_ids


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Path:
    """The embedded model, its weights rounded to a few steps."""
    return rounded(tmp_path_factory.mktemp("coarse"), model, steps=12)


def rounded(folder: Path, model: Any, steps: int) -> Path:
    copy = transformers.AutoModelForCausalLM.from_config(model.config).eval()
    weights = {}
    for name, tensor in model.state_dict().items():
        scale = tensor.abs().max() / steps
        weights[name] = tensor if tensor.dim() < 2 else (tensor / scale).round() * scale
    copy.load_state_dict(weights)
    copy.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(MODEL_PATH).save_pretrained(folder)
    return folder


def config() -> dict[str, Any]:
    loaded: dict[str, Any] = transformers.AutoConfig.from_pretrained(MODEL_PATH).to_dict()
    return loaded


def judged(folder: Path, name: str, text: Path, **fields: Any) -> Any:
    outcome = scripted.run(folder, config(), [name], reference_path=str(text), output_tokens=1, **fields)
    return check(outcome, name)


@pytest.mark.parametrize("window", [16, 17, 512])
def test_perplexity_token_by_token(window: int, text: Path, model: Any, ids: Any) -> None:
    found = judged(MODEL_PATH, "perplexity", text, context_tokens=window)
    length = min(window, ids.shape[1])
    stride = length // 2
    nats = 0.0
    for place in range(1, ids.shape[1]):
        # the first window that reaches the token begins at a multiple of the stride
        begin = 0 if place < length else stride * math.ceil((place - length + 1) / stride)
        with torch.no_grad():
            logits = model(input_ids=ids[:, begin:place]).logits[0, -1]
        nats += torch.nn.functional.cross_entropy(logits[None], ids[0, place : place + 1]).item()
    assert found.value == pytest.approx(math.exp(nats / (ids.shape[1] - 1)), rel=1e-4)
    assert found.data["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(TEXT.encode()), rel=1e-4)
    assert found.data["tokens"] == ids.shape[1] - 1
    assert found.passed is True


def test_one_window_is_the_loss_of_transformers(text: Path, model: Any, ids: Any) -> None:
    found = judged(MODEL_PATH, "perplexity", text, context_tokens=512)
    with torch.no_grad():
        assert found.value == pytest.approx(math.exp(model(input_ids=ids, labels=ids).loss.item()), rel=1e-4)


def test_a_model_that_knows_nothing_fails(tmp_path: Path, text: Path, model: Any) -> None:
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(model.config).float().save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(MODEL_PATH).save_pretrained(tmp_path)
    found = judged(tmp_path, "perplexity", text)
    assert found.passed is False
    assert found.value == pytest.approx(model.config.vocab_size, rel=0.2)


@pytest.mark.parametrize(("tokens", "window", "stride"), [(1, 4, 2), (4, 4, 2), (10, 4, 3), (9, 2, 1), (100, 64, 32)])
def test_every_token_but_the_first_is_predicted_once(tokens: int, window: int, stride: int) -> None:
    predicted: list[int] = []
    for begin, end, new in windows(tokens, window, stride):
        assert end - begin <= window
        assert end - new > begin or begin == 0
        predicted += range(end - new, end)
    assert predicted == list(range(1, tokens))


def recorded(path: Path, text: Path) -> str:
    request = TrialRequest(
        model="embedded", kind="decoder", config=config(), dtype="float32", context_tokens=64, folder=str(MODEL_PATH), reference_path=str(text),
    )  # fmt: skip
    engine = TransformersEngine(request)
    engine.load()
    engine.record_predictions(path)
    return str(path)


def test_agreement_against_numpy(tmp_path: Path, text: Path, coarse: Path, model: Any, ids: Any) -> None:
    predictions = recorded(tmp_path / "predictions.safetensors", text)
    other = transformers.AutoModelForCausalLM.from_pretrained(coarse, dtype="float32").eval()
    with torch.no_grad():
        full, quantised = (one(input_ids=ids).logits[0].double().numpy() for one in (model, other))
    p, q = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (full, quantised))
    kl = (p * np.log(p / q)).sum(axis=1)
    same = full.argmax(axis=1) == quantised.argmax(axis=1)

    found = judged(coarse, "quantised-kl", text, predictions_from=predictions)
    assert found.value == pytest.approx(kl.mean(), rel=1e-3)
    assert found.data["top1_share"] == pytest.approx(same.mean())
    assert found.data["tokens"] == ids.shape[1]
    assert found.value > 0.001


def test_the_same_weights_agree_and_ruined_ones_do_not(tmp_path: Path, text: Path, model: Any) -> None:
    predictions = recorded(tmp_path / "predictions.safetensors", text)
    same = judged(MODEL_PATH, "quantised-kl", text, predictions_from=predictions)
    assert (same.passed, same.value) == (True, pytest.approx(0.0, abs=1e-6))
    ruined = rounded(tmp_path / "ruined", model, steps=2)
    outcome = scripted.run(
        ruined, config(), ["quantised-kl", "quantised-top1"], predictions_from=predictions, output_tokens=1
    )
    assert [one.passed for one in outcome.checks] == [False, False]


def test_other_vocabularies_are_not_compared(tmp_path: Path, text: Path) -> None:
    from fmkit.errors import UnsafeInputError  # noqa: PLC0415

    predictions = recorded(tmp_path / "predictions.safetensors", text)
    with pytest.raises((UnsafeInputError, IndexError)):
        scripted.said(tmp_path / "other", ["a"] + [f"w{n}" for n in range(50)], ["quantised-kl"], predictions_from=predictions)  # fmt: skip
