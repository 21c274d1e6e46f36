"""Perplexity and agreement at llama.cpp and at servers, against the same trained model computed in plain numpy."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from fmkit.api.try_model import try_model
from fmkit.errors import UsageError
from fmkit.results.trial import Check, TrialResult
from fmkit.trial.embedded import MODEL_PATH, held_out_passages
from fmkit.trial.endpoint.address import parse_address
from fmkit.trial.endpoint.client import EndpointClient
from fmkit.trial.endpoint.echo import EchoScorer
from fmkit.trial.endpoint.llama_server import LlamaServerScorer
from fmkit.trial.observe.served_text import CannotScoreError
from tests.trial.embedded_gguf import rounded_as, write_embedded
from tests.trial.openai_stand_in import Handler, StandIn, running_llama_server, tried

TEXT = f"{held_out_passages()[0][:400]} Zürich, 東京 and 🙂 are not plain."
"""With characters that take several tokens each."""

needs_xllamacpp = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    return {name: write_embedded(folder / f"{name}.gguf", name) for name in ("F16", "Q4_0")}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "given.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def ids_of(text: str) -> list[int]:
    """The model's own tokens, with the one it begins texts with."""
    return [0, *Tokenizer.from_file(str(MODEL_PATH / "tokenizer.json")).encode(text, add_special_tokens=False).ids]


def log_probabilities(file_type: str, ids: list[int]) -> Any:
    """[tokens, vocabulary], by numpy."""
    logits = rounded_as(file_type).logits(ids)
    return (
        logits
        - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - logits.max(-1, keepdims=True)
    )


def nats_of(file_type: str, ids: list[int]) -> float:
    rows = log_probabilities(file_type, ids)
    return -math.fsum(rows[place, token] for place, token in enumerate(ids[1:]))


def tried_file(path: Path, *checks: str, **options: Any) -> dict[str, Check]:
    result = try_model(
        str(path), engine="llama.cpp", device="cpu", keep=False, offline=True, repeat=1, context=512, output_tokens=2, checks=checks,
        **options,
    )  # fmt: skip
    return named(result)


def named(result: TrialResult) -> dict[str, Check]:
    return {check.name: check for check in result.checks}


@pytest.mark.full
@needs_xllamacpp
def test_llama_cpp_scores_a_text_as_numpy_does(files: dict[str, Path], text: Path) -> None:
    found = tried_file(files["Q4_0"], "perplexity", "quantised-kl", "quantised-top1", reference=str(text), against=str(files["F16"]))  # fmt: skip
    ids = ids_of(TEXT)
    perplexity, kl = found["perplexity"], found["quantised-kl"]
    assert perplexity.data["tokens"] == len(ids) - 1
    assert perplexity.value == pytest.approx(math.exp(nats_of("Q4_0", ids) / (len(ids) - 1)), rel=0.01)
    assert perplexity.data["text_bytes"] == len(TEXT.encode())

    full, quantised = (log_probabilities(kind, ids[:128]) for kind in ("F16", "Q4_0"))
    expected = (np.exp(full) * (full - quantised)).sum(-1)
    assert kl.value == pytest.approx(expected.mean(), rel=0.03)
    assert kl.data["kl_sd_nats"] == pytest.approx(expected.std(), rel=0.05)
    same = full.argmax(-1) == quantised.argmax(-1)
    assert found["quantised-top1"].value == pytest.approx(same.mean(), abs=2 / 128)
    assert kl.data["tokens"] == 128


@needs_xllamacpp
def test_an_unquantised_file_has_to_be_one(files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="is quantised itself"):
        tried_file(files["F16"], "quantised-kl", against=str(files["Q4_0"]))
    with pytest.raises(UsageError, match="nothing compares"):
        tried_file(files["F16"], "deterministic", against=str(files["F16"]))
    with pytest.raises(UsageError, match="it is for GGUF files"):
        try_model(random_weights=False, checks=["quantised-kl"], against=str(files["F16"]), offline=True)


