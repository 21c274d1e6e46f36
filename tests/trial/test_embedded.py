"""The embedded model: its files agree with what its card states, and its weights predict held-out text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fmkit.trial import embedded
from fmkit.trial.embedded import corpus

NEEDS_TRY = "loading the embedded model needs the extra `try`"
LARGEST_WEIGHTS_BYTES = 4_000_000
LARGEST_FOLDER_BYTES = 6_000_000


@pytest.fixture(scope="module")
def documents() -> list[corpus.Document]:
    return corpus.read_documents()


@pytest.fixture(scope="module")
def transformers() -> Any:
    pytest.importorskip("torch", reason=NEEDS_TRY)
    return pytest.importorskip("transformers", reason=NEEDS_TRY)


@pytest.fixture(scope="module")
def model(transformers: Any) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(embedded.MODEL_PATH, dtype="float32").eval()


@pytest.fixture(scope="module")
def tokenizer(transformers: Any) -> Any:
    return transformers.AutoTokenizer.from_pretrained(embedded.MODEL_PATH)


def passages_bits_per_byte(model: Any, tokenizer: Any) -> float:
    """The figure anew, from the loss that transformers computes itself."""
    import torch  # noqa: PLC0415  # an extra

    nats, size_bytes = 0.0, 0
    for passage in embedded.held_out_passages():
        tokens = tokenizer(passage, return_tensors="pt").input_ids
        assert tokens[0, 0] == tokenizer.bos_token_id
        with torch.no_grad():
            nats += model(input_ids=tokens, labels=tokens).loss.item() * (tokens.shape[1] - 1)
        size_bytes += len(passage.encode())
    return nats / math.log(2) / size_bytes


def test_corpus_is_the_one_that_the_card_names(documents: list[corpus.Document]) -> None:
    card = embedded.card()
    assert corpus.sha256_of_text(documents) == card["corpus_sha256"]
    assert corpus.sha256_of_file(corpus.CORPUS_PATH) == card["corpus_file_sha256"]


def test_split_rule_gives_the_held_out_documents_and_passages(documents: list[corpus.Document]) -> None:
    training, held_out = corpus.split(documents)
    assert [document.name for document in held_out] == embedded.card()["held_out_documents"]
    assert corpus.passages(documents) == embedded.held_out_passages()
    assert embedded.card()["split_rule"] == corpus.SPLIT_RULE
    trained_on = {paragraph for document in training for paragraph in document.text.split("\n\n")}
    tested_on = {paragraph for document in held_out for paragraph in document.text.split("\n\n")}
    assert not trained_on & tested_on


def test_prose_leaves_out_markup_code_and_signatures() -> None:
    page = """
:mod:`thing` --- Title of the page
==================================

.. module:: thing
   :synopsis: not kept

.. function:: make(size, *, fast=False)

   Return a new :class:`~thing.Thing` of the given *size*, in ``bytes``, as `the manual <https://x.org>`_ says::

      code = make(1)

   .. versionchanged:: 3.4
      The keyword argument *fast* was added to make this quicker.

   * One item of a list that has enough words to be
     kept as a paragraph of its own.
"""
    assert list(corpus.prose(page)) == [
        "Return a new Thing of the given size, in bytes, as the manual says:",
        "Changed in version 3.4: The keyword argument fast was added to make this quicker.",
        "- One item of a list that has enough words to be kept as a paragraph of its own.",
    ]


def test_files_stay_small() -> None:
    assert (embedded.MODEL_PATH / "model.safetensors").stat().st_size <= LARGEST_WEIGHTS_BYTES
    files = [path for path in embedded.MODEL_PATH.parent.rglob("*") if "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= LARGEST_FOLDER_BYTES


def test_model_has_the_stated_shape(model: Any, tokenizer: Any) -> None:
    assert model.num_parameters() == embedded.card()["parameters"]
    assert model.config.model_type == "llama"
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert model.config.vocab_size == len(tokenizer) == embedded.card()["vocabulary_tokens"]
    lengths_tokens = [len(tokenizer(passage).input_ids) for passage in embedded.held_out_passages()]
    assert max(lengths_tokens) <= model.config.max_position_embeddings


def test_weights_are_float16() -> None:
    safetensors = pytest.importorskip("safetensors", reason=NEEDS_TRY)
    with safetensors.safe_open(embedded.MODEL_PATH / "model.safetensors", framework="pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118


def test_held_out_bits_per_byte_are_the_stated_ones(model: Any, tokenizer: Any) -> None:
    card = embedded.card()
    found = passages_bits_per_byte(model, tokenizer)
    assert found == pytest.approx(card["held_out_txt_bits_per_byte"], rel=0.05)
    assert found < card["held_out_txt_unigram_byte_bits_per_byte"] / 3
    assert found < card["held_out_txt_unigram_token_bits_per_byte"] / 1.5


def test_random_weights_fail_the_check(transformers: Any, tokenizer: Any) -> None:
    config = transformers.AutoConfig.from_pretrained(embedded.MODEL_PATH)
    untrained = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    card = embedded.card()
    assert passages_bits_per_byte(untrained, tokenizer) > card["held_out_txt_unigram_token_bits_per_byte"]


def test_tokenizer_gives_any_text_back(tokenizer: Any) -> None:
    text = "Größe of  naïve\tcafés:\n日本語 🙂"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_model_card_states_the_recorded_figures(transformers: Any, tmp_path: Any) -> None:
    assert transformers
    from fmkit.trial.embedded import train  # noqa: PLC0415  # it needs torch

    train.write_card(embedded.card(), tmp_path)
    for name in ("README.md", "training.json"):
        assert (tmp_path / name).read_text() == (embedded.MODEL_PATH / name).read_text()
