"""Tokenizer, generation and chat template files of a model, read as data: limited in size, nothing rendered, nothing run."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard

from msgspec.structs import replace

from fmkit.errors import FmkitError, UnsafeInputError
from fmkit.hub.document import parse_object
from fmkit.model.text import Setting, TextFacts

TEMPLATE = "chat_template.jinja"
MAX_TEXT_BYTES = 4_000_000
"""Of one file; the longest tokenizer_config.json seen has 1.2 MB."""

MAX_TEMPLATE_CHARS = 200_000
"""The longest seen has 20,000."""

MAX_ID = 2**32
_ID = re.compile(r"[0-9]{1,10}")
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
_NO_LIMIT_TOKENS = 10**9
"""Tokenizers without a limit state 1e30."""


def read_text_files(
    there: Collection[str], read: Callable[[str], bytes], where: str
) -> tuple[TextFacts | None, tuple[str, ...]]:
    """What the text files among those `there` say, and notes on those that can't be read: none of them stops the sizing."""
    facts = TextFacts(source="")
    sources: list[str] = []
    notes: list[str] = []
    for name in (name for name in TEXT_FILES if name in there):
        try:
            facts = _READERS[name](facts, _content(read(name), f"{where}/{name}"), f"{where}/{name}")
            sources.append(name)
        except FmkitError as error:
            notes.append(f"{name} was left out: {error.message}")
    return (replace(facts, source=", ".join(sources)) if sources else None), tuple(notes)


def _content(data: bytes, where: str) -> bytes:
    if len(data) > MAX_TEXT_BYTES:
        raise UnsafeInputError(f"more than {MAX_TEXT_BYTES:,} bytes", where=where)
    return data


def summary_facts(config: object, gguf: object, there: Collection[str]) -> TextFacts | None:
    """What the Hub's own summary of a repository says of its tokenizer, and which files would say more; None where there is neither."""
    whole = config if isinstance(config, dict) else {}
    tokenizer = whole.get("tokenizer_config")
    document: dict[str, Any] = tokenizer if isinstance(tokenizer, dict) else gguf if isinstance(gguf, dict) else {}
    named = templates_of(whole.get("chat_template_jinja") or document.get("chat_template"))
    special = _special(document)
    names = tuple(named) or (("default",) if TEMPLATE in there or "chat_template.json" in there else ())
    unread = tuple(name for name in TEXT_FILES if name in there)
    if not names and not special and not unread:
        return None
    return TextFacts(
        source="the Hub's summary of the repository",
        special_tokens=special,
        chat_template=next(iter(named.values()), None),
        chat_templates=names,
        unread=unread,
    )


def gguf_facts(keys: Mapping[str, Any], vocabulary_tokens: int | None) -> TextFacts:
    """What the header of a GGUF file says of its text."""
    named = templates_of(keys.get("tokenizer.chat_template"))
    kind = keys.get("tokenizer.ggml.model")
    return TextFacts(
        source="the header of the GGUF file",
        tokenizer=kind[:100] if isinstance(kind, str) else None,
        vocabulary_tokens=vocabulary_tokens,
        chat_template=next(iter(named.values()), None),
        chat_templates=tuple(named),
    )


def templates_of(value: object) -> dict[str, str]:
    """Chat templates by name: one, or a list of several; what is neither, or too long, is none.

    >>> templates_of("{{ x }}"), templates_of([{"name": "tool_use", "template": "{{ y }}"}, 3]), templates_of(7)
    ({'default': '{{ x }}'}, {'tool_use': '{{ y }}'}, {})
    """
    if isinstance(value, str):
        return {"default": value} if 0 < len(value) <= MAX_TEMPLATE_CHARS else {}
    rows = value[:20] if isinstance(value, list) else []
    named = {
        row["name"][:40]: row["template"]
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("name"), str) and isinstance(row.get("template"), str)
        and len(row["template"]) <= MAX_TEMPLATE_CHARS
    }  # fmt: skip
    return dict(sorted(named.items(), key=lambda item: item[0] != "default"))