def echoing(*, bos: bool = True, most_tokens: int = 10_000) -> Any:
    """A server with `echo` and `logprobs`, whose model is the numpy one; a token of the answer follows those of the prompt."""
    tokenizer = Tokenizer.from_file(str(MODEL_PATH / "tokenizer.json"))

    def answer(handler: Handler) -> None:
        body = handler.body
        assert (body["echo"], body["max_tokens"]) == (True, 1)
        ids = ids_of(body["prompt"])[0 if bos else 1 :]
        if len(ids) > most_tokens:
            handler.send(400, b'{"error": {"message": "too long"}}')
            return
        rows = log_probabilities("F16", ids)
        told = {
            "tokens": [*(["<s>"] if bos else []), *(tokenizer.decode([one]) for one in ids[bos:]), " and"],
            "token_logprobs": [None, *(rows[place, token] for place, token in enumerate(ids[1:])), -0.25],
        }
        choice = {"text": body["prompt"] + " and", "logprobs": told}
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        handler.send(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    return answer


def scorer_at(server: StandIn) -> EchoScorer:
    return EchoScorer(EndpointClient(parse_address(server.url)), "org/tiny")


@pytest.mark.parametrize("bos", [True, False])
def test_a_server_that_echoes_a_prompt(bos: bool) -> None:
    with StandIn(faults={"/v1/completions": echoing(bos=bos)}) as server:
        found = scorer_at(server).score(TEXT, 2048)
    ids = ids_of(TEXT)[0 if bos else 1 :]
    assert found.tokens == len(ids) - 1
    assert found.nats == pytest.approx(nats_of("F16", ids), rel=1e-6)
    first = Tokenizer.from_file(str(MODEL_PATH / "tokenizer.json")).decode(ids[:1])
    assert found.text == (TEXT if bos else TEXT[len(first) :])


def test_of_a_long_text_the_beginning_is_scored() -> None:
    with StandIn(faults={"/v1/completions": echoing(most_tokens=60)}) as server:
        found = scorer_at(server).score(TEXT, 2048)
    assert 20 < found.tokens < 60
    assert TEXT.startswith(found.text)
    assert found.nats == pytest.approx(nats_of("F16", ids_of(found.text)), rel=1e-6)


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"text": "x"}], "usage": {"prompt_tokens": 20}},
        {"choices": [{"logprobs": {"tokens": ["x"], "token_logprobs": [-1.0]}}], "usage": {"prompt_tokens": 20}},
        {"choices": [{"logprobs": {"tokens": ["x"] * 3, "token_logprobs": [None, -1.0, None]}}], "usage": {"prompt_tokens": 3}},
        {"choices": [{"logprobs": {"tokens": ["x"] * 3, "token_logprobs": [None, -1.0, 2.0]}}], "usage": {"prompt_tokens": 3}},
        {"choices": [], "usage": {"prompt_tokens": 3}},
        {"choices": "x"},
        [],
    ],
)  # fmt: skip
def test_a_server_that_gives_none_or_nonsense(answer: Any) -> None:
    with StandIn(faults={"/v1/completions": lambda handler: handler.send(200, json.dumps(answer).encode())}) as server, pytest.raises(CannotScoreError):  # fmt: skip
        scorer_at(server).score(TEXT, 2048)


def test_a_check_that_a_server_has_no_answer_to() -> None:
    with StandIn() as server:
        found = named(tried(server, checks=["perplexity", "held-out-text", "quantised-kl"]))
    assert [found[name].passed for name in ("perplexity", "held-out-text", "quantised-kl")] == [None] * 3
    assert "vLLM, SGLang and llama-server do" in found["perplexity"].detail
    assert "how many tokens the vocabulary has" in found["held-out-text"].detail
    assert "--against" in found["quantised-kl"].detail


def forcing(chosen: int | None = None) -> dict[str, Any]:
    """A llama-server: tokens are the text's bytes, and p of byte b is the same everywhere. It says no probability of byte 200."""

    def tokens(handler: Handler) -> None:
        pieces = [
            {"id": byte, "piece": chr(byte) if byte < 128 else [byte]} for byte in handler.body["content"].encode()
        ]
        handler.send(200, json.dumps({"tokens": [{"id": 256, "piece": ""}, *pieces]}).encode())

    def complete(handler: Handler) -> None:
        ((token, _),) = handler.body["logit_bias"]
        entries = [{"id": number, "logprob": logprob(number)} for number in range(257)]
        said = {"id": token if chosen is None else chosen, "logprob": logprob(token)}
        said["top_logprobs"] = entries[: handler.body["n_probs"]]
        handler.send(200, json.dumps({"completion_probabilities": [] if token == 0xC3 else [said]}).encode())

    return {"/tokenize": tokens, "/completion": complete}


def logprob(number: int) -> float:
    return -1.0 - number / 256


def test_a_token_that_is_held_back_is_looked_up_in_the_whole_distribution() -> None:
    with StandIn(faults=forcing()) as server:
        scorer = LlamaServerScorer(EndpointClient(parse_address(server.url)))
        found = scorer.score("Zürich", 100)  # its second byte is 0xC3
        (row,) = scorer.distributions([65], 257)
    assert found.nats == pytest.approx(-sum(logprob(byte) for byte in "Zürich".encode()))
    assert (found.tokens, found.text) == (7, "Zürich")
    assert row == [logprob(number) for number in range(257)]


def test_a_server_that_chooses_freely_is_not_believed() -> None:
    with StandIn(faults=forcing(chosen=5)) as server, pytest.raises(CannotScoreError, match="does not choose"):
        LlamaServerScorer(EndpointClient(parse_address(server.url))).score("text", 100)


@pytest.mark.full
@needs_xllamacpp
def test_a_real_llama_server_is_scored_from_outside(files: dict[str, Path], text: Path) -> None:
    for address in running_llama_server(files["F16"]):
        result = try_model(engine=address, context=256, repeat=1, checks=["perplexity", "held-out-text"], reference=str(text))  # fmt: skip
    found, ids = named(result), ids_of(TEXT)
    assert found["perplexity"].value == pytest.approx(math.exp(nats_of("F16", ids) / (len(ids) - 1)), rel=0.01)
    assert found["perplexity"].data["uniform_bits_per_byte"] == pytest.approx(11 * (len(ids) - 1) / len(TEXT.encode()))
    assert found["held-out-text"].passed is True
