"""Dates that may be a year, a month or a day."""

from __future__ import annotations

from datetime import date, timedelta


def day_of(text: str | None) -> date | None:
    """The first day of a date that may be a month or a year; None where it is no date.

    >>> day_of("2025-03"), day_of("soon"), day_of("2024-13")
    (datetime.date(2025, 3, 1), None, None)
    """
    if not text:
        return None
    try:
        year, month, day = (*(int(piece) for piece in text.split("-")), 1, 1)[:3]
        return date(year, month, day)
    except ValueError:
        return None


def last_day_of(text: str | None) -> date | None:
    """The last day that a date can mean: of its month, or of its year.

    >>> last_day_of("2024-02"), last_day_of("2024"), last_day_of("2024-02-03")
    (datetime.date(2024, 2, 29), datetime.date(2024, 12, 31), datetime.date(2024, 2, 3))
    """
    first = day_of(text)
    if text is None or first is None:
        return None
    pieces = text.count("-")
    if pieces == 0:
        return date(first.year, 12, 31)
    if pieces == 1:
        following = (first + timedelta(days=31)).replace(day=1)
        return following - timedelta(days=1)
    return first
