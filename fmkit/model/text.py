"""What the files beside the weights say of a model's text: tokenizer, chat template, defaults of generation, positions."""

from __future__ import annotations

import msgspec

from fmkit.model.positions import RopeScaling

Setting = bool | int | float | str | tuple[int, ...]


class TextFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about text that sizing does not need and users do; None, or empty, is not known.

    `added_tokens` were put behind the tokenizer's own vocabulary, `highest_added_id` is the largest of their numbers. `chat_template`
    is text from a stranger: it is shown, and never rendered by what only sizes. `chat_templates` are the names of all there are, also where
    none was read; `unread` are files that would say more and were not asked for.
    """

    source: str
    tokenizer: str | None = None
    vocabulary_tokens: int | None = None
    added_tokens: int | None = None
    highest_added_id: int | None = None
    max_tokens: int | None = None
    special_tokens: dict[str, str] = {}
    chat_template: str | None = None
    chat_templates: tuple[str, ...] = ()
    generation: dict[str, Setting] = {}
    rope_scaling: RopeScaling | None = None
    unread: tuple[str, ...] = ()
