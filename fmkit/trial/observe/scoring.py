"""How well a model predicts text: negative log-likelihoods, over passages or with a sliding window."""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fmkit.errors import UsageError
from fmkit.trial.evidence import Evidence, TextScore
from fmkit.trial.items import read_text
from fmkit.trial.loaded import Loaded

HELD_OUT_PASSAGES = 4
HELD_OUT_TOKENS = 512
MOST_WINDOW_TOKENS = 2048
"""A longer window would need logits of a size that no estimate counts."""
MOST_TOKENS = 64 * 1024
POSITIONS_AT_ONCE = 256


def score_held_out(loaded: Loaded, seen: Evidence, path: Path) -> None:
    """Bits per byte of text the model has not seen, and what guessing each token evenly would need.

    bits per byte = -sum(log2 p(token)) / bytes of the tokens predicted, over the first passages of the file.
    """
    passages = path.read_text(encoding="utf-8").strip("\n").split("\n\n\n")[:HELD_OUT_PASSAGES]
    bits = uniform = 0.0
    count = 0
    for passage in passages:
        room = min(HELD_OUT_TOKENS, loaded.request.context_tokens)
        ids = token_ids(loaded, passage)[:, :room]
        if ids.shape[1] < 2:
            continue
        bits += nats_of(loaded, ids, ids.shape[1] - 1) / math.log(2)
        uniform += math.log2(int(loaded.text_config.vocab_size)) * (ids.shape[1] - 1)
        count += predicted_bytes(loaded, ids)
    if count:
        seen.bits_per_byte = bits / count
        seen.uniform_bits_per_byte = uniform / count


def score_text(loaded: Loaded, path: Path) -> TextScore:
    """The score of a whole text, at most its first 65,536 tokens; windows overlap by half."""
    text = read_text(path)
    ids = token_ids(loaded, text)[:, :MOST_TOKENS]
    if ids.shape[1] < 2:
        raise UsageError(f"{path.name} is too short to be scored", where="--reference")
    window = min(loaded.request.context_tokens, MOST_WINDOW_TOKENS, ids.shape[1])
    stride = max(1, window // 2)
    nats = sum(nats_of(loaded, ids[:, begin:end], new) for begin, end, new in windows(ids.shape[1], window, stride))
    text_bytes = max(1, predicted_bytes(loaded, ids))
    scored = str(loaded.tokenizer.decode(ids[0], skip_special_tokens=True)).encode()
    return TextScore(
        nats=nats,
        tokens=ids.shape[1] - 1,
        text_bytes=text_bytes,
        compressed_bits_per_byte=8 * len(lzma.compress(scored)) / max(1, len(scored)),
        uniform_bits_per_byte=math.log2(int(loaded.text_config.vocab_size)) * (ids.shape[1] - 1) / text_bytes,
        window_tokens=window,
        stride_tokens=stride,
        text=path.name,
    )


def windows(tokens: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Begin, end and number of new tokens of each window: every token but the first is new in exactly one.

    All but those of the first window have at least `window - stride` tokens before them.

    >>> list(windows(10, 4, 2))
    [(0, 4, 3), (2, 6, 2), (4, 8, 2), (6, 10, 2)]
    """
    done = 1  # nothing stands before the first token
    begin = 0
    while done < tokens:
        end = min(begin + window, tokens)
        yield begin, end, end - done
        done = end
        begin += stride


def nats_of(loaded: Loaded, ids: Any, new: int) -> float:  # noqa: ANN401
    """-sum(ln p) of the last `new` tokens of `ids`, each given all before it; summed in float64."""
    logits = last_logits(loaded, ids, new + 1)[:-1]
    wanted = ids[0, -new:].to(logits.device)
    nats = 0.0
    for start in range(0, new, POSITIONS_AT_ONCE):
        part = torch.log_softmax(logits[start : start + POSITIONS_AT_ONCE].float(), dim=-1)
        chosen = part.gather(1, wanted[start : start + POSITIONS_AT_ONCE, None])
        nats -= float(chosen.double().sum())
    return nats


def last_logits(loaded: Loaded, ids: Any, count: int) -> Any:  # noqa: ANN401
    """Logits of the last `count` positions, [count, vocabulary]."""
    keeps = "logits_to_keep" in loaded.flags
    out = loaded.model(input_ids=ids.to(loaded.device), **({"logits_to_keep": count} if keeps else {}))
    return out.logits[0, -count:]


def token_ids(loaded: Loaded, text: str) -> Any:  # noqa: ANN401
    """The tokens of a text as the tokenizer makes them, with the token that it begins texts with; [1, tokens]."""
    return loaded.tokenizer(text, return_tensors="pt", verbose=False)["input_ids"]


def predicted_bytes(loaded: Loaded, ids: Any) -> int:  # noqa: ANN401
    """UTF-8 bytes of the tokens after the first, which nothing predicts."""
    text = loaded.tokenizer.decode(ids[0, 1:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return len(str(text).encode())
