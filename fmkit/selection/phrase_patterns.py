"""The words by which a phrase names an option of the command line, as patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec


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


def _pattern(option: str, words: str, value: Callable[[re.Match[str]], Any] | object) -> Pattern:
    constant = value if callable(value) else always(value)
    return Pattern(option=option, words=re.compile(rf"(?<![\w-]){words}(?![\w-])"), value=constant)


def always(value: object) -> Callable[[re.Match[str]], object]:
    """A value that does not depend on the words."""
    return lambda _: value


def _spelt(match: re.Match[str]) -> str:
    """The first group without what separates digits."""
    return match[1].replace(",", "").replace(" ", "")


def _number(match: re.Match[str]) -> float:
    return float(_spelt(match))


def _count(match: re.Match[str]) -> int:
    return int(_number(match))


def _size(match: re.Match[str]) -> str:
    """The size as people write it: the phrase was read in lower case. Of cards GB means GiB, as on their boxes."""
    size = _spelt(match).upper().replace("IB", "iB")
    of_a_card = re.search(r"(?:vram|gpu|card)$", match[0]) is not None
    return size.replace("GB", "GiB") if of_a_card else size


def _scaled_count(match: re.Match[str]) -> int:
    scale = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "billion": 1e9}.get(match[2] or "", 1)
    return round(_number(match) * scale)


PATTERNS: tuple[Pattern, ...] = (
    _pattern("min_tokens_per_s", rf"(?:{_LIMIT}\s+)?{_NUMBER}\s*tok(?:en)?s?\s*(?:/|per|a)\s*s(?:ec(?:ond)?)?",
             _number),
    _pattern("max_ttft", r"(?:first token|ttft)\s*(?:in|within|under|below|of)?\s*(\d+(?:\.\d+)?\s*(?:ms|s))",
             _spelt),
    _pattern("requests_per_day", rf"{_NUMBER}\s*(k|thousand|m|million)?\s*requests?\s*(?:/|per|a)\s*day", _scaled_count),
    _pattern("requests_per_s", rf"{_NUMBER}\s*requests?\s*(?:/|per|a)\s*s(?:ec(?:ond)?)?", _number),
    _pattern("sequences", rf"{_NUMBER}\s*(?:concurrent|simultaneous|parallel)\s+(?:{_AT_ONCE})", _count),
    _pattern("sequences", rf"{_NUMBER}\s*(?:{_AT_ONCE})\s+(?:at\s+once|at\s+a\s+time|at\s+the\s+same\s+time|concurrently|simultaneously|in\s+parallel)",
             _count),
    _pattern("monthly_users", rf"{_NUMBER}\s*(k|thousand|m|million|billion)?\s*(?:monthly\s+)?users(?:\s+(?:a|per)\s+month)?",
             _scaled_count),
    _pattern("memory", rf"(?:{_LIMIT}\s+|in\s+|with\s+|on\s+)?(?:an?\s+)?(\d+(?:\.\d+)?\s*[kmgt]i?b)(?:\s+(?:of\s+)?(?:vram|ram|memory|gpu|card))?",
             _size),
    _pattern("context", r"(\d+(?:\.\d+)?\s*[km]?)\s*(?:tokens?\s+)?(?:of\s+|long\s+)?context(?:\s+(?:window|length))?",
             _spelt),
    _pattern("context", r"context\s+(?:window\s+|length\s+)?(?:of\s+)?(\d+(?:\.\d+)?\s*[km]?)", _spelt),
    _pattern("context", rf"(?:{_LIMIT}\s+)?(\d+(?:\.\d+)?\s*[km])(?:\s*tokens?)?", _spelt),
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

NO = r"(?:without|except(?:\s+for)?|excluding|avoid(?:ing)?|but\s+no|but\s+not|no|not)"
JUST = r"(?:only|just)"
AMOUNT = re.compile(
    rf"(?<![\w.-]){_NUMBER}\s*(?:k|thousand|m|million|billion)?\s*"
    r"(?:documents?|texts?|pages?|files?|mails?|emails?|sentences?|images?|hours?|minutes?|rows?|records?|chunks?)(?![\w-])"
)
"""How much there is to do; no option depends on it, so it is said to be left over as one piece."""

MODALITIES = {"image": r"(?:images?|pictures?|photos?|screenshots?)", "audio": r"(?:audio|speech|voice|recordings?)",
               "video": r"videos?", "pdf": r"pdfs?"}  # fmt: skip

FILLERS = (
    "a about an and answering any are as at be best by can card could do does document documents fit fits fitting find for from get give good "
    "gpu graphics great has have i in into is it its language languages licence license like me memory model models most must "
    "invoices invoice receipts mail mails emails articles reports reviews tickets letters customer customers company "
    "my need needs of on one only or our out over per please qa question questions recommend run runs running should some something task text texts that the "
    "them then there these this to top up us use used using want we what which will with within work works would you your"
)
"""Words that say nothing of a task or of a constraint."""
