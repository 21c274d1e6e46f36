"""A model in llama.cpp as a speaker for the checks: asked through the library's server, which reads calls of tools itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fmkit.trial.observe.speaker import Answer, CannotAskError


class LlamaCppSpeaker:
    """Asks the server of xllamacpp."""

    tool_form = "llama.cpp reads for this template"

    def __init__(self, server: Any, *, chat: bool) -> None:  # noqa: ANN401
        self.chat = chat
        self._server = server

    def ask(
        self, prompt: str, most_tokens: int, *, tools: Sequence[Mapping[str, Any]] = (), json: bool = False
    ) -> Answer:
        """As `Speaker.ask`; nothing forces the answer into JSON."""
        del json
        answer = self._asked(prompt, most_tokens, **({"tools": list(tools)} if tools else {}))
        (choice,) = answer["choices"]
        message = choice.get("message") or {"content": choice.get("text")}
        calls = message.get("tool_calls") or ()
        words = (message.get("reasoning_content"), message.get("content"))
        return Answer(
            text="\n".join(part for part in words if part),
            cut_off=choice["finish_reason"] == "length",
            tool_arguments=str(calls[0]["function"]["arguments"]) if calls else None,
        )

    def count(self, prompt: str) -> int | None:
        """As `Speaker.count`, by a request for one token; None for a prompt that does not fit, which the server does not count."""
        try:
            answer = self._asked(prompt, 1)
        except CannotAskError:
            return None
        return int(answer["usage"]["prompt_tokens"])

    def _asked(self, prompt: str, most_tokens: int, **options: Any) -> Mapping[str, Any]:  # noqa: ANN401  JSON
        body = {"max_tokens": most_tokens, "temperature": 0, "cache_prompt": False, **options}
        if self.chat:
            turns = [{"role": "user", "content": prompt}]
            answer = self._server.handle_chat_completions({"messages": turns, **body})
        else:
            answer = self._server.handle_completions({"prompt": prompt, **body})
        if "error" in answer:
            raise CannotAskError(f"llama.cpp's server answers: {answer['error'].get('message', answer['error'])}")
        found: Mapping[str, Any] = answer
        return found
