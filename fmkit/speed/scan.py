"""What a selective scan takes: the recurrence of a state-space model over a prompt, one step after the other (Gu and Dao, arXiv:2312.00752)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.speed.rates import between_logarithms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.speed.rates import ModelPoint

LEAST_ELEMENT_S = 1e-15
"""What an element takes at least where the differences of times say nothing: more per second than any device."""


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a step of one layer: whatever the width, and of an element of the state, by the tokens of all prompts.

    The more tokens the longer an element takes: what is prepared for all steps no longer fits into caches. `next_element_s` is what an
    element of a further sequence adds to a decode step.
    """

    step_s: float
    element_s: tuple[tuple[int, float], ...]
    next_element_s: float = 0.0

    def seconds(self, *, tokens: int, sequences: int, scans: int, elements: int) -> float:
        """Seconds of `scans` layers over prompts of `tokens` in all; `elements` are the states of all these layers for one sequence.

        >>> Scan(step_s=2.0, element_s=((64, 0.01),)).seconds(tokens=128, sequences=2, scans=3, elements=300)
        768.0
        """
        each = between_logarithms(self.element_s, tokens)
        return tokens / sequences * (scans * self.step_s + sequences * elements * each)


def scan_of(points: Sequence[ModelPoint]) -> Scan | None:
    """From prompts that a small Mamba read; None without two as short as each other, by one sequence and by several.

    >>> from fmkit.speed.rates import ModelPoint
    >>> of_a_mamba = {"model": "mamba", "dtype": "float32", "per_s": 1.0, "layer_matrices": 3, "layer_weights": 1, "hidden_dim": 1, "narrowing": 0.0}
    >>> scan_of([
    ...     ModelPoint(tokens=64, sequences=1, beside_s=64 * 3.0, state_elements=100, **of_a_mamba),
    ...     ModelPoint(tokens=256, sequences=4, beside_s=64 * 6.0, state_elements=100, **of_a_mamba),
    ... ])
    Scan(step_s=2.0, element_s=((64, 0.01), (256, 0.01)), next_element_s=0.0)
    """
    prompts = [point for point in points if point.tokens > point.sequences]
    steps = {(point.tokens // point.sequences, point.sequences): _step_s(point) for point in prompts}
    if not steps:
        return None
    short, many = min(length for length, _ in steps), max(sequences for _, sequences in steps)
    if many == 1 or (short, 1) not in steps or (short, many) not in steps:
        return None
    sequence_s = max(0.0, steps[short, many] - steps[short, 1]) / (many - 1)
    step_s = max(0.0, steps[short, 1] - sequence_s)
    return Scan(
        step_s=step_s,
        element_s=tuple(
            (point.tokens, max(LEAST_ELEMENT_S, (_step_s(point) - step_s) / (point.sequences * point.state_elements)))
            for point in sorted(prompts, key=lambda one: one.tokens)
        ),
        next_element_s=_next_element_s([point for point in points if point.tokens == point.sequences]),
    )


def _next_element_s(steps: Sequence[ModelPoint]) -> float:
    """Seconds that an element of a further sequence adds to a decode step; 0 where steps of one sequence and of several were not timed."""
    one, many = min(steps, key=_sequences, default=None), max(steps, key=_sequences, default=None)
    if one is None or many is None or one is many:
        return 0.0
    return max(0.0, many.beside_s - one.beside_s) / ((many.sequences - one.sequences) * one.state_elements)


def _sequences(point: ModelPoint) -> int:
    return point.sequences


def _step_s(point: ModelPoint) -> float:
    """Seconds of a step of the layer, of all sequences."""
    return point.beside_s * point.sequences / point.tokens
