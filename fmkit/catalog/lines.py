"""The line of a YAML file on which a fault's path stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from fmkit.catalog.yaml_file import StrictLoader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.catalog.faults import Fault
    from fmkit.catalog.sources import Sources


def with_lines(faults: Iterable[Fault], sources: Sources) -> list[Fault]:
    """The faults with the line each stands on, where its file is YAML; sorted, each once."""
    found: set[Fault] = set()
    roots: dict[str, Any] = {}
    for fault in faults:
        if fault.file.endswith(".yaml") and fault.path.startswith("$"):
            if fault.file not in roots:
                roots[fault.file] = _read_nodes(sources, fault.file)
            line = line_of(roots[fault.file], fault.path)
            found.add(msgspec.structs.replace(fault, line=line))
        else:
            found.add(fault)
    return sorted(found)


def line_of(root: Any, path: str) -> int | None:  # noqa: ANN401 - PyYAML has no types for nodes of the C loader
    """The line of a path such as `$.models.gpt2.tuning`, or of as much of it as there is; keys may hold dots."""
    node, rest, line = root, path.removeprefix("$"), None if root is None else root.start_mark.line + 1
    while node is not None and rest:
        step = _step(node, rest)
        if step is None:
            break
        node, rest, line = step
    return line


def _step(node: Any, rest: str) -> tuple[Any, str, int] | None:  # noqa: ANN401
    """One key or place further: the node there, what is left of the path, and the line."""
    if isinstance(node, yaml.SequenceNode) and rest.startswith("["):
        place, _, after = rest[1:].partition("]")
        if place.isdigit() and int(place) < len(node.value):
            item = node.value[int(place)]
            return item, after, item.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and rest.startswith("."):
        keys = [(key, value) for key, value in node.value if _leads(rest[1:], str(key.value))]
        if keys:
            key, value = max(keys, key=lambda pair: len(str(pair[0].value)))
            return value, rest[1 + len(str(key.value)) :], key.start_mark.line + 1
    return None


def _leads(rest: str, key: str) -> bool:
    return rest == key or rest.startswith((f"{key}.", f"{key}["))


def _read_nodes(sources: Sources, name: str) -> Any:  # noqa: ANN401
    try:
        loader = StrictLoader(sources.path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    try:
        return loader.get_single_node()
    except yaml.YAMLError:
        return None
    finally:
        loader.dispose()
