"""What a start-up log says, whichever engine wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from fmkit.units import GIB, MIB

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_MEMORY = re.compile(r"\d\s?(?:[GM]i?B)\b|buffer size|#tokens|blocks:", re.IGNORECASE)
_NO_MEMORY = re.compile(
    r"it/s|\bMB/s|GB/s|model buffer type|token to piece|recommendedMaxWorkingSetSize", re.IGNORECASE
)

MOST_LINE_CHARACTERS = 20_000
MOST_NOT_UNDERSTOOD = 20
SHOWN_CHARACTERS = 160

NUMBER = r"(-?\d{1,8}(?:\.\d{1,15})?)"
"""A printed amount, as a group of a pattern; of no more digits than any machine's memory has."""

COUNT = r"(\d{1,3}(?:,\d{3}){1,3}|\d{1,12})"
"""A printed count, its digits in groups or not, as a group of a pattern."""

MOST_DIGITS = 12

FACTORS = {"GiB": GIB, "GB": GIB, "MiB": MIB, "MB": MIB}
"""Bytes of the units as vLLM, llama.cpp and SGLang print them: their GB and MB are divided by powers of 1024 (vLLM's
early releases, SGLang to this day)."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of memory in a log: of which part, on which device or rank, and the line that said it.

    `rounding_bytes` is half a unit of the last digit printed: the figure can't be held to less.
    """

    part: str
    bytes: int
    device: str = ""
    rounding_bytes: int = 0
    line: str = ""


class StartupLog(msgspec.Struct, frozen=True, kw_only=True):
    """What was understood of a log.

    `model` is the name the log gives (a Hub id or a path), `options` engine options by fmkit's names, `facts` what else
    was read, as it was printed. `context_tokens` is for one sequence. `missing` says which lines of a whole log are
    absent, `refused` which figures can't be; `not_understood` holds lines that speak of memory and match nothing known.
    """

    engine: str
    figures: tuple[Figure, ...]
    version: str | None = None
    model: str | None = None
    weights: str | None = None
    context_tokens: int | None = None
    sequences: int = 1
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    options: dict[str, str] = {}
    facts: dict[str, str] = {}
    kv_tokens: int | None = None
    concurrency: tuple[float, int] | None = None
    total_bytes: int | None = None
    missing: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()

    def parts(self, part: str) -> list[Figure]:
        """The figures of one part, in the order of the log."""
        return [figure for figure in self.figures if figure.part == part]

    def most(self, part: str) -> Figure | None:
        """The largest figure of a part over the ranks that print one each; of one rank's, the most precise."""
        by_rank: dict[str, Figure] = {}
        for each in self.parts(part):
            known = by_rank.get(each.device)
            if known is None or each.rounding_bytes < known.rounding_bytes:
                by_rank[each.device] = each
        return max(by_rank.values(), key=lambda each: each.bytes, default=None)


def lines_of(text: str) -> list[str]:
    r"""The lines of a log without colour codes, control characters and comments of who pasted it; overlong ones cut.

    >>> lines_of("\x1b[34mINFO\x1b[0m load\rdone\n")
    ['INFO load', 'done']
    """
    plain = _ANSI.sub("", text)
    lines = (_CONTROL.sub("", line[:MOST_LINE_CHARACTERS]).rstrip() for line in re.split(r"\r\n|\n|\r", plain))
    return [line for line in lines if line.strip() and not line.startswith("# ")]


def amount(number: str, unit: str) -> tuple[int, int]:
    """Bytes of a printed amount, and half a unit of its last digit.

    >>> amount("14.99", "GiB")
    (16095389942, 5368709)
    """
    digits = len(number.partition(".")[2])
    factor = FACTORS[unit]
    return round(float(number) * factor), round(factor * 0.5 * 10**-digits)


def whole(count: str) -> int:
    """A printed count as a number.

    >>> whole("131,072"), whole("4096")
    (131072, 4096)
    """
    return int(count.replace(",", ""))


def stated_count(settings: Mapping[str, str], *names: str) -> int | None:
    """The first of these settings that is a whole number above zero; None where none is.

    >>> stated_count({"tp_size": "2"}, "tp_size"), stated_count({"tp_size": "auto"}, "tp_size", "size")
    (2, None)
    """
    for name in names:
        value = settings.get(name, "")
        if value.isdecimal() and len(value) <= MOST_DIGITS and int(value) > 0:
            return int(value)
    return None


def figure(part: str, number: str, unit: str, line: str, device: str = "") -> Figure:
    """A figure as its line prints it."""
    size, rounding = amount(number, unit)
    return Figure(part=part, bytes=size, device=device, rounding_bytes=rounding, line=line.strip()[:SHOWN_CHARACTERS])


def without_negative(log: StartupLog) -> StartupLog:
    """The log without amounts below zero, which are said instead: vLLM prints one where nothing was left for the cache."""
    below = [each.line for each in log.figures if each.bytes < 0]
    if not below:
        return log
    return msgspec.structs.replace(
        log,
        figures=tuple(each for each in log.figures if each.bytes >= 0),
        refused=tuple(f"a size below zero is not counted: {line}" for line in dict.fromkeys(below)),
    )


def speaks_of_memory(line: str) -> bool:
    """Whether a line names an amount of memory, so that not understanding it is worth saying."""
    return bool(_MEMORY.search(line)) and not _NO_MEMORY.search(line)


def ranks_in(names: Iterable[str]) -> int:
    """The degree of tensor parallelism, by the highest rank among names such as TP3 or TP3_EP3; 1 where none has a rank.

    >>> ranks_in(["", "TP1", "TP3_EP3"]), ranks_in([""])
    (4, 1)
    """
    found = [int(hit[1]) for name in names if (hit := re.match(r"TP(\d{1,4})", name))]
    return max(found, default=0) + 1


def shown(lines: list[str]) -> tuple[str, ...]:
    """Lines for people: each cut, each once, the first few."""
    cut = dict.fromkeys(line.strip()[:SHOWN_CHARACTERS] for line in lines)
    return tuple(cut)[:MOST_NOT_UNDERSTOOD]
