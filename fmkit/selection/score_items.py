"""Which published scores are of one item: a benchmark in one comparable set-up, whoever thought before answering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.selection.facts import Candidate, Score

Area = Literal["language", "embedding"]
"""Models of one area share their items and factors; images are read by models of language."""

_SAME = frozenset({"no tools", "direct", "thinking", "thinking off", "mode not stated"})
_MODES = {"thinking": True, "thinking off": False, "direct": False}
_NOT_SHARES = frozenset({"tokens", "WER %", "seconds of audio per second", "ROUGE F1"})
"""Units whose figures are no share of full marks, and have no logit."""


def area_of(candidate: Candidate) -> Area | None:
    """The area of a model; None for kinds that none of the benchmarks fitted are for (speech, CLIP, fill-mask encoders)."""
    if candidate.tuning == "embedding" and "image" not in candidate.inputs:
        return "embedding"
    if candidate.spec_kind in {"decoder", "vision-language", "state-space", "hybrid", "api", "encoder-decoder"}:
        return "language"
    return None


def item_of(score: Score) -> tuple[str, str] | None:
    """Benchmark and set-up of a score; None where it is no share.

    Thinking is a property of the model, not of the benchmark: the modes are one item, and what thinking is worth is learnt.
    """
    if score.unit in _NOT_SHARES:
        return None
    return score.benchmark, set_up(score.variant)


def set_up(variant: str) -> str:
    """The set-up without the mode.

    >>> set_up("thinking, 2024-08 to 2025-02"), set_up("direct"), set_up("chain of thought, thinking off"), set_up("5-shot")
    ('2024-08 to 2025-02', '', 'chain of thought', '5-shot')
    """
    return ", ".join(part for part in variant.split(", ") if part not in _SAME)


def mode_of(variant: str, usual: bool | None) -> bool | None:
    """Whether a score is of a model that thought before it answered; `usual` where the variant does not say.

    >>> mode_of("thinking, 2024-08 to 2025-02", usual=False), mode_of("direct", usual=True), mode_of("5-shot", usual=None)
    (True, False, None)
    """
    return next((_MODES[part] for part in variant.split(", ") if part in _MODES), usual)


def matches(variant: str, patterns: Iterable[str]) -> bool:
    """Whether a variant is one of the comparable ones: equal, or starting as a pattern that ends in `*`.

    >>> matches("5-shot", ["5-shot"]), matches("0-shot CoT", ["0-shot*"]), matches("25-shot", ["5-shot"])
    (True, True, False)
    """
    return any(
        variant.startswith(pattern[:-1]) if pattern.endswith("*") else variant == pattern for pattern in patterns
    )


def spellings(variant: str) -> tuple[str, ...]:
    """The variants that are of one set-up.

    >>> spellings("2024-08 to 2025-02")[:2], spellings("")[:2]
    (('2024-08 to 2025-02', 'thinking, 2024-08 to 2025-02'), ('', 'thinking'))
    """
    modes = ("thinking", "thinking off", "direct", "mode not stated")
    return (variant, *(f"{mode}, {variant}" if variant else mode for mode in modes))
