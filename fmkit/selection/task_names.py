"""How people write a task: the ids, names and words of the catalog, and which of them a phrase names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.selection.facts import Task

_SETTINGS = frozenset({"biomedical", "legal", "edge"})
"""Tasks that say where or about what rather than what to do."""


def known_task(word: str, tasks: Mapping[str, Task]) -> str:
    """The id of the task that one word names: an id, or a word the catalog lists for it; an error with the nearest."""
    folded = word.strip().lower().replace("_", "-")
    if folded in tasks:
        return folded
    named = [task_id for task_id, task in tasks.items() if folded in task.words]
    if len(named) == 1:
        return named[0]
    raise UsageError.unknown("task", word, tasks, where="TASK", next_command="fmkit recommend --help")


def find_task(text: str, tasks: Mapping[str, Task]) -> str | None:
    """The task named first, the longest words where two start together; a domain only where nothing else is named.

    "Summarise legal contracts" is a summary, "a coding assistant" is for code.
    """
    hits: list[tuple[bool, int, int, str]] = []
    for task_id, task in tasks.items():
        for spelling in task_spellings(task_id, task):
            match = re.search(whole_words(spelling), text)
            if match is not None:
                hits.append((task_id in _SETTINGS, match.start(), -len(spelling), task_id))
    return min(hits)[3] if hits else None


def task_spellings(task_id: str, task: Task) -> list[str]:
    """The ways to write a task, the longest first."""
    spellings = {task_id, task_id.replace("-", " "), task.name.lower(), *(word.lower() for word in task.words)}
    return sorted(spellings, key=lambda spelling: (-len(spelling), spelling))


def whole_words(spelling: str) -> str:
    """A pattern that finds a spelling where it is no part of a longer word."""
    return rf"(?<![\w-]){re.escape(spelling)}(?:s|ing)?(?![\w-])"
