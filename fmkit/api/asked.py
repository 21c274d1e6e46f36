"""What callers ask for, read alike everywhere: one value or several, names, lengths and counts.

The command line hands over text; from Python anything can come, and what can't be read is a UsageError that names the
option.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from fmkit.errors import UsageError, nearest_phrase
from fmkit.units import parse_tokens

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog

Value = TypeVar("Value", str, int, str | int)

_GGUF_MIX = re.compile(r"(ud-)?(i?q|tq)\d_\w+")
"""How types of GGUF files are named, those with tensors chosen by hand (UD-Q4_K_XL, Q3_K_XL) among them."""

MOST = 2**31
"""The largest count that is believed where nothing smaller is the limit."""


def one_or_many(asked: Value | Sequence[Value] | None, where: str) -> tuple[Value, ...]:
    """The values of an option that takes one or several; empty when it was not given.

    >>> one_or_many("int4", "--precision"), one_or_many([1, 2], "--sequences"), one_or_many(None, "--context")
    (('int4',), (1, 2), ())
    """
    if asked is None:
        return ()
    if isinstance(asked, str | int):
        return (asked,)
    values: object = asked
    if not isinstance(values, list | tuple | range):
        raise UsageError(f"can't read {values!r}: write one value or a list of them", where=where)
    return tuple(values)


def text(value: object, where: str) -> str:
    """A text, which only a caller from Python can fail to give.

    >>> text("rtx-4090", "--gpu")
    'rtx-4090'
    """
    if not isinstance(value, str):
        raise UsageError(f"can't read {value!r}: write a text", where=where)
    return value


def whole(value: object, where: str, *, at_least: int = 1, at_most: int = MOST) -> int:
    """A count within its limits, which the error names.

    >>> whole(4, "--sequences")
    4
    """
    if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= at_most:
        raise UsageError(f"can't take {value!r}: write a whole number from {at_least:,} to {at_most:,}", where=where)
    return value


def tokens(length: object, where: str) -> int:
    """A length as a number of tokens or as text such as `32k`.

    >>> tokens("32k", "--context"), tokens(4096, "--context")
    (32768, 4096)
    """
    return parse_tokens(str(length), where=where)


def precision_id(name: object, catalog: Catalog) -> str:
    """The catalog's precision of that id or alias; UsageError with the nearest if there is none."""
    wanted = text(name, "--precision").casefold()
    for spelling in (wanted, wanted.replace("_", "-")):
        if spelling in catalog.precisions:
            return spelling
        for known, precision in catalog.precisions.items():
            if spelling in precision.aliases:
                return known
    if _GGUF_MIX.fullmatch(wanted):
        raise UsageError(
            f"{wanted!r} is a GGUF mix whose rule fmkit does not know{nearest_phrase(wanted, catalog.precisions)}; "
            "or size the .gguf file itself",
            where="--precision",
            next_command="fmkit vram ./FILE.gguf",
        )
    raise UsageError.unknown("precision", wanted, catalog.precisions, where="--precision")
