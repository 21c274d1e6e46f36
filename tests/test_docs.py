"""The documents are run, not believed: outputs, commands, options, paths and exit codes that they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fmkit.cli.main import COMMANDS
from fmkit.errors import ExitCode
from tests.cli.running import here
from tests.readme import BLOCK, README, ROOT, block, labels

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")]
BLOCKS = list(BLOCK.finditer(README.read_text()))
PLANNED = {"accuracy", "report", "ui", "mcp", "doctor", "trials"}


def test_the_readme_shows_the_three_commands() -> None:
    assert [found["command"].split()[0] for found in BLOCKS] == ["recommend", "vram", "try"]


@pytest.mark.parametrize("found", BLOCKS, ids=lambda found: found["command"])
def test_outputs_are_true(found: re.Match[str]) -> None:
    fresh = block(found["command"])
    if found["varies"]:
        assert labels(found["body"]) == labels(fresh), "run `make docs`"
    else:
        assert found["body"] == fresh, "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    named = set(re.findall(r"(?:`|\$ )fmkit ([a-z][a-z_]*)", document.read_text()))
    assert named <= set(COMMANDS) | (PLANNED if document.name != "README.md" else set())


def test_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text()
    for command in ("recommend", "vram", "try"):
        known = set(re.findall(r"--[a-z][a-z-]*", here(capsys, command, "--help").out))
        for line in re.findall(rf"fmkit {command} [^`\n]*", text):
            assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", line)) <= known, line


def test_exit_codes_are_the_programs() -> None:
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)}
    assert told == set(ExitCode)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document: Path) -> None:
    paths = re.findall(
        r"`((?:[\w.-]+/)+|[\w./-]+\.(?:py|md|yaml|csv|json|txt)|Makefile|\.ci/run)`", document.read_text()
    )
    missing = [path for path in paths if not (ROOT / path).exists() and not (ROOT / "fmkit" / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_figures_may_vary_but_words_may_not() -> None:
    here_it_said = "peak  12.5 MiB\nOutput:\n  10 words\n\nload 3 s\non AMD EPYC, 2 cores"
    assert labels(here_it_said) == labels("peak  9.1 MiB\nload 12 s") == ["peak", "load"]
    assert labels("peak 1") != labels("top 1")


def test_a_line_that_came_or_went_is_noticed() -> None:
    here_it_said = "load 3 s\nno speed was predicted: nobody measured it\n"
    assert labels(here_it_said) == ["load", "no speed was predicted"]
    assert labels(here_it_said) != labels("load 3 s\nspeed was predicted\n")
    assert labels(here_it_said) != labels("load 3 s\n")
