"""A phrase such as "summarise German contracts on my RTX 4090, commercial use, 32k context" -> task and options.

Plain patterns, no model: what they find is named with the words it was found in, and so is what they don't.
The options found have the names and spellings of the command line, and are checked where those are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.errors import UsageError
from fmkit.selection.device_names import find_device
from fmkit.selection.languages import LANGUAGE_CODES
from fmkit.selection.phrase_patterns import AMOUNT, FILLERS, JUST, MODALITIES, NO, PATTERNS, always
from fmkit.selection.task_names import find_task, task_spellings, whole_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmkit.selection.facts import Task


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """What a phrase was understood to say: the task, options by name, the words of each, and the words left over."""

    task: str
    options: dict[str, Any]
    understood: dict[str, str]
    not_understood: tuple[str, ...]


DOMAINS = frozenset({"biomedical", "legal"})

_REPEATABLE = frozenset({"licence", "precision", "language", "modality", "weight", "exclude", "only"})


class _Reader:
    """A phrase being read: what is found is taken out, so that no word is understood twice."""

    def __init__(self, text: str) -> None:
        self.rest = f" {text.lower()} "
        self.options: dict[str, Any] = {}
        self.words: dict[str, list[str]] = {}

    def take(self, option: str, match: re.Match[str], value: object) -> None:
        """Note an option and the words that said it."""
        self.rest = f"{self.rest[: match.start()]} | {self.rest[match.end() :]}"
        self.words.setdefault(option, []).append(match[0].strip())
        if option in _REPEATABLE:
            self.options.setdefault(option, []).append(value)
        else:
            self.options.setdefault(option, value)

    def take_all(self, option: str, words: re.Pattern[str] | str, value: Callable[[re.Match[str]], object]) -> None:
        """Take every place where the words stand."""
        while (match := re.search(words, self.rest)) is not None:
            self.take(option, match, value(match))

    def leftover(self) -> tuple[str, ...]:
        """The words nobody took, without those that say nothing."""
        fillers = FILLERS.split()
        amounts = [match[0].strip() for match in AMOUNT.finditer(self.rest)]
        self.rest = AMOUNT.sub(" | ", self.rest)
        words = (word.strip("-.") for word in re.findall(r"[\w.-]+", self.rest))
        return tuple(dict.fromkeys([*amounts, *(word for word in words if word and word not in fillers)]))


def parse_phrase(
    text: str, tasks: Mapping[str, Task], devices: Mapping[str, str], families: Sequence[str] = ()
) -> Phrase:
    """The task and the options a phrase names. `devices` maps a spelling of a device to its catalog id.

    A domain named beside a task ("summarise legal contracts") is the option `domain`: a preference, no constraint.
    """
    reader = _Reader(text)
    _take_families(reader, families)
    device = find_device(reader.rest, devices)
    if device is not None:
        reader.take("gpu", *device)
    task = find_task(reader.rest, tasks)
    if task is None:
        raise UsageError(
            f"no task found in {text.strip()!r}; tasks: {', '.join(tasks)}",
            where="TASK",
            next_command="fmkit recommend chat",
        )
    for spelling in task_spellings(task, tasks[task]):
        reader.take_all("task", whole_words(spelling), always(task))
    _take_domain(reader, task, tasks)
    for pattern in PATTERNS:
        reader.take_all(pattern.option, pattern.words, pattern.value)
    for name, code in LANGUAGE_CODES.items():
        reader.take_all("language", rf"\b{name}\b", always(code))
    for modality, spelling in MODALITIES.items():
        reader.take_all("modality", rf"\b{spelling}\b", always(modality))
    return Phrase(
        task=task,
        options={option: value for option, value in reader.options.items() if option != "task"},
        understood={option: ", ".join(spelt) for option, spelt in reader.words.items()},
        not_understood=reader.leftover(),
    )


def _take_families(reader: _Reader, families: Sequence[str]) -> None:
    """Families left out ("without llama") or alone asked for ("only qwen", "qwen models only")."""
    stems = {re.split(r"[-\d.]", family)[0] for family in families}
    names = sorted({*families, *(stem for stem in stems if len(stem) > 1)}, key=lambda name: (-len(name), name))
    if not names:
        return
    name = rf"({'|'.join(re.escape(name) for name in names)})(?:\s+(?:models?|famil(?:y|ies)))?"
    for option, words in (
        ("exclude", rf"{NO}\s+(?:any\s+)?{name}"),
        ("only", rf"{JUST}\s+{name}"),
        ("only", rf"{name}\s+only"),
    ):
        reader.take_all(option, rf"(?<![\w-]){words}(?![\w-])", lambda match: match[1])
    while (also := re.search(rf"\|\s*(?:,|and|or|nor)\s+{name}(?![\w-])", reader.rest)) and "exclude" in reader.options:
        reader.take("exclude", also, also[1])


def _take_domain(reader: _Reader, task: str, tasks: Mapping[str, Task]) -> None:
    """The domain a phrase names beside its task."""
    for name, found in tasks.items():
        if name == task or found.domain not in DOMAINS:
            continue
        for spelling in task_spellings(name, found):
            reader.take_all("domain", whole_words(spelling), always(found.domain))


def is_phrase(text: str) -> bool:
    """Whether a TASK is a phrase rather than one word.

    >>> is_phrase("long-document-qa"), is_phrase("chat in German")
    (False, True)
    """
    return len(text.split()) > 1
