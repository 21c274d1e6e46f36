"""Whole distributions over a text, written by one process and compared in the next, for engines without torch: plain float32 in a file."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.trial.evidence import Agreement

MOST_POSITIONS = 128
"""A distribution over 128k tokens is 15 MB of JSON and a third of a second."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What the first line of the file says; a row of log-probabilities for each of `ids` follows."""

    ids: list[int]
    vocabulary: int
    text: str
    against: str


def write_distributions(path: Path, told: Recorded, rows: Iterable[Sequence[float]]) -> None:
    """The line about them, then each row in float32."""
    with path.open("wb") as file:
        file.write(msgspec.json.encode(told) + b"\n")
        for row in rows:
            array("f", row).tofile(file)


def read_recorded(path: Path) -> Recorded:
    """The line about the rows."""
    with path.open("rb") as file:
        return msgspec.json.decode(file.readline(), type=Recorded)


def compare_distributions(path: Path, others: Iterable[Sequence[float]]) -> Agreement:
    """The rows of another model over the same tokens against those in the file."""
    kls, same = [], 0
    with path.open("rb") as file:
        told = msgspec.json.decode(file.readline(), type=Recorded)
        for other in others:
            full: array[float] = array("f")
            full.fromfile(file, told.vocabulary)
            if len(other) != told.vocabulary:
                raise UnsafeInputError("the models have different vocabularies", where=path.name)
            kls.append(divergence(full, other))
            same += likeliest(full) == likeliest(other)
    mean = sum(kls) / len(kls)
    return Agreement(
        mean_kl_nats=mean,
        kl_sd_nats=math.sqrt(sum((kl - mean) ** 2 for kl in kls) / len(kls)),
        top1_share=same / len(kls),
        tokens=len(kls),
        text=told.text,
        against=told.against,
    )


def divergence(full: Sequence[float], other: Sequence[float]) -> float:
    """KL(full || other) in nats, of log-probabilities: sum_i p_i (ln p_i - ln q_i).

    >>> half = [math.log(0.5)] * 2
    >>> divergence(half, half), round(divergence(half, [math.log(0.25), math.log(0.75)]), 4)
    (0.0, 0.1438)
    """
    return math.fsum(math.exp(p) * (p - q) for p, q in zip(full, other, strict=True))


def likeliest(row: Sequence[float]) -> int:
    """The number of the likeliest token, the first of several."""
    return max(range(len(row)), key=row.__getitem__)
