"""`--audio-seconds`: what the length of a recording changes."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.units import parse_seconds

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

TOKEN_S = 0.02
"""Seconds of sound in one token of Whisper's encoder: frames of 10 ms (hop of 160 samples at 16 kHz), halved by a convolution."""

BARE = re.compile(r"[0-9]+(\.[0-9]+)?")
"""A number without a unit: seconds."""


def audio_note(spec: ModelSpec, name: str, seconds: str | float) -> str:
    """What a recording of that length means for a model that reads a fixed window; UsageError for other models.

    Whisper reads 1,500 tokens, 30 s, whatever the length: a longer recording is read window after window.
    """
    length = parse_seconds(f"{seconds}s" if BARE.fullmatch(str(seconds)) else str(seconds), where="--audio-seconds")
    tower = spec.stack("audio")
    if tower is None:
        raise UsageError(f"{name} reads no sound", where="--audio-seconds")
    if tower.fixed_tokens is None:
        raise UsageError(
            f"how many tokens a second of sound takes in {name} is not known: size it by --context",
            where="--audio-seconds",
        )
    window = tower.fixed_tokens * TOKEN_S
    count = max(1, ceil(length / window))
    if count == 1:
        return f"{length:g} s of sound are padded to the window of {window:g} s that {name} always reads"
    return (
        f"{length:g} s of sound are {count} windows of {window:g} s, read one after another: the memory is that of one"
    )
