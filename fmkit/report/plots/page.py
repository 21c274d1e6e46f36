"""A figure on a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.plots.shapes import said
from fmkit.report.plots.svg import draw

if TYPE_CHECKING:
    from fmkit.report.plots.figure import Figure


def page(figure: Figure) -> str:
    """HTML with the picture in it, light or dark as its reader prefers."""
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{said(figure.title)}</title>\n<style>body{{margin:2rem}}svg{{max-width:100%;height:auto}}</style>\n"
        f"{draw(figure)}</html>\n"
    )
