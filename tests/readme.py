"""The outputs in README.md: found between markers, made anew by `make docs`, compared by tests/test_docs.py.

A block begins with `<!-- output: fmkit ... -->` and ends with `<!-- end -->`. Where the figures are measurements, the marker
is `<!-- output, figures vary: fmkit ... -->`, and only which lines there are and what stands before their figures is compared.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?P<head><!-- output(?P<varies>, figures vary)?: fmkit (?P<command>.+?) -->\n)(?P<body>.*?)(?P<tail><!-- end -->)",
    re.DOTALL,
)
COLUMNS = "96"


def output(command: str) -> str:
    """What a command line of fmkit prints on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "fmkit", *shlex.split(command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"fmkit {command}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def block(command: str) -> str:
    """The body of a block: the command and its output, fenced."""
    return f"```text\n$ fmkit {command}\n{output(command).rstrip()}\n```\n"


def labels(body: str) -> list[str]:
    """What each line is about: the plain words before its first figure or, in a line without one, before its colon.

    True whatever was measured: names of processors, the model's own text, what else the machine was doing, and the rests of wrapped lines
    are left out.
    """
    outside_the_models_text = re.sub(
        r"^Output:\n(?:  .*\n|\n)*|^other programs used .*\n", "", body, flags=re.MULTILINE
    )
    about = re.compile(r"([a-z][a-z :/-]*)[ ~<+-]*\d|([A-Za-z][a-z /-]*):")
    starts = (about.match(line.strip()) for line in outside_the_models_text.splitlines())
    return [" ".join((start[1] or start[2]).split()) for start in starts if start]


def refreshed(text: str) -> str:
    """The text with every block made anew."""
    return BLOCK.sub(lambda found: found["head"] + block(found["command"]) + found["tail"], text)


if __name__ == "__main__":
    README.write_text(refreshed(README.read_text()))
