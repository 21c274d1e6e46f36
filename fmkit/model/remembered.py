"""Answers kept for questions asked again about the very same objects: a model is sized at many workloads, its weights are one sum."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def remembered(most: int) -> Callable[[Callable[Asked, Answer]], Callable[Asked, Answer]]:
    """Keep up to `most` answers of a function of frozen values; when there are more, all are forgotten.

    Values are known again by identity: hashing a model's hundred tensors takes as long as sizing them. Each answer
    keeps its values alive, so that no identity is used twice. Arguments are given by position.

    >>> calls = []
    >>> @remembered(2)
    ... def length(words: tuple[str, ...]) -> int:
    ...     calls.append(words)
    ...     return len(words)
    >>> words = ("a", "b")
    >>> length(words), length(words), len(calls)
    (2, 2, 1)
    """

    def wrap(function: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
        kept: dict[tuple[int, ...], tuple[tuple[object, ...], Answer]] = {}

        @wraps(function)
        def ask(*values: Asked.args, **named: Asked.kwargs) -> Answer:
            if named:
                raise TypeError(f"{function.__name__} takes its values by position")
            key = tuple(map(id, values))
            found = kept.get(key)
            if found is None:
                if len(kept) >= most:
                    kept.clear()
                found = kept[key] = (values, function(*values, **named))
            return found[1]

        return ask

    return wrap
