"""A virtual environment per tool, made once and kept in the user's cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment with these packages (`name==version`); made if it is not there, with pip's own settings."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = "-".join(
        [*(text.replace("==", "-") for text in requirements), f"py{sys.version_info[0]}.{sys.version_info[1]}"]
    )
    folder = cache / "fmkit-benchmarks" / name
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "done"
    if not done.exists():
        print(f"setting up {', '.join(requirements)} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [
            str(interpreter),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "-qq",
            "install",
            "-c",
            str(CONSTRAINTS),
        ]
        subprocess.run([*install, *requirements], check=True)
        done.touch()
    return interpreter
