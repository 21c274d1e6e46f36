"""The form in which a model's chat template writes the call of a tool: learnt from the template itself, by letting it write one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmkit.trial.observe.structured import TOOL_NAME

CITY = "Xyzzyville"
"""A word that stands nowhere else, to find the arguments by."""

CALL_ID = "a1b2c3d4e"
"""Mistral's templates take ids of nine letters and digits only."""

SHOWN = 60
LIST_BEGIN = " [\n"
"""Calls may stand in a list: what is read is the first of them."""


@dataclass(frozen=True, kw_only=True)
class ToolForm:
    """How a call is written: `before` it stands what is the same in every call.

    With `path` a JSON object follows, in which the arguments are found under `path` and the tool's name under `name_path`; without, the
    city alone follows, up to `after`.
    """

    before: str
    after: str
    path: tuple[str | int, ...] | None
    name_path: tuple[str | int, ...] | None
    shown: str

    def arguments_in(self, text: str) -> str | None:
        """The arguments of the call in an answer, as JSON; None where there is no call in this form."""
        pattern = _loose(self.before)
        for match in re.finditer(pattern, text) if pattern else re.finditer(r"(?=\{)", text):
            found = self._arguments_at(text[match.end() :])
            if found is not None:
                return found
        return None

    def _arguments_at(self, rest: str) -> str | None:
        if self.path is None:
            match = re.match(rf"(.*?){_loose(self.after)}", rest, re.DOTALL)
            return None if match is None else json.dumps({"city": match.group(1).strip()})
        try:
            call, _ = json.JSONDecoder().raw_decode(rest.lstrip(LIST_BEGIN))
        except (ValueError, RecursionError):
            return None
        if self.name_path is not None and _at(call, self.name_path) != TOOL_NAME:
            return None
        found = _at(call, self.path)
        return None if found is None else json.dumps(found) if not isinstance(found, str) else found


def tool_form(tokenizer: Any, tools: Sequence[Mapping[str, Any]]) -> ToolForm | None:  # noqa: ANN401
    """The form of calls in the tokenizer's template; None where it takes no tools or writes no calls."""
    try:
        offered = _rendered(tokenizer, [{"role": "user", "content": "x"}], tools, prompt=True)
    except Exception:  # noqa: BLE001  templates raise what they like
        return None
    if TOOL_NAME not in offered:
        return None
    for arguments in ({"city": CITY}, json.dumps({"city": CITY})):
        call = {"id": CALL_ID, "type": "function", "function": {"name": TOOL_NAME, "arguments": arguments}}
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
        ]
        try:
            whole = _rendered(tokenizer, turns, tools, prompt=False)
        except Exception:  # noqa: BLE001, S112  the other way of giving arguments may do
            continue
        if CITY in whole:
            return _form(_said(offered, whole))
    return None


def _rendered(
    tokenizer: Any,  # noqa: ANN401
    turns: list[dict[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    prompt: bool,
) -> str:
    return str(tokenizer.apply_chat_template(turns, tools=list(tools), tokenize=False, add_generation_prompt=prompt))


def _said(prompt: str, whole: str) -> str:
    """What the template wrote for the assistant: what comes after the part that both texts share."""
    shared = next((at for at, pair in enumerate(zip(prompt, whole, strict=False)) if pair[0] != pair[1]), len(prompt))
    return whole[min(shared, whole.index(CITY)) :] if shared <= whole.index(CITY) else whole


def _form(said: str) -> ToolForm:
    """The form of a call that was written with the marked city."""
    city = said.index(CITY)
    for start in (at for at, char in enumerate(said[:city]) if char == "{"):
        try:
            call, length = json.JSONDecoder().raw_decode(said[start:])
        except ValueError:
            continue
        path = _path_to(call, CITY)
        if path is not None and start + length > city:
            return ToolForm(
                before=_marker(said[:start].rstrip(LIST_BEGIN)),
                after="",
                path=path[:-1],
                name_path=_path_to(call, TOOL_NAME),
                shown=_shown(said),
            )
    after = said[city + len(CITY) :].strip()
    return ToolForm(before=_marker(said[:city]), after=after[:12], path=None, name_path=None, shown=_shown(said))


def _marker(before: str) -> str:
    """What stands right before a call: not what a blank line parts from it, such as the place of a thought."""
    return before.rstrip().rpartition("\n\n")[2]


def _shown(text: str) -> str:
    line = " ".join(text.replace(CITY, "...").split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."


def _path_to(value: Any, wanted: str) -> tuple[str | int, ...] | None:  # noqa: ANN401  JSON
    """The keys that lead to a text in a JSON value; a text that is JSON itself, as some templates write arguments, is looked into."""
    if value == wanted:
        return ()
    if isinstance(value, str) and wanted in value:
        return ("",)
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        rest = _path_to(inner, wanted)
        if rest is not None:
            return (key, *rest)
    return None


def _at(value: Any, path: tuple[str | int, ...]) -> Any:  # noqa: ANN401  JSON
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _loose(text: str) -> str:
    """A pattern for the text in which white space may differ."""
    return r"\s*".join(re.escape(word) for word in text.split())
