"""A model in transformers as a speaker, and everything its checks need to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fmkit.trial.checks import agreement, held_out_text, needle, perplexity, tool_call, valid_json
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Turn
from fmkit.trial.loaded import Loaded
from fmkit.trial.observe.needle import look_for_needles
from fmkit.trial.observe.predictions import compare
from fmkit.trial.observe.scoring import score_held_out, score_text
from fmkit.trial.observe.speaker import Answer, CannotAskError
from fmkit.trial.observe.structured import ask_for_call, ask_for_json
from fmkit.trial.observe.tool_form import ToolForm, tool_form
from fmkit.trial.tasks.text import has_template, prompt_ids, stop_ids


class TransformersSpeaker:
    """Asks a loaded model that continues text; calls of tools are read in the form in which the model's own template writes them."""

    def __init__(self, loaded: Loaded) -> None:
        self.chat = has_template(loaded)
        self.tool_form = "that the model's template writes"
        self._loaded = loaded
        self._form: ToolForm | None = None

    def ask(
        self, prompt: str, most_tokens: int, *, tools: Sequence[Mapping[str, Any]] = (), json: bool = False
    ) -> Answer:
        """As `Speaker.ask`; nothing forces the answer into JSON."""
        del json
        form = self._tool_form(tools) if tools else None
        options = {"tools": list(tools)} if tools else {}
        ids = prompt_ids(self._loaded, (Turn(role="user", content=prompt),), **options).to(self._loaded.device)
        out = self._loaded.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=1,
            max_new_tokens=most_tokens,
        )
        tokens = out[0, ids.shape[1] :].tolist()
        cut_off = not tokens or tokens[-1] not in stop_ids(self._loaded)
        tokenizer = self._loaded.tokenizer
        text = str(tokenizer.decode(tokens, skip_special_tokens=form is None)).strip()
        arguments = None if form is None else form.arguments_in(text)
        return Answer(text=text, cut_off=cut_off, tool_arguments=arguments)

    def count(self, prompt: str) -> int:
        """As `Speaker.count`."""
        return int(prompt_ids(self._loaded, (Turn(role="user", content=prompt),)).shape[1])

    def _tool_form(self, tools: Sequence[Mapping[str, Any]]) -> ToolForm:
        form = tool_form(self._loaded.tokenizer, tools)
        if form is None:
            raise CannotAskError("the model's template takes no tools")
        self.tool_form = f"of the model's template ({form.shown})"
        return form


def observe(
    loaded: Loaded, seen: Evidence, checks: Sequence[str], contexts: Sequence[int], say: Callable[[str], None]
) -> None:
    """Note in `seen` what the checks named need of a model that continues text; each asks no more than it was named for."""
    request = loaded.request
    speaker = TransformersSpeaker(loaded)
    held_out = None if request.held_out_path is None else Path(request.held_out_path)
    if valid_json.NAME in checks:
        ask_for_json(speaker, seen)
    if tool_call.NAME in checks:
        ask_for_call(speaker, seen)
    if held_out_text.NAME in checks and held_out is not None:
        score_held_out(loaded, seen, held_out)
    given = request.reference_path or request.held_out_path
    if perplexity.NAME in checks and given is not None:
        say("scoring a text")
        seen.text_score = score_text(loaded, Path(given))
    if set(agreement.NAMES) & set(checks) and request.predictions_from is not None:
        say("comparing predictions")
        seen.agreement = compare(loaded, Path(request.predictions_from))
    if needle.NAME in checks and held_out is not None:
        look_for_needles(speaker, seen, contexts, held_out, say)
