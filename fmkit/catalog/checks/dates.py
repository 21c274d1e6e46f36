"""Dates that may be a year, a month or a day."""

from __future__ import annotations

from datetime import date


def day_of(text: str | None) -> date | None:
    """The first day of a date that may be a month or a year; None where it is no date.

    >>> day_of("2025-03"), day_of("soon")
    (datetime.date(2025, 3, 1), None)
    """
    if not text:
        return None
    try:
        year, month, day = (*(int(piece) for piece in text.split("-")), 1, 1)[:3]
        return date(year, month, day)
    except ValueError:
        return None
