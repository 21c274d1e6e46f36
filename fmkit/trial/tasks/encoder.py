"""Encoders: embeddings of sentences, words for a gap, the score of a classifier or reranker."""

from __future__ import annotations

from typing import Any

import torch

from fmkit.trial.evidence import Evidence
from fmkit.trial.loaded import Loaded

TOP = 5


class _Encoder:
    decodes = False
    prompt_is_context = True

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """An input of `tokens` tokens in each sequence."""
        return {"input_ids": loaded.token_ids(tokens)}


class Embedding(_Encoder):
    """One vector per text: the mean over its tokens, of length 1."""

    name = "embedding"

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """The width of the vectors and the similarities of three sentences."""
        texts = [line for line in loaded.text("sentences.txt").splitlines() if line.strip()]
        vectors = embed(loaded, texts)
        lines = [f"{len(texts)} texts as vectors of {vectors.shape[1]} numbers"]
        if len(texts) > 1:
            table = vectors @ vectors.T
            backwards = embed(loaded, texts[::-1]).flip(0)
            seen.symmetry_difference = float((table - backwards @ backwards.T).abs().max())
            lines += [
                f"similarity {float(table[0, index]):+.3f}: {texts[0]} | {texts[index]}"
                for index in range(1, len(texts))
            ]
        if loaded.request.prompt is None and loaded.request.input_path is None:
            seen.paraphrase_similarity = float(vectors[0] @ vectors[1])
            seen.unrelated_similarity = float(vectors[0] @ vectors[2])
        return "\n".join(lines)


def embed(loaded: Loaded, texts: list[str]) -> Any:  # noqa: ANN401
    """Unit vectors, [texts, width]: mean of the last hidden states over the tokens that are not padding."""
    given = loaded.to_device(loaded.tokenizer(texts, return_tensors="pt", padding=True, truncation=True))
    hidden = loaded.model(**given).last_hidden_state.float()
    mask = given["attention_mask"].unsqueeze(-1)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)


class FillMask(_Encoder):
    """A gap in a sentence, and the words the model would put there."""

    name = "fill-mask"

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """The five likeliest words for the first gap."""
        del seen
        tokenizer = loaded.tokenizer
        text = loaded.text("gap.txt").replace("___", tokenizer.mask_token)
        given = loaded.to_device(tokenizer(text, return_tensors="pt", truncation=True))
        gaps = (given["input_ids"][0] == tokenizer.mask_token_id).nonzero()
        if not len(gaps):
            return f"no gap in the text: mark it with ___ ({text})"
        chances = torch.softmax(loaded.model(**given).logits[0, int(gaps[0])].float(), dim=-1)
        best = chances.topk(min(TOP, chances.shape[0]))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        words = ", ".join(f"{tokenizer.decode([token]).strip()} {chance:.1%}" for token, chance in pairs)
        return f"{text}\n{words}"


class Classification(_Encoder):
    """Labels or a relevance score for a text."""

    name = "classification"

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """The model's scores for the text, or for a question and each of two passages where it has one output (a reranker)."""
        del seen
        lines = [line for line in loaded.text("sentences.txt").splitlines() if line.strip()]
        if int(loaded.config.num_labels) == 1 and len(lines) > 1:
            given = loaded.tokenizer([lines[0]] * (len(lines) - 1), lines[1:], return_tensors="pt", padding=True)
            scores = loaded.model(**loaded.to_device(given)).logits[:, 0].float().tolist()
            return "\n".join(f"{score:+.2f}: {line}" for score, line in zip(scores, lines[1:], strict=True))
        given = loaded.tokenizer(lines[0], return_tensors="pt", truncation=True)
        chances = torch.softmax(loaded.model(**loaded.to_device(given)).logits[0].float(), dim=-1).tolist()
        labels = loaded.config.id2label
        return ", ".join(f"{labels[index]} {chance:.1%}" for index, chance in enumerate(chances))
