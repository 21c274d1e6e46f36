"""The text a trial works on: what the user gave, else an example that ships with fmkit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmkit.trial.request import TrialRequest

INPUTS = Path(__file__).parent / "inputs"
"""The example inputs that the project made itself (examples/inputs/make_inputs.py)."""


def given_text(request: TrialRequest, packaged: str) -> str:
    """The text of `--prompt`, else of the file of `--input`, else of the packaged example of that name."""
    if request.prompt is not None:
        return request.prompt
    path = request.input_path
    if path is not None and Path(path).suffix.lower() in (".txt", ".md"):
        return Path(path).read_text(encoding="utf-8").strip()
    return (INPUTS / packaged).read_text(encoding="utf-8").strip()
