"""How fast a model of speech works through sound, from the speed of its passes."""

from __future__ import annotations

from fmkit.speed.estimate import Range

SPEECH_WINDOW_S = 30.0
"""Sound that one request of a speech model covers: Whisper's window, 1500 encoder positions of 20 ms (its paper, section 2.2)."""

SPOKEN_TOKENS_PER_S = 200 / 30
"""Tokens written per second of speech: the task transcription's 200 per window (assumed). English at 150 words a minute and 4
tokens to 3 words is 3.3; quick speech and languages that the vocabulary cuts finer need more."""


def real_time_factor(encoded_s: float, tokens_per_s: float, sequences: int = 1) -> float:
    """Seconds of work per second of sound: (the encoder's pass + writing what is said in one window) / windows / `SPEECH_WINDOW_S`.

    >>> real_time_factor(1.0, 100.0)  # one second to listen, two to write
    0.1
    """
    written_s = SPOKEN_TOKENS_PER_S * SPEECH_WINDOW_S / tokens_per_s
    return (encoded_s + written_s) / SPEECH_WINDOW_S / sequences


def real_time_range(encoded_s: Range, tokens_per_s: Range, sequences: int) -> Range:
    """The same for ranges: the shortest time with the highest rate is the lowest factor."""
    return Range(
        low=real_time_factor(encoded_s.low, tokens_per_s.high, sequences),
        median=real_time_factor(encoded_s.median, tokens_per_s.median, sequences),
        high=real_time_factor(encoded_s.high, tokens_per_s.low, sequences),
    )
