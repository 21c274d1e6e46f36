"""Encoders: embeddings of sentences, words for a gap, the score of a classifier or reranker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply
from fmkit.trial.loaded import Loaded

TOP = 5
POOLING_FILE = Path("1_Pooling") / "config.json"
"""Where sentence-transformers keeps how a text's vector is made of its tokens'."""


class _Encoder:
    decodes = False
    prompt_is_context = True

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """An input of `tokens` tokens in each sequence."""
        return {"input_ids": loaded.token_ids(tokens)}


class Embedding(_Encoder):
    """One vector per text, of length 1."""

    name = "embedding"

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The vectors, and the similarity of each text to the first."""
        texts = item.lines_or("sentences.txt")
        vectors, tokens = embed(loaded, texts)
        seen.finite_share = float(torch.isfinite(vectors).float().mean())
        count = "1 text as a vector" if len(texts) == 1 else f"{len(texts)} texts as vectors"
        lines = [f"{count} of {vectors.shape[1]} numbers ({pooling_of(loaded.request.folder)} of the tokens')"]
        if len(texts) > 1:
            table = vectors @ vectors.T
            backwards = embed(loaded, texts[::-1])[0].flip(0)
            seen.symmetry_difference = float((table - backwards @ backwards.T).abs().max())
            lines += [f"similarity {float(table[0, place]):+.3f}: {text}" for place, text in enumerate(texts) if place]
        if item.is_packaged:
            seen.paraphrase_similarity = float(vectors[0] @ vectors[1])
            seen.unrelated_similarity = float(vectors[0] @ vectors[2])
        return Reply(text="\n".join(lines), asked=texts[0], data={"vectors": vectors.tolist()}, input_tokens=tokens)


def embed(loaded: Loaded, texts: list[str]) -> tuple[Any, int]:
    """Unit vectors, [texts, width], and the tokens read; pooled as the folder says, else the mean over a text's tokens."""
    given = loaded.to_device(loaded.tokenizer(texts, return_tensors="pt", padding=True, truncation=True))
    hidden = loaded.model(**given).last_hidden_state.float()
    mask = given["attention_mask"]
    pooling = pooling_of(loaded.request.folder)
    if pooling == "the first":
        pooled = hidden[torch.arange(len(texts)), mask.argmax(1)]
    elif pooling == "the last":
        pooled = hidden[torch.arange(len(texts)), mask.shape[1] - 1 - mask.flip(1).argmax(1)]
    else:
        pooled = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(pooled, dim=-1), int(mask.sum())


def pooling_of(folder: str | None) -> str:
    """How a folder of sentence-transformers pools: `the mean`, `the first` (CLS) or `the last`; the mean where none says."""
    path = Path(folder or "") / POOLING_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "the mean"
    if settings.get("pooling_mode_cls_token"):
        return "the first"
    return "the last" if settings.get("pooling_mode_lasttoken") else "the mean"


class FillMask(_Encoder):
    """A gap in a sentence, and the words the model would put there."""

    name = "fill-mask"

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The five likeliest words for the first gap."""
        tokenizer = loaded.tokenizer
        text = item.text_or("gap.txt").replace("___", tokenizer.mask_token)
        given = loaded.to_device(tokenizer(text, return_tensors="pt", truncation=True))
        tokens = int(given["input_ids"].shape[1])
        gaps = (given["input_ids"][0] == tokenizer.mask_token_id).nonzero()
        if not len(gaps):
            return Reply(text=f"no gap in the text: mark it with ___ ({text})", asked=text, input_tokens=tokens)
        chances = torch.softmax(loaded.model(**given).logits[0, int(gaps[0])].float(), dim=-1)
        seen.finite_share = float(torch.isfinite(chances).float().mean())
        best = chances.topk(min(TOP, chances.shape[0]))
        pairs = [
            (str(tokenizer.decode([token])).strip(), chance)
            for token, chance in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        words = ", ".join(f"{word} {chance:.1%}" for word, chance in pairs)
        return Reply(text=f"{text}\n{words}", asked=text, data={"words": pairs}, input_tokens=tokens)


class Classification(_Encoder):
    """Labels for a text or, where a model has one output, how well each passage answers a question (a reranker)."""

    name = "classification"

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The labels with their chances, or the passages by their scores; best first."""
        if int(loaded.config.num_labels) == 1:
            return self._ranked(loaded, seen, item)
        text = item.text_or("sentences.txt").splitlines()[0] if item.is_packaged else item.text or " ".join(item.texts)
        given = loaded.to_device(loaded.tokenizer(text, return_tensors="pt", truncation=True))
        logits = loaded.model(**given).logits[0].float()
        seen.finite_share = float(torch.isfinite(logits).float().mean())
        several = getattr(loaded.config, "problem_type", None) == "multi_label_classification"
        chances = (torch.sigmoid(logits) if several else torch.softmax(logits, dim=-1)).tolist()
        pairs = sorted(((chance, loaded.config.id2label[index]) for index, chance in enumerate(chances)), reverse=True)
        return Reply(
            text=", ".join(f"{label} {chance:.1%}" for chance, label in pairs),
            asked=text,
            data={"labels": {label: chance for chance, label in pairs}},
            input_tokens=int(given["input_ids"].shape[1]),
        )

    def _ranked(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        question, passages = _question_and_passages(item)
        pairs = ([question] * len(passages), passages) if passages else ([question],)
        given = loaded.to_device(loaded.tokenizer(*pairs, return_tensors="pt", padding=True, truncation=True))
        logits = loaded.model(**given).logits[:, 0].float()
        seen.finite_share = float(torch.isfinite(logits).float().mean())
        scores = logits.tolist()
        ranked = sorted(zip(scores, passages or [question], strict=True), reverse=True)
        return Reply(
            text="\n".join(f"{score:+.2f}: {passage}" for score, passage in ranked),
            asked=question,
            data={"scores": scores},
            input_tokens=int(given["attention_mask"].sum()),
        )


def _question_and_passages(item: Item) -> tuple[str, list[str]]:
    """`text` is the question and `texts` the passages; of a text alone the first part asks and the others may answer."""
    if item.texts and item.text is not None:
        return item.text, list(item.texts)
    first, *rest = item.lines_or("sentences.txt")
    return first, rest
