"""The engines that can run a trial, each in one file, imported in the child process only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmkit.trial.engines.base import Engine
    from fmkit.trial.request import TrialRequest

ENGINES = {
    "transformers": "fmkit.trial.engines.transformers:TransformersEngine",
    "llama.cpp": "fmkit.trial.engines.llama_cpp:engine_for",
}
"""Where the class of each engine is, or the function that chooses it."""

RANK_ENGINE = "fmkit.trial.ranks.engine:RankEngine"
"""The engine of one rank of a divided model: transformers alone can divide one here."""


def open_engine(request: TrialRequest) -> Engine:
    """The engine of a request; imports its libraries."""
    place = ENGINES[request.engine] if request.ranks is None else RANK_ENGINE
    module, _, name = place.partition(":")
    engine: Engine = getattr(import_module(module), name)(request)
    return engine
