"""How trials that a figure rests on are named in its reason and source."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMED = 8


def counted(trials: int, models: int) -> str:
    """How many trials, and of how many models.

    >>> counted(5, 4), counted(1, 1)
    ('5 trials of 4 models', '1 trial of 1 model')
    """
    return f"{trials} trial{'' if trials == 1 else 's'} of {models} model{'' if models == 1 else 's'}"


def named(ids: Sequence[str]) -> str:
    """The ids of trials, the first of them where they are many.

    >>> named(["a", "b"]), named([str(number) for number in range(11)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7 and 3 more')
    """
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"{', '.join(ids[:MOST_NAMED])}{more}"
