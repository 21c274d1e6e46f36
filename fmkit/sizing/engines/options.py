"""Engine options as they are typed: what the readers of all engines share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def refuse_unknown(options: Iterable[str], known: Sequence[str], noun: str) -> None:
    """UsageError for the first option that the engine does not have, with the nearest that it has."""
    for name in options:
        if name not in known:
            raise UsageError.unknown(noun, name, known, where="--engine-option")


def choice(options: Mapping[str, str], name: str, valid: Sequence[str]) -> str:
    """The value of an option that takes one of a few, in lower case; the first is the default.

    >>> choice({"logits": "All"}, "logits", ("last", "all")), choice({}, "logits", ("last", "all"))
    ('all', 'last')
    """
    value = options.get(name, valid[0]).casefold()
    if value not in valid:
        raise UsageError.unknown(name, value, valid, where=f"--engine-option {name}")
    return value
