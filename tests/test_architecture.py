"""Who may import whom, read from the syntax: imports inside functions and type-checking blocks count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "fmkit"

BASE = {"errors", "units", "machine", "subprocesses", "whole_files"}
PURE = {"model", "sizing", "speed", "selection", *BASE}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "units": {"errors"},
    "machine": {"errors", "units"},
    "subprocesses": set(),
    "whole_files": set(),
    "model": BASE,
    "sizing": {"model", *BASE},
    "speed": {"model", "sizing", *BASE},
    "selection": {"sizing", "speed", "model", *BASE},
    "results": {"model", "sizing", "speed", "selection", *BASE},
    "catalog": PURE,
    "hub": PURE,
    "hardware": PURE,
    "trial": {"results", *PURE},
    "api": {"catalog", "hub", "hardware", "trial", "results", *PURE},
    "report": {"results", "units"},
    "cli": {"api", "report", "results", "errors", "units"},
}
"""For each room what it may import beside itself. `report` sees result types only, some of which are sizing's and speed's."""

RESULT_TYPES = {
    "fmkit.model.quality",
    "fmkit.model.text",
    "fmkit.sizing.estimate",
    "fmkit.speed.estimate",
    "fmkit.speed.rates",
    "fmkit.selection.facts",
    "fmkit.selection.permission",
}
"""Modules of pure packages whose types `results` is made of: `report` may name them."""

HEAVY = {"torch", "transformers", "accelerate", "safetensors", "psutil", "bitsandbytes", "tokenizers", "xllamacpp"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    """The first part of the path below fmkit/: the package, or the module beside them."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            yield from (f"fmkit.{alias.name}" for alias in node.names) if module == "fmkit" else (module,)


def named(file: Path) -> str:
    return str(file.relative_to(PACKAGE.parent))


def arrows(file: Path) -> Iterator[tuple[str, str]]:
    """(room, module) of each import of our own."""
    for module in imported(file):
        parts = module.split(".")
        if parts[0] == "fmkit" and len(parts) > 1:
            yield parts[1], module


@pytest.mark.parametrize("file", FILES, ids=named)
def test_arrows(file: Path) -> None:
    own = room(file)
    if own in {"__init__", "__main__"}:
        return
    wrong = [
        module
        for target, module in arrows(file)
        if target not in ALLOWED[own] | {own, "__version__"} and not (own == "report" and module in RESULT_TYPES)
    ]
    assert wrong == [], f"{own} may import {sorted(ALLOWED[own])} only"


def test_every_room_is_known() -> None:
    assert {room(file) for file in FILES} - {"__init__", "__main__"} <= set(ALLOWED)


def test_no_module_imports_in_a_circle() -> None:
    graph = {name: targets & set(ALLOWED) for name, targets in ALLOWED.items()}
    done: set[str] = set()
    while len(done) < len(graph):
        free = {name for name, targets in graph.items() if name not in done and targets <= done}
        assert free, f"a circle among {sorted(set(graph) - done)}"
        done |= free


@pytest.mark.parametrize("file", FILES, ids=named)
def test_heavy_libraries_are_trials_alone(file: Path) -> None:
    if room(file) == "trial":
        return
    heavy = {module.split(".")[0] for module in imported(file)} & HEAVY
    assert heavy == set()
    if room(file) != "hub":
        assert "huggingface_hub" not in {module.split(".")[0] for module in imported(file)}


def test_the_reader_sees_imports_inside_functions(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("import os\ndef late():\n    from fmkit.hub import config\n    import torch.nn\n")
    assert set(imported(file)) == {"os", "fmkit.hub", "torch.nn"}
