"""A model that can be asked in words, whatever runs it: what the needle, the JSON and the tool call need of an engine. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class CannotAskError(Exception):
    """The engine or the model does not take what was asked; the message says why."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was said. `cut_off`: the limit came before the end. `tool_arguments`: those of a call, as JSON, where one was parsed."""

    text: str
    cut_off: bool = False
    tool_arguments: str | None = None


class Speaker(Protocol):
    """Asks greedily, in the model's own chat template if `chat`."""

    chat: bool
    """Whether prompts are turns of a chat; else they are continued."""

    tool_form: str
    """In which form calls of tools are parsed, in words."""

    def ask(
        self, prompt: str, most_tokens: int, *, tools: Sequence[Mapping[str, Any]] = (), json: bool = False
    ) -> Answer:
        """The answer, at most so many tokens long; raises CannotAskError for what can't be asked."""

    def count(self, prompt: str) -> int | None:
        """Tokens of the prompt as it is sent, the template's included; None where nobody counts."""
