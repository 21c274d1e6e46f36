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
from fmkit.selection.languages import LANGUAGE_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmkit.machine import Device
    from fmkit.selection.facts import Task


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """What a phrase was understood to say: the task, options by name, the words of each, and the words left over."""

    task: str
    options: dict[str, Any]
    understood: dict[str, str]
    not_understood: tuple[str, ...]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a phrase can say: the option, the words, and how to spell the value."""

    option: str
    words: re.Pattern[str]
    value: Callable[[re.Match[str]], Any]


_LIMIT = (
    r"(?:under|below|less than|within|at most|up to|no more than|max(?:imum)?|over|at least|more than|min(?:imum)?)"
)
_NUMBER = r"(\d{1,3}(?: \d{3})+|\d[\d,]*(?:\.\d+)?)"
_AT_ONCE = r"users?|people|requests?|chats?|conversations?|sessions?|sequences?|streams?"
_EU_STATES = (
    "austria|belgium|bulgaria|croatia|cyprus|czechia|denmark|estonia|finland|france|germany|greece|hungary|ireland|italy|latvia|lithuania|"
    "luxembourg|malta|poland|portugal|romania|slovakia|slovenia|spain|sweden|(?:the )?netherlands|(?:the )?czech republic"
)
_COUNTS = {"two": 2, "dual": 2, "three": 3, "four": 4, "eight": 8, "sixteen": 16}


def _pattern(option: str, words: str, value: Callable[[re.Match[str]], Any] | object) -> Pattern:
    constant = value if callable(value) else _always(value)
    return Pattern(option=option, words=re.compile(rf"(?<![\w-]){words}(?![\w-])"), value=constant)


def _always(value: object) -> Callable[[re.Match[str]], object]:
    return lambda _: value


def _plain(text: str) -> str:
    return text.replace(",", "").replace(" ", "")


def _size(match: re.Match[str]) -> str:
    """The size as people write it: the phrase was read in lower case. Of cards GB means GiB, as on their boxes."""
    size = _plain(match[1]).upper().replace("IB", "iB")
    of_a_card = re.search(r"(?:vram|gpu|card)$", match[0]) is not None
    return size.replace("GB", "GiB") if of_a_card else size


def _counted(match: re.Match[str]) -> int:
    scale = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "billion": 1e9}.get(match[2] or "", 1)
    return round(float(_plain(match[1])) * scale)


_PATTERNS: tuple[Pattern, ...] = (
    _pattern("min_tokens_per_s", rf"(?:{_LIMIT}\s+)?{_NUMBER}\s*tok(?:en)?s?\s*(?:/|per|a)\s*s(?:ec(?:ond)?)?",
             lambda m: float(_plain(m[1]))),
    _pattern("max_ttft", r"(?:first token|ttft)\s*(?:in|within|under|below|of)?\s*(\d+(?:\.\d+)?\s*(?:ms|s))",
             lambda m: _plain(m[1])),
    _pattern("requests_per_day", rf"{_NUMBER}\s*(k|thousand|m|million)?\s*requests?\s*(?:/|per|a)\s*day", _counted),
    _pattern("requests_per_s", rf"{_NUMBER}\s*requests?\s*(?:/|per|a)\s*s(?:ec(?:ond)?)?", lambda m: float(_plain(m[1]))),
    _pattern("sequences", rf"{_NUMBER}\s*(?:concurrent|simultaneous|parallel)\s+(?:{_AT_ONCE})", lambda m: int(float(_plain(m[1])))),
    _pattern("sequences", rf"{_NUMBER}\s*(?:{_AT_ONCE})\s+(?:at\s+once|at\s+a\s+time|at\s+the\s+same\s+time|concurrently|simultaneously|in\s+parallel)",
             lambda m: int(float(_plain(m[1])))),
    _pattern("monthly_users", rf"{_NUMBER}\s*(k|thousand|m|million|billion)?\s*(?:monthly\s+)?users(?:\s+(?:a|per)\s+month)?",
             _counted),
    _pattern("memory", rf"(?:{_LIMIT}\s+|in\s+|with\s+|on\s+)?(?:an?\s+)?(\d+(?:\.\d+)?\s*[kmgt]i?b)(?:\s+(?:of\s+)?(?:vram|ram|memory|gpu|card))?",
             _size),
    _pattern("context", r"(\d+(?:\.\d+)?\s*[km]?)\s*(?:tokens?\s+)?(?:of\s+|long\s+)?context(?:\s+(?:window|length))?",
             lambda m: _plain(m[1])),
    _pattern("context", r"context\s+(?:window\s+|length\s+)?(?:of\s+)?(\d+(?:\.\d+)?\s*[km]?)", lambda m: _plain(m[1])),
    _pattern("context", rf"(?:{_LIMIT}\s+)?(\d+(?:\.\d+)?\s*[km])(?:\s*tokens?)?", lambda m: _plain(m[1])),
    _pattern("use", r"non-?commercial(?:\s+use)?", "research"),
    _pattern("use", r"commercial(?:ly)?(?:\s+use)?", "commercial"),
    _pattern("use", r"(?:for\s+)?(?:academic|research)(?:\s+(?:use|only|purposes))*", "research"),
    _pattern("licence", r"permissive(?:ly)?(?:\s+licen[cs]ed?)?", "permissive"),
    _pattern("licence", r"apache(?:[\s-]*(?:licen[cs]e[\s-]*)?2(?:\.0)?)?(?:\s+licen[cs]ed?)?", "apache-2.0"),
    _pattern("licence", r"mit(?:\s+licen[cs]ed?)?", "mit"),
    _pattern("open_only", r"open[\s-]?(?:source|weights?|models?)(?:\s+only)?", value=True),
    _pattern("data_stays_here", r"(?:data stays (?:here|in-?house|local)|on-?prem(?:ises?)?|in-?house|privately|private|offline)",
             value=True),
    _pattern("here", r"(?:on|for)\s+(?:my|this|a)\s+(?:own\s+)?(?:laptop|machine|computer|pc|box)", value=True),
    _pattern("here", r"local(?:ly)?", value=True),
    _pattern("api_only", r"(?:by|via|from|through|over)?\s*(?:an?\s+|the\s+)?(?:hosted\s+|cloud\s+)?apis?(?:\s+only)?", value=True),
    _pattern("region", r"(?:in|for|within)\s+(?:the\s+)?(?:eu|europe|european union)", "EU"),
    _pattern("region", rf"(?:in|for|within|from)\s+(?:{_EU_STATES})", "EU"),
    _pattern("region", r"(?:in|for|within)\s+(?:the\s+)?(?:uk|united kingdom|britain)", "UK"),
    _pattern("region", r"(?:in|for|within)\s+(?:the\s+)?(?:us|usa|united states)", "US"),
    _pattern("precision", r"(?:in\s+|at\s+)?(?:fp16|bf16|16[\s-]?bits?)", "fp16"),
    _pattern("precision", r"(?:in\s+|at\s+)?(?:int8|8[\s-]?bits?)", "int8"),
    _pattern("precision", r"(?:in\s+|at\s+)?(?:int4|4[\s-]?bits?)", "int4"),
    _pattern("released_after", r"(?:released\s+|published\s+)?(?:after|since|newer than)\s+(\d{4}(?:-\d{2}){0,2})", lambda m: m[1]),
    _pattern("train_on_outputs", r"(?:train(?:ing)?\s+(?:other\s+models\s+)?on\s+(?:its\s+|the\s+)?outputs?|distil+(?:ation|ing)?)",
             value=True),
    _pattern("weight", r"(?:fast(?:est)?|quick|low[\s-]latency)", "latency=0.5"),
    _pattern("weight", r"(?:cheap(?:est)?|low[\s-]cost|inexpensive)", "cost=0.5"),
    _pattern("weight", r"(?:small(?:est)?|tiny|lightweight)", "memory=0.4"),
)  # fmt: skip
"""In this order, each taking its words away from those after it."""

_DEVICE_NOISE = re.compile(
    r"\b(?:nvidia|geforce|amd|radeon|intel|apple|instinct|tensor core|gpu|\d+\s*gi?b)\b", re.IGNORECASE
)

DOMAINS = frozenset({"biomedical", "legal"})
_SETTINGS = frozenset({"biomedical", "legal", "edge"})
"""Tasks that say where or about what rather than what to do."""

_NO = r"(?:without|except(?:\s+for)?|excluding|avoid(?:ing)?|but\s+no|but\s+not|no|not)"
_JUST = r"(?:only|just)"
_AMOUNT = re.compile(
    rf"(?<![\w.-]){_NUMBER}\s*(?:k|thousand|m|million|billion)?\s*"
    r"(?:documents?|texts?|pages?|files?|mails?|emails?|sentences?|images?|hours?|minutes?|rows?|records?|chunks?)(?![\w-])"
)
"""How much there is to do; no option depends on it, so it is said to be left over as one piece."""

_MODALITIES = {"image": r"(?:images?|pictures?|photos?|screenshots?)", "audio": r"(?:audio|speech|voice|recordings?)",
               "video": r"videos?", "pdf": r"pdfs?"}  # fmt: skip

_REPEATABLE = frozenset({"licence", "precision", "language", "modality", "weight", "exclude", "only"})

_FILLERS = (
    "a about an and answering any are as at be best by can card could do does document documents fit fits fitting find for from get give good "
    "gpu graphics great has have i in into is it its language languages licence license like me memory model models most must "
    "invoices invoice receipts mail mails emails articles reports reviews tickets letters customer customers company "
    "my need needs of on one only or our out over per please qa question questions recommend run runs running should some something task text texts that the "
    "them then there these this to top up us use used using want we what which will with within work works would you your"
)


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
        fillers = _FILLERS.split()
        amounts = [match[0].strip() for match in _AMOUNT.finditer(self.rest)]
        self.rest = _AMOUNT.sub(" | ", self.rest)
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
    device = _find_device(reader.rest, devices)
    if device is not None:
        reader.take("gpu", *device)
    task = _find_task(reader.rest, tasks)
    if task is None:
        raise UsageError(
            f"no task found in {text.strip()!r}; tasks: {', '.join(tasks)}",
            where="TASK",
            next_command="fmkit recommend chat",
        )
    for spelling in sorted(_spellings(task, tasks[task]), key=lambda spelling: (-len(spelling), spelling)):
        reader.take_all("task", _whole_words(spelling), _always(task))
    _take_domain(reader, task, tasks)
    for pattern in _PATTERNS:
        reader.take_all(pattern.option, pattern.words, pattern.value)
    for name, code in LANGUAGE_CODES.items():
        reader.take_all("language", rf"\b{name}\b", _always(code))
    for modality, spelling in _MODALITIES.items():
        reader.take_all("modality", rf"\b{spelling}\b", _always(modality))
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
        ("exclude", rf"{_NO}\s+(?:any\s+)?{name}"),
        ("only", rf"{_JUST}\s+{name}"),
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
        for spelling in sorted(_spellings(name, found), key=lambda spelling: (-len(spelling), spelling)):
            reader.take_all("domain", _whole_words(spelling), _always(found.domain))


def is_phrase(text: str) -> bool:
    """Whether a TASK is a phrase rather than one word.

    >>> is_phrase("long-document-qa"), is_phrase("chat in German")
    (False, True)
    """
    return len(text.split()) > 1


def known_task(word: str, tasks: Mapping[str, Task]) -> str:
    """The id of the task that one word names: an id, or a word the catalog lists for it; an error with the nearest."""
    folded = word.strip().lower().replace("_", "-")
    if folded in tasks:
        return folded
    named = [task_id for task_id, task in tasks.items() if folded in task.words]
    if len(named) == 1:
        return named[0]
    raise UsageError.unknown("task", word, tasks, where="TASK", next_command="fmkit recommend --help")


def _find_task(text: str, tasks: Mapping[str, Task]) -> str | None:
    """The task named first, the longest words where two start together; a domain only where nothing else is named.

    "Summarise legal contracts" is a summary, "a coding assistant" is for code.
    """
    hits: list[tuple[bool, int, int, str]] = []
    for task_id, task in tasks.items():
        for spelling in _spellings(task_id, task):
            match = re.search(_whole_words(spelling), text)
            if match is not None:
                hits.append((task_id in _SETTINGS, match.start(), -len(spelling), task_id))
    return min(hits)[3] if hits else None


def _spellings(task_id: str, task: Task) -> set[str]:
    return {task_id, task_id.replace("-", " "), task.name.lower(), *(word.lower() for word in task.words)}


def _whole_words(spelling: str) -> str:
    return rf"(?<![\w-]){re.escape(spelling)}(?:s|ing)?(?![\w-])"


def _find_device(text: str, devices: Mapping[str, str]) -> tuple[re.Match[str], str] | None:
    """The longest device name in the text with its count, as `--gpu` takes it."""
    best: tuple[int, re.Match[str], str] | None = None
    for spelling, device in devices.items():
        loose = r"[\s-]*".join(re.escape(piece) for piece in re.split(r"[\s-]+", spelling.lower()) if piece)
        bare = spelling.split()[0].isdigit()  # "4090" alone may count anything: only "on a 4090" is a card
        before = r"(?:\b(?:on|with|for|using)\s+(?:(?:an?|my|the|one|this|our)\s+)?)" if bare else ""
        after = r"(?!\s*(?:[km]\b|tokens?|documents?|users?|requests?|context|gi?b\b))" if bare else ""
        match = re.search(
            rf"{before}(?:(?<![\w.])(\d+|{'|'.join(_COUNTS)})\s*x?\s+)?(?<![\w-]){loose}(?:s)?(?![\w-]){after}", text
        )
        if match is not None and (best is None or (-len(spelling), device) < (-best[0], best[2].partition(":")[0])):
            count = _COUNTS.get(match[1], match[1])
            best = (len(spelling), match, device if count is None else f"{device}:{count}")
    return None if best is None else (best[1], best[2])


def device_spellings(devices: Mapping[str, Device], aliases: Mapping[str, str]) -> dict[str, str]:
    """Spellings of devices: ids, names, aliases, and shortened ones such as `h100` or `m3 max`.

    A short spelling that several devices bear means the one with the least memory: what fits there fits them all.
    """
    spellings: dict[str, str] = {}
    for device_id, device in sorted(devices.items(), key=lambda item: (item[1].memory_bytes or 0, item[0])):
        bare = " ".join(_DEVICE_NOISE.sub(" ", device.name.lower()).replace(",", " ").split())
        parts = device_id.removeprefix("apple-").split("-")
        shorter = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
        for spelling in (bare, *shorter):
            if len(spelling) > 1 and any(char.isdigit() for char in spelling):
                spellings.setdefault(spelling, device_id)
        series = bare.split()
        if len(series) > 1 and series[0] in {"rtx", "gtx", "rx"} and series[1].isdigit():
            spellings.setdefault(" ".join(series[1:]), device_id)
    spellings.update({alias.lower(): device_id for alias, device_id in aliases.items()})
    for device_id, device in devices.items():
        spellings.update({device_id: device_id, device.name.lower(): device_id})
    return spellings
