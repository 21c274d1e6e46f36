"""Arithmetic that a source writes out (`384 bit x 21 Gbit/s`), worked out: the figure beside it has to be the result."""

from __future__ import annotations

import re
from math import prod

_FACTOR = re.compile(r"(\d[\d,]*(?:\.\d+)?) ([A-Za-z][A-Za-z/]*)")
_END_OF_PRODUCT = re.compile(r"[;=:(),]\s|[();]")
_PER_SECOND = {"GHz": 1e9, "MHz": 1e6, "Gbit/s": 1e9, "MT/s": 1e6}


def rate_written(text: str) -> float | None:
    """The first product in a text that has a rate among its factors, per second; in bytes where a width is in bits. None where there is none.

    >>> rate_written("384 bit x 21 Gbit/s / 8 = 1,008 GB/s; another table rounds")
    1008000000000.0
    >>> rate_written("2 channels x 8 bytes x 3,200 MT/s"), rate_written("a table; derived: 128 SM x 2520 MHz boost x 512 FLOP a clock (FP32 accumulate)")
    (51200000000.0, 165150720000000.0)
    >>> rate_written("data sheet, 560 GB/s"), rate_written("256 CU x clock x 4096 FLOP")
    (None, None)
    """
    for segment in _END_OF_PRODUCT.split(text):
        factors = [_FACTOR.search(piece) for piece in segment.split(" x ")]
        found = [(float(factor[1].replace(",", "")), factor[2]) for factor in factors if factor]
        units = [unit for _, unit in found]
        if len(found) == len(factors) > 1 and not _PER_SECOND.keys().isdisjoint(units):
            product = prod(number * _PER_SECOND.get(unit, 1.0) for number, unit in found)
            return product / 8 if "bit" in units else product
    return None


def says_number(text: str, number: int) -> bool:
    """Whether a text writes a whole number, in digits, in thousands (1,000 or 1,024) or in millions.

    >>> says_number("README (2507, 256K)", 262144), says_number("pages of 2048", 2048), says_number("10,240,000", 10240000)
    (True, True, True)
    >>> says_number("4 million at inference", 4000000), says_number("RULER at 128K", 1048576), says_number("arXiv:2048.1", 2048)
    (True, False, False)
    """
    spelt = [str(number), f"{number:,}"]
    for size, names in (
        (1000, ("k", "K", " thousand")),
        (1024, ("k", "K")),
        (10**6, ("M", "m", " million")),
        (2**20, ("M", "m")),
    ):
        if number % size == 0:
            spelt += [f"{number // size}{name}" for name in names]
    return any(re.search(rf"(?<![\w.,:]){re.escape(form)}(?![\w])(?![.,]\d)", text) for form in spelt)
