"""Agreement: how far the quantised model's predictions are from those of the unquantised weights, over one text."""

from __future__ import annotations

from typing import Any

import msgspec

from fmkit.results.trial import Check
from fmkit.trial.checks.base import RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Agreement, Evidence

KL_NAME = "quantised-kl"
TOP1_NAME = "quantised-top1"
NAMES = (KL_NAME, TOP1_NAME)

MOST_KL_NATS = 0.1
LEAST_TOP1 = 0.85
SOURCE = "llama.cpp@73f6cfa tools/perplexity/README.md, LLaMA 3 8B"


def judge_kl(seen: Evidence) -> Check:
    """Mean over the positions of KL(unquantised || quantised), in nats."""
    found = _compared(seen, KL_NAME)
    if isinstance(found, Check):
        return found
    detail = f"nats per token, deviation {found.kl_sd_nats:.3g}; {_over(found)}"
    return judged(KL_NAME, found.mean_kl_nats <= MOST_KL_NATS, found.mean_kl_nats, MOST_KL_NATS, detail, _data(found))


def judge_top1(seen: Evidence) -> Check:
    """The share of positions at which both models think the same token likeliest."""
    found = _compared(seen, TOP1_NAME)
    if isinstance(found, Check):
        return found
    detail = f"share of positions with the same likeliest token; {_over(found)}"
    return judged(TOP1_NAME, found.top1_share >= LEAST_TOP1, found.top1_share, LEAST_TOP1, detail, _data(found))


def _compared(seen: Evidence, name: str) -> Agreement | Check:
    if seen.random_weights:
        return not_applicable(name, RANDOM)
    return seen.agreement or not_applicable(name, "nothing was compared")


def _over(found: Agreement) -> str:
    return f"{found.tokens:,} tokens of {found.text}, against {found.against}"


def _data(found: Agreement) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(found)
    return data


KL = CheckKind(
    name=KL_NAME,
    question="How far are the quantised model's predictions from the unquantised one's (mean KL divergence)?",
    reason="0.1 nats: 4-bit types lie below (0.031 to 0.072), 3-bit and 2-bit ones at or above (0.10 to 0.45)",
    source=SOURCE,
    judge=judge_kl,
    quick=False,
    needs="a precision that quantises, such as --precision int4; for a GGUF file also --against FULL.gguf",
)
TOP1 = CheckKind(
    name=TOP1_NAME,
    question="How often do quantised and unquantised model take the same token?",
    reason="0.85: Q4_K_M reaches 0.92, Q2_K 0.71",
    source=SOURCE,
    judge=judge_top1,
    quick=False,
    needs="a precision that quantises, such as --precision int4; for a GGUF file also --against FULL.gguf",
)
