"""What is wrong with a catalog file: found all at once, each with its file, its place and what was expected."""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.errors import CatalogInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Fault(msgspec.Struct, frozen=True, order=True):
    """One fault: the file (relative to the catalog), the path in it such as `$.models.gpt2.tuning`, and what was expected.

    `line` is where the path stands in a YAML file; a fault of a CSV file has its line in the path. `names` is the name that leads
    nowhere, where that is the fault: it may follow from another (`fmkit.catalog.checks.follow_ups`).
    """

    file: str
    path: str
    message: str
    line: int | None = None
    names: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}: {self.message}"


def invalid(faults: Iterable[Fault], *, where: str, whose: str = "the catalog") -> CatalogInvalidError:
    """The error that lists `faults`, sorted by file."""
    return CatalogInvalidError(f"{whose} has {listed([str(fault) for fault in sorted(set(faults))])}", where=where)


def listed(faults: Sequence[str]) -> str:
    r"""How many faults there are, and each on a line.

    >>> listed(["licences.yaml:3: $.licences: wrong"])
    '1 fault:\n  licences.yaml:3: $.licences: wrong'
    """
    noun = "fault" if len(faults) == 1 else "faults"
    return "\n".join((f"{len(faults)} {noun}:", *(f"  {fault}" for fault in faults)))


def value_faults(value: object, kind: object, path: str = "$") -> list[tuple[str, str]]:
    """Every (path, message) where `value` is not what the type `kind` asks for; empty when it converts.

    msgspec stops at the first fault of a value, and writes `[...]` for the key of a mapping. So a value that does not
    convert is taken apart: structs by field, mappings by key, tuples by place.

    >>> class Point(msgspec.Struct, forbid_unknown_fields=True):
    ...     x: int
    ...     y: int
    >>> value_faults({"a": {"x": "1", "z": 2}}, dict[str, Point])
    [('$.a.x', 'Expected `int`, got `str`'), ('$.a.y', 'missing'), ('$.a.z', 'unknown key; known: x, y')]
    """
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        parts = list(_part_faults(value, kind, path))
        return parts or [(path, _own_message(error))]
    return []


def _own_message(error: msgspec.ValidationError) -> str:
    """The message without msgspec's own path, which lacks the keys of mappings."""
    return str(error).split(" - at `", maxsplit=1)[0]


def _part_faults(value: object, kind: object, path: str) -> Iterator[tuple[str, str]]:
    kind = _without_none(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        yield from _struct_faults(value, kind, path)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield from value_faults(item, arguments[1], f"{path}.{key}")
            else:
                yield path, f"key {key!r} is not text: quote it"
    elif origin is tuple and isinstance(value, list):
        for place, item in enumerate(value):
            yield from value_faults(item, arguments[0], f"{path}[{place}]")


def _struct_faults(value: dict[Any, Any], kind: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in value:
            yield from value_faults(value[name], field.type, f"{path}.{name}")
        elif field.required:
            yield f"{path}.{name}", "missing"
    for name in value:
        if name not in fields:
            yield f"{path}.{name}", f"unknown key; known: {', '.join(fields)}"


def _without_none(kind: object) -> object:
    """`X` for `X | None`; any other type as it is."""
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind
    rest = [part for part in typing.get_args(kind) if part is not type(None)]
    return rest[0] if len(rest) == 1 else kind
