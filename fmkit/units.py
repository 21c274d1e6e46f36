"""Sizes, lengths and rates: parsed from what people type, printed as people read.

Inside fmkit bytes are `int` bytes and lengths are `int` tokens. GiB (2**30) appears only when printing;
GB is 10**9 and is never confused with it.
"""

from __future__ import annotations

import re
from math import isfinite

from fmkit.errors import UsageError

KIB = 1024
MIB = 1024**2
GIB = 1024**3

MOST_BYTES = 2**60
MOST_TOKENS = 2**40
"""The most that is believed: far above any machine and model, far below an overflow."""

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": 1024**4,
}
_NUMBER_AND_UNIT = re.compile(r"\s*((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)\s*")
_TOKEN_UNITS = {"": 1, "k": 1024, "m": 1024**2}
_SECOND_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_size(text: str, *, where: str | None = None) -> int:
    """Bytes of a size such as `24GiB`, `80 GB` or `512MiB`; a unit is required above bytes.

    >>> parse_size("24GiB"), parse_size("80GB")
    (25769803776, 80000000000)
    """
    number, unit = _split(text, "size", "24GiB or 80GB", where)
    factor = _SIZE_UNITS.get(unit.lower())
    if factor is not None and number * factor > MOST_BYTES:
        raise UsageError(f"can't take size {text!r}: the most is {MOST_BYTES // 1024**4:,}TiB", where=where)
    if factor is None or (unit == "" and number < MIB):
        raise UsageError(f"can't read size {text!r}: write a number and a unit such as 24GiB or 80GB", where=where)
    return round(number * factor)


def parse_tokens(text: str, *, where: str | None = None) -> int:
    """Tokens of a length such as `4096`, `40,000`, `32k` or `1M` (1k = 1024 tokens).

    >>> parse_tokens("32k"), parse_tokens("1M"), parse_tokens("500"), parse_tokens("40,000")
    (32768, 1048576, 500, 40000)
    """
    number, unit = _split(text, "length", "32k, 128k or 1M", where)
    factor = _TOKEN_UNITS.get(unit.lower())
    tokens = None if factor is None else number * factor
    if tokens is not None and tokens > MOST_TOKENS:
        raise UsageError(f"can't take length {text!r}: the most is {MOST_TOKENS:,} tokens", where=where)
    if tokens is None or tokens != int(tokens) or tokens < 1:
        raise UsageError(
            f"can't read length {text!r}: write a whole number of tokens such as 32k, 128k or 1M", where=where
        )
    return int(tokens)


def parse_seconds(text: str, *, where: str | None = None) -> float:
    """Seconds of a duration such as `300ms` or `2s`.

    >>> parse_seconds("300ms"), parse_seconds("2s")
    (0.3, 2.0)
    """
    number, unit = _split(text, "duration", "300ms or 2s", where)
    factor = _SECOND_UNITS.get(unit.lower())
    if factor is None or not isfinite(number * factor) or number <= 0:
        raise UsageError(f"can't read duration {text!r}: write a number and a unit such as 300ms or 2s", where=where)
    return number * factor


def parse_count(text: str, *, where: str | None = None) -> int:
    """A number of people or things, at least 1; decimal suffixes k, M and B (a thousand, a million, 10**9).

    >>> parse_count("250000"), parse_count("1.5M"), parse_count("700 m")
    (250000, 1500000, 700000000)
    """
    number, unit = _split(text, "a number", "250000 or 1.5M", where)
    factor = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}.get(unit.lower())
    count = number * (factor or 0)
    if count < 1 or count != int(count):
        raise UsageError(
            f"can't read {text!r}: write a whole number of at least 1, such as 250000 or 1.5M", where=where
        )
    return int(count)


def _split(text: str, noun: str, example: str, where: str | None) -> tuple[float, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise UsageError(f"can't read {noun} {text!r}: write for example {example}", where=where)
    return float(match[1].replace(",", "")), match[2]


def format_bytes(count: int) -> str:
    """Bytes for people, in binary units with the unit named.

    >>> format_bytes(16060522496), format_bytes(70_000_000), format_bytes(700)
    ('14.96 GiB', '66.8 MiB', '700 B')
    """
    sign, size = ("-", -count) if count < 0 else ("", count)
    if size >= GIB:
        return f"{sign}{size / GIB:,.2f} GiB"
    if size >= MIB:
        return f"{sign}{size / MIB:.1f} MiB"
    if size >= KIB:
        return f"{sign}{size / KIB:.1f} KiB"
    return f"{sign}{size} B"


def format_tokens(tokens: int) -> str:
    """A length for people, in k or M where that is exact; in full where it was meant in thousands.

    128,000 is also 125 x 1024, but nobody who says 128,000 means 125k.

    >>> format_tokens(131072), format_tokens(1048576), format_tokens(448), format_tokens(40000), format_tokens(128000)
    ('128k', '1M', '448', '40,000', '128,000')
    >>> format_tokens(2**40)
    '1,048,576M'
    """
    if tokens % KIB or tokens % 1000 == 0:
        return f"{tokens:,}"
    thousands = tokens // KIB
    return f"{thousands // KIB:,}M" if thousands % KIB == 0 else f"{thousands}k"


def format_count(count: float) -> str:
    """A parameter count for people.

    >>> format_count(8030261248), format_count(22713216), format_count(1540)
    ('8.03B', '22.7M', '1,540')
    """
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if count >= size:
            return f"{count / size:.3g}{suffix}"
    return f"{count:,.0f}"


def format_rate(per_s: float) -> str:
    """A rate per second for people, with about two significant digits.

    >>> format_rate(1234.5), format_rate(61.27), format_rate(0.834)
    ('1,200', '61', '0.83')
    """
    if per_s >= 100:
        digits = len(str(int(per_s)))
        return f"{round(per_s, 2 - digits):,.0f}"
    return f"{per_s:.0f}" if per_s >= 10 else f"{per_s:.2g}"


def format_seconds(seconds: float) -> str:
    """A duration for people.

    >>> format_seconds(0.012), format_seconds(2.5), format_seconds(200), format_seconds(7260), format_seconds(224085)
    ('12 ms', '2.5 s', '3 min 20 s', '2 h 1 min', '2 d 14 h')
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d {hours} h"


def number_of(count: int, noun: str) -> str:
    """A count with its noun.

    >>> number_of(1, "model"), number_of(1200, "model")
    ('1 model', '1,200 models')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_percent(fraction: float, *, digits: int = 1, sign: bool = False) -> str:
    """A fraction in percent for people.

    >>> format_percent(0.0314), format_percent(0.25, digits=0), format_percent(-0.02, sign=True)
    ('3.1 %', '25 %', '-2.0 %')
    """
    return f"{100 * fraction:{'+' if sign else ''}.{digits}f} %"


def ceil_div(amount: int, step: int) -> int:
    """The number of steps that hold `amount`.

    >>> ceil_div(65, 64)
    2
    """
    return -(-amount // step)
