"""JSON from strangers: small enough, not too deep, an object; or an error that says which of these it is not."""

from __future__ import annotations

import json
from typing import Any

from fmkit.errors import UnsafeInputError

MAX_BYTES = 10_000_000
"""The limit the Hub's own tools put on a config.json."""

MAX_DEPTH = 32
MAX_VALUES = 500_000
"""Values in one document, counted before it is parsed: 10 MB of JSON can make objects of 300 MB."""


def parse_object(data: bytes, *, where: str) -> dict[str, Any]:
    """The object in `data`. `Infinity` and `NaN` are let through: transformers writes them into config.json.

    >>> parse_object(b'{"n_layer": 12}', where="config.json")
    {'n_layer': 12}
    """
    if len(data) > MAX_BYTES:
        raise UnsafeInputError(f"more than {MAX_BYTES:,} bytes, too much for a config.json", where=where)
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise UnsafeInputError(f"more than {MAX_VALUES:,} values, too many for a config.json", where=where)
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise UnsafeInputError("nested too deeply to be a config.json", where=where) from None
    except UnicodeDecodeError:
        raise UnsafeInputError("not UTF-8 text; expected a JSON object", where=where) from None
    except ValueError as error:
        raise UnsafeInputError(f"not JSON: {error}; expected a JSON object", where=where) from None
    if b"\\u" in data and not _is_text(document):
        raise UnsafeInputError("half a character, which no text has", where=where)
    if not isinstance(document, dict):
        raise UnsafeInputError(f"expected a JSON object, found a {_json_type(document)}", where=where)
    if _deeper_than(document, MAX_DEPTH):
        raise UnsafeInputError(f"nested deeper than {MAX_DEPTH} levels", where=where)
    return document


def _is_text(document: object) -> bool:
    """Whether all texts in it can be written out: escapes can stand for one half of a pair of surrogates."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_type(value: object) -> str:
    names = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _deeper_than(document: object, levels: int) -> bool:
    """Whether anything lies deeper; walks level by level, so that depth costs no stack."""
    level = [document]
    for _ in range(levels):
        inside: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inside.extend(value.values())
            elif isinstance(value, list):
                inside.extend(value)
        level = inside
    return any(isinstance(value, (dict, list)) for value in level)
