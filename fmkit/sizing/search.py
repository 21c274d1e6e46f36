"""Bisection over whole numbers: the largest for which something still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def largest(fits: Callable[[int], bool], limit: int) -> int | None:
    """The largest whole number from 1 to `limit` for which `fits` holds, None if not even 1 does.

    >>> largest(lambda n: n * n <= 50, 100), largest(lambda n: True, 100), largest(lambda n: False, 100)
    (7, 100, None)
    """
    if not fits(1):
        return None
    if fits(limit):
        return limit
    low, high = 1, limit
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
