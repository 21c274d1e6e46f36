"""Strict YAML: duplicate keys are faults, and text stays text (dates, `no`, `on`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from fmkit.catalog.faults import Fault, value_faults

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

# The C parser is about seven times as fast; PyYAML lacks it where libyaml was absent when it was built.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BOOL = "tag:yaml.org,2002:bool"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class StrictLoader(_Base):  # type: ignore[misc]
    """A safe loader that collects duplicate keys, and reads neither dates nor YAML 1.1's yes/no/on/off."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[int, str]] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401 - PyYAML has no types for nodes of the C loader
        """The mapping of a node; keys written twice are noted with their line."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                continue  # a list or mapping as key: PyYAML itself refuses it
            if key.value in seen:
                self.duplicates.append((key.start_mark.line + 1, key.value))
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _TIMESTAMP)]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(_BOOL, re.compile("(?:true|false)$"), ["t", "f"])


def read_yaml(path: Path, name: str, kind: type[T], faults: list[Fault]) -> T | None:
    """The file as a `kind`; faults are added to `faults` under `name`, and None is returned."""
    try:
        loader = StrictLoader(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        faults.append(Fault(name, "$", f"not readable as UTF-8 text: {error}"))
        return None
    try:
        value = loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "$" if mark is None else f"line {mark.line + 1}"
        faults.append(Fault(name, line, f"not YAML: {getattr(error, 'problem', None) or error}"))
        return None
    finally:
        loader.dispose()
    wrong = [Fault(name, f"line {line}", f"key {key!r} is written twice") for line, key in loader.duplicates]
    wrong += [Fault(name, place, message) for place, message in value_faults(value, kind)]
    faults += wrong
    return None if wrong else msgspec.convert(value, kind)
