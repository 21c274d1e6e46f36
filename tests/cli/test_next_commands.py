"""What an error tells to type next can be typed: every `fmkit ...` in it begins with a command that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import LEAVES

PACKAGE = Path(__file__).resolve().parents[2] / "fmkit"


def texts(tree: ast.AST) -> Iterator[str]:
    """The value of every `next_command`; of names, what is assigned to them in the same file."""
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "next_command"]
    names = {value.id for value in values if isinstance(value, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            named = {target.id for target in node.targets if isinstance(target, ast.Name)}
            values += [node.value] if named & names else []
    yield from (ast.unparse(value) for value in values)


def typed(program: str) -> list[str]:
    """The words after `fmkit ` in the next commands of a file."""
    return [word for text in texts(ast.parse(program)) for word in re.findall(r"\bfmkit ([\w-]+(?: [a-z]+)?)", text)]


def exists(words: str) -> bool:
    first, *rest = words.split()
    return first.startswith("--") or any(leaf in ([first], [first, *rest]) for leaf in LEAVES)


ALL = [
    (str(file.relative_to(PACKAGE)), words)
    for file in sorted(PACKAGE.rglob("*.py"))
    for words in typed(file.read_text())
]


@pytest.mark.parametrize(("file", "words"), ALL)
def test_the_next_command_exists(file: str, words: str) -> None:
    assert exists(words), f"{file}: fmkit {words}"


def test_the_search_finds_them_and_would_find_a_wrong_one() -> None:
    assert len(ALL) > 10
    assert typed('raise E("x", next_command="fmkit doctor")') == ["doctor"]
    assert typed('hint = f"fmkit tri {x}"\nraise E("x", next_command=hint)') == ["tri"]
    assert not exists("doctor")
    assert not exists("catalog lst")
    assert exists("--help")
