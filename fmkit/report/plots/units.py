"""The unit of an axis, and how its figures are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable


def bytes_unit(sizes: Iterable[int]) -> tuple[float, str]:
    """What to divide bytes by, and the unit's name: one unit for all figures of a picture.

    >>> bytes_unit([3 * 2**30, 5]), bytes_unit([200 * 2**20])
    ((1073741824.0, 'GiB'), (1048576.0, 'MiB'))
    """
    return (float(GIB), "GiB") if max(sizes, default=0) >= GIB else (float(MIB), "MiB")


def rate_words(rate: float) -> str:
    """A rate on an axis.

    >>> rate_words(2000.0), rate_words(0.5)
    ('2,000', '0.5')
    """
    return f"{rate:,.0f}" if rate >= 10 or rate == int(rate) else f"{rate:g}"


def seconds_words(seconds: float) -> str:
    """A time on an axis of seconds.

    >>> seconds_words(0.05), seconds_words(2.0)
    ('0.05', '2')
    """
    return f"{seconds:g}"
