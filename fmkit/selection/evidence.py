"""What published scores say of single abilities: steps, examples, instructions, tools; and of the length a model really reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.selection.facts import Score

EVIDENCE: dict[str, tuple[str, ...]] = {
    "multi-step reasoning": (
        "aime-2025", "aime-2024", "math-500", "math", "gsm8k", "bbh", "open-llm-bbh", "open-llm-musr", "gpqa-diamond", "mgsm",
    ),
    "instruction following": ("ifeval", "open-llm-ifeval", "ifbench", "ifeval-multilingual", "multichallenge"),
    "tool use": ("bfcl", "tau-bench", "tau2-bench"),
}  # fmt: skip
"""Abilities and the benchmarks that test them, the most telling first."""

FEW_SHOT = "few-shot"
_SHOTS = re.compile(r"\b[1-9]\d*-shot")

KINDS = ("multi-step reasoning", FEW_SHOT, "instruction following", "tool use")


def evidence(scores: Iterable[Score]) -> dict[str, tuple[Score, ...]]:
    """The scores that test each of KINDS, by kind; a kind that nobody tested has none. Few-shot are all with examples given.

    >>> sorted(evidence([]))
    ['few-shot', 'instruction following', 'multi-step reasoning', 'tool use']
    """
    rows = tuple(scores)
    found = {
        kind: tuple(score for name in names for score in rows if score.benchmark == name)
        for kind, names in EVIDENCE.items()
    }
    found[FEW_SHOT] = tuple(score for score in rows if _SHOTS.search(score.variant))
    return {kind: found[kind] for kind in KINDS}


def effective_context(scores: Iterable[Score]) -> Score | None:
    """The longest length at which RULER found the model still good, where somebody measured it; the least of several."""
    found = [score for score in scores if score.benchmark == "ruler-effective-context"]
    return min(found, key=lambda score: score.score, default=None)
