"""What is expected of effects before any measurement: their centres, and how far those of a scope may lie from them."""

from __future__ import annotations

from fmkit.speed.parts import Part, Phase

CENTRE: dict[Part, float] = {
    "launch": 0.5, "weights": 0.25, "cache": 0.5, "linear": 0.8, "attention": 1.0, "exchange": 0.3, "sequence": 0.0,
    "experts": 0.0,
}  # fmt: skip
"""Where the effect of `all` is expected before any measurement: a launch of 16 us a layer, 78 % of the bandwidth, 45 % of the peak."""

WIDTHS = {"all": 1.0, "engine": 0.4, "one fact": 0.3, "device": 0.2, "several facts": 0.2, "backend": 0.3}
"""Standard deviation expected of the effects of a scope, by how narrow it is."""

DECODE_ATTENTION_CENTRE = -1.0
"""Decoding: query heads that share keys and values read them mostly from a cache of the chip."""


def centre(phase: Phase, part: Part) -> float:
    """Where an effect of `all` is expected."""
    return DECODE_ATTENTION_CENTRE if (phase, part) == ("decode", "attention") else CENTRE[part]


def width(scope: str) -> float:
    """How large the effect of a scope is expected to be."""
    if ", backend " in scope:
        return WIDTHS["backend"]
    facts = scope.count(",") + scope.count(" on ")
    if facts == 0:
        return WIDTHS["all" if scope == "all" else "engine"]
    if " on " in scope:
        return WIDTHS["device"] * (0.75 if facts > 1 and scope.count(",") == 1 else 1.0)
    return _shared_width(scope, facts)


def _shared_width(scope: str, facts: int) -> float:
    """The same for a scope of an engine on several devices."""
    if scope.endswith(("mixture", "dense")):
        return WIDTHS["engine"]
    if scope.endswith("stages"):
        return 0.5
    return WIDTHS["one fact" if facts == 1 else "several facts"]