def _with_tokenizer(facts: TextFacts, data: bytes, where: str) -> TextFacts:
    document = parse_object(data, where=where)
    kind, limit = document.get("tokenizer_class"), document.get("model_max_length")
    named = templates_of(document.get("chat_template"))
    listed = document.get("added_tokens_decoder")
    ids = [int(key) for key in listed if _ID.fullmatch(key)] if isinstance(listed, dict) else None
    return replace(
        _with_ids(facts, ids),
        tokenizer=kind[:100] if isinstance(kind, str) else None,
        max_tokens=limit if _is_whole(limit) and limit < _NO_LIMIT_TOKENS else None,
        special_tokens=_special(document),
        chat_template=next(iter(named.values()), None),
        chat_templates=tuple(named),
    )


def _with_generation(facts: TextFacts, data: bytes, where: str) -> TextFacts:
    return replace(facts, generation=_generation(parse_object(data, where=where)))


def _with_old_template(facts: TextFacts, data: bytes, where: str) -> TextFacts:
    named = templates_of(parse_object(data, where=where).get("chat_template"))
    return replace(facts, chat_template=next(iter(named.values())), chat_templates=tuple(named)) if named else facts


def _with_template(facts: TextFacts, data: bytes, where: str) -> TextFacts:
    """The template of a file of its own, which wins over those inside other files."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UnsafeInputError("not UTF-8 text", where=where) from None
    if len(text) > MAX_TEMPLATE_CHARS:
        raise UnsafeInputError(f"a chat template of more than {MAX_TEMPLATE_CHARS:,} characters", where=where)
    names = tuple(dict.fromkeys(("default", *facts.chat_templates)))
    return replace(facts, chat_template=text, chat_templates=names) if text else facts


def _with_added(facts: TextFacts, data: bytes, where: str) -> TextFacts:
    """Older files list added tokens apart; what tokenizer_config.json says of them wins."""
    document = parse_object(data, where=where)
    return (
        facts if facts.added_tokens else _with_ids(facts, [number for number in document.values() if _is_whole(number)])
    )


def _with_ids(facts: TextFacts, ids: list[int] | None) -> TextFacts:
    known = None if ids is None else [number for number in ids if number < MAX_ID]
    return (
        facts if known is None else replace(facts, added_tokens=len(known), highest_added_id=max(known, default=None))
    )


def _special(document: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that are named, each as text: some are objects with their text inside."""
    texts = {}
    for name in _SPECIAL:
        value = document.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text:
            texts[name.removesuffix("_token")] = text[:100]
    return texts


def _generation(document: Mapping[str, Any]) -> dict[str, Setting]:
    """The defaults of generation that are plain values, at most fifty."""
    found: dict[str, Setting] = {}
    for name, value in document.items():
        if name.startswith("_") or name == "transformers_version" or len(found) >= 50:
            continue
        if isinstance(value, bool | float | str):
            found[name[:60]] = value[:200] if isinstance(value, str) else value
        elif _is_whole(value) or (isinstance(value, int) and abs(value) < MAX_ID):
            found[name[:60]] = value
        elif isinstance(value, list) and 0 < len(value) <= 50 and all(_is_whole(one) for one in value):
            found[name[:60]] = tuple(value)
    return found


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


_READERS: Mapping[str, Callable[[TextFacts, bytes, str], TextFacts]] = {
    "tokenizer_config.json": _with_tokenizer,
    "generation_config.json": _with_generation,
    "chat_template.json": _with_old_template,
    TEMPLATE: _with_template,
    "added_tokens.json": _with_added,
}
"""Each takes out of its file the few facts that are kept, before the next is opened: parsed, a file is many times its size."""

TEXT_FILES = tuple(_READERS)
