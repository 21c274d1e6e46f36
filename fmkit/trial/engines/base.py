"""What an engine has to do for a trial. To add one: a file here, and its name in `ENGINES` (fmkit/trial/engines/__init__.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fmkit.results.trial import EngineVersion
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply
from fmkit.trial.request import Timing, TrialRequest


class Engine(Protocol):
    """One engine with one request: `fmkit.trial.child` calls these in order, in a process of its own."""

    task: str
    """What is asked of the model: `text generation`, `embedding`, ..."""

    device: str
    """The device it runs on, in words."""

    warnings: list[str]
    """What the user has to know about this run."""

    def version(self) -> EngineVersion:
        """Name and version of the engine and of the libraries it rests on."""

    def warm_up(self) -> None:
        """Do once, on a tiny scale, what would otherwise be charged to the model: imports, first allocations."""

    def load(self) -> None:
        """Load or make the model."""

    def use(self, request: TrialRequest) -> None:
        """Take the workload of another request from now on; the model stays loaded."""

    def recover(self) -> None:
        """Give back what a workload that failed left behind."""

    def reserved_bytes(self) -> int:
        """Device memory that the engine's allocator holds now; 0 on a CPU."""

    def prefill_memory(self) -> dict[str, int]:
        """Process the input once while counting memory; bytes by part."""

    def decode_memory(self) -> dict[str, int]:
        """Decode one token at full context while counting memory; bytes by part; empty for a model that does not decode."""

    def timing(self) -> Timing:
        """Process the input and decode a few tokens, several times, without counting memory."""

    def answer(self) -> Reply:
        """The model's real output for the request's input, or for the packaged example."""

    def reply(self, item: Item) -> Reply:
        """The model's real output for one of many inputs."""

    def record_predictions(self, path: Path) -> None:
        """Write what the model predicts at each position of the request's text; UsageError where the engine does not show that."""

    def evidence(self, checks: tuple[str, ...]) -> Evidence:
        """What the checks named need to know; asks the model for what it has not seen yet."""
