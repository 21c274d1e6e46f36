"""What a repository's card and tags say of its licence: the publisher's own words, shown and not judged."""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = "license:"
_MOST_CHARS = 100


def licence_words(tags: object, card: object) -> str | None:
    """The licence as the card names it, else as a tag does; None where neither does. What is no text is as if it were not there.

    >>> licence_words(["license:mit"], {}), licence_words([], {"license": ["mit", "apache-2.0"]}), licence_words(None, 3)
    ('mit', 'mit, apache-2.0', None)
    >>> licence_words(["license:other"], {"license": "other", "license_name": "acme-community"})
    'other (acme-community)'
    """
    card = card if isinstance(card, Mapping) else {}
    named = _texts(card.get("license"))
    tagged = [text.removeprefix(_PREFIX) for text in _texts(tags) if text.startswith(_PREFIX)]
    found = named or tagged
    if not found:
        return None
    words = ", ".join(found)
    own_name = _texts(card.get("license_name"))
    return f"{words} ({own_name[0]})"[:_MOST_CHARS] if own_name else words[:_MOST_CHARS]


def _texts(value: object) -> list[str]:
    """One text or several, of what may be anything."""
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, str) and row.removeprefix(_PREFIX)]
