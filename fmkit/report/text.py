"""What the files beside the weights say of a model's text: in a line, or whole. Texts of strangers are cut and shown, nothing is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import say
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.model.text import TextFacts


def text_line(text: TextFacts) -> str | None:
    """The facts in one line; None where there are none to show.

    >>> from fmkit.model.text import TextFacts
    >>> text_line(TextFacts(source="x", chat_template="{{ x }}", special_tokens={"eos": "</s>"}, added_tokens=3))
    'text: chat template of 7 characters, ends with </s>, 3 added tokens'
    """
    facts = []
    if text.chat_template is not None:
        facts.append(f"chat template of {len(text.chat_template):,} characters")
    elif text.chat_templates:
        facts.append("a chat template")
    elif text.tokenizer is not None or text.special_tokens:
        facts.append("no chat template")
    if "eos" in text.special_tokens:
        facts.append(f"ends with {text.special_tokens['eos']}")
    if text.vocabulary_tokens is not None:
        facts.append(f"{text.vocabulary_tokens:,} words in the vocabulary")
    if text.added_tokens is not None:
        facts.append(f"{text.added_tokens:,} added tokens")
    if text.max_tokens is not None:
        facts.append(f"the tokenizer allows {format_tokens(text.max_tokens)} tokens")
    if text.unread:
        facts.append(f"not read: {', '.join(text.unread)} (--detail reads them)")
    return f"text: {', '.join(facts)}" if facts else None


def print_text(text: TextFacts, console: Console) -> None:
    """All facts, the chat template line by line."""
    say(console, f"Text, from {text.source}", style="bold")
    rows: list[tuple[str, object]] = [
        ("tokenizer", text.tokenizer),
        ("words in the vocabulary", text.vocabulary_tokens),
        ("added tokens", text.added_tokens),
        ("highest added number", text.highest_added_id),
        ("the tokenizer allows", text.max_tokens),
        *((f"{name} token", token) for name, token in text.special_tokens.items()),
        *((f"generation, {name}", value) for name, value in text.generation.items()),
    ]
    scaling = text.rope_scaling
    if scaling is not None:
        factor = "" if scaling.factor is None else f" by {scaling.factor:g}"
        has = "has it already" if scaling.applied else "does not have it yet"
        rows.append(("RoPE scaling", f"{scaling.kind}{factor} from {scaling.trained_tokens:,} tokens; the limit {has}"))
    for name, value in rows:
        if value is not None:
            say(console, f"{name}: {value:,}" if type(value) is int else f"{name}: {value}", indent=2)
    if text.chat_template is None:
        say(
            console, f"chat template: {'there is one, which was not read' if text.chat_templates else 'none'}", indent=2
        )
        return
    others = [name for name in text.chat_templates if name != "default"]
    say(console, "chat template" + (f" (there are also {', '.join(others)})" if others else "") + ":", indent=2)
    for line in text.chat_template.splitlines():
        say(console, line, indent=4)
