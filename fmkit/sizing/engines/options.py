"""Engine options as they are typed: what the readers of all engines share. A value that can't be read is a UsageError."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.units import parse_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST = 2**20
FLAGS = {"true": True, "on": True, "1": True, "yes": True, "false": False, "off": False, "0": False, "no": False}


def refuse_unknown(options: Iterable[str], known: Iterable[str], engine: str) -> None:
    """UsageError for the first option that the engine does not have, with the nearest that it has."""
    names = tuple(known)
    for name in options:
        if name not in names:
            raise UsageError.unknown(f"option of {engine}", name, names, where="--engine-option")


def choice(options: Mapping[str, str], name: str, valid: Iterable[str]) -> str:
    """The value of an option that takes one of a few, in lower case; the first is the default.

    >>> choice({"logits": "All"}, "logits", ("last", "all")), choice({}, "logits", ("last", "all"))
    ('all', 'last')
    """
    known = tuple(valid)
    value = options.get(name, known[0]).casefold()
    if value not in known:
        raise UsageError.unknown(f"value of {name}", value, known, where=_where(name))
    return value


def flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    """The value of an option that is on or off.

    >>> flag({"swa_full": "on"}, "swa_full", default=False), flag({}, "swa_full", default=False)
    (True, False)
    """
    value = options.get(name)
    if value is None:
        return default
    if value.casefold() not in FLAGS:
        raise UsageError.unknown(f"value of {name}", value, ("true", "false"), where=_where(name))
    return FLAGS[value.casefold()]


def whole(options: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    """The value of an option that is a count.

    >>> whole({"ubatch": "256"}, "ubatch", 512, least=1), whole({}, "ubatch", 512, least=1)
    (256, 512)
    """
    value = options.get(name)
    if value is None:
        return default
    is_count = value.isascii() and value.isdigit() and len(value) <= len(str(MOST))
    if not is_count or not least <= int(value) <= MOST:
        raise UsageError(
            f"can't read {value[:40]!r}: write a whole number from {least} to {MOST:,}", where=_where(name)
        )
    return int(value)


def length(options: Mapping[str, str], name: str, default: int) -> int:
    """The value of an option that is a number of tokens, such as `2k`.

    >>> length({"max_num_batched_tokens": "2k"}, "max_num_batched_tokens", 8192)
    2048
    """
    return parse_tokens(options[name], where=_where(name)) if name in options else default


def fraction(options: Mapping[str, str], name: str, default: float) -> float:
    """The value of an option that is a share above 0 and up to 1.

    >>> fraction({"gpu_memory_utilization": "0.8"}, "gpu_memory_utilization", 0.9)
    0.8
    """
    if name not in options:
        return default
    try:
        value = float(options[name])
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UsageError(f"can't read {name} {options[name]!r}: write a fraction such as 0.9", where=_where(name))
    return value


def _where(name: str) -> str:
    return f"--engine-option {name}"
