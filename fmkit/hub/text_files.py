"""Tokenizer, generation and chat template files of a model, read as data: limited in size, nothing rendered, nothing run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.hub.document import parse_object
from fmkit.model.text import Setting, TextFacts

TOKENIZER = "tokenizer_config.json"
GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"
OLD_TEMPLATE = "chat_template.json"
ADDED = "added_tokens.json"
TEXT_FILES = (TOKENIZER, GENERATION, TEMPLATE, OLD_TEMPLATE, ADDED)

MAX_TEMPLATE_CHARS = 200_000
"""The longest seen has 20,000."""

MAX_ID = 2**32
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
_NO_LIMIT_TOKENS = 10**9
"""Tokenizers without a limit state 1e30."""


def read_text_files(
    there: Collection[str], read: Callable[[str], bytes], where: str
) -> tuple[TextFacts | None, tuple[str, ...]]:
    """What the text files among those `there` say, and notes on those that can't be read: none of them stops the sizing."""
    wanted = [name for name in TEXT_FILES if name in there]
    found: dict[str, dict[str, Any]] = {}
    template: str | None = None
    notes: list[str] = []
    for name in wanted:
        try:
            if name == TEMPLATE:
                template = _template(read(name).decode(), f"{where}/{name}")
            else:
                found[name] = parse_object(read(name), where=f"{where}/{name}")
        except (UnsafeInputError, UnicodeDecodeError) as error:
            notes.append(f"{name} was left out: {getattr(error, 'message', 'not UTF-8 text')}")
    if not found and template is None:
        return None, tuple(notes)
    facts = _of_tokenizer(found.get(TOKENIZER, {}), found.get(ADDED, {}))
    named = templates_of((found.get(OLD_TEMPLATE) or found.get(TOKENIZER) or {}).get("chat_template"))
    facts = msgspec.structs.replace(
        facts,
        source=", ".join(name for name in wanted if name in found or name == TEMPLATE),
        chat_template=template or next(iter(named.values()), None),
        chat_templates=tuple(dict.fromkeys((*(["default"] if template else []), *named))),
        generation=_generation(found.get(GENERATION, {})),
    )
    return facts, tuple(notes)


def summary_facts(config: object, gguf: object, there: Collection[str]) -> TextFacts | None:
    """What the Hub's own summary of a repository says of its tokenizer, and the names of its files; None where neither says anything."""
    whole = config if isinstance(config, dict) else {}
    tokenizer = whole.get("tokenizer_config")
    document: dict[str, Any] = tokenizer if isinstance(tokenizer, dict) else gguf if isinstance(gguf, dict) else {}
    named = templates_of(whole.get("chat_template_jinja") or document.get("chat_template"))
    special = _special(document)
    names = tuple(named) or (("default",) if TEMPLATE in there or OLD_TEMPLATE in there else ())
    if not names and not special:
        return None
    return TextFacts(
        source="the Hub's summary of the repository",
        special_tokens=special,
        chat_template=next(iter(named.values()), None),
        chat_templates=names,
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


def _template(text: str, where: str) -> str:
    if len(text) > MAX_TEMPLATE_CHARS:
        raise UnsafeInputError(f"a chat template of more than {MAX_TEMPLATE_CHARS:,} characters", where=where)
    return text


def _of_tokenizer(document: Mapping[str, Any], added: Mapping[str, Any]) -> TextFacts:
    kind = document.get("tokenizer_class")
    listed = document.get("added_tokens_decoder")
    ids = (
        [int(key) for key in listed if key.isascii() and key.isdigit() and len(key) < 11]
        if isinstance(listed, dict)
        else []
    )
    ids = ids or [number for number in added.values() if _is_whole(number)]
    ids = [number for number in ids if number < MAX_ID]
    return TextFacts(
        source=TOKENIZER,
        tokenizer=kind[:100] if isinstance(kind, str) else None,
        added_tokens=len(ids) if listed is not None or added else None,
        highest_added_id=max(ids, default=None),
        max_tokens=limit if _is_whole(limit := document.get("model_max_length")) and limit < _NO_LIMIT_TOKENS else None,
        special_tokens=_special(document),
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
