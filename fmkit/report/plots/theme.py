"""Colours and letters: parts keep their colour in every picture, and both light and dark pages are readable."""

from __future__ import annotations

from typing import Final

PARTS: Final = {
    "weights": "#3b7dd8",
    "cache": "#e08a1e",
    "activations": "#2fa37c",
    "adapters": "#e08a1e",
    "optimiser states": "#c2569b",
    "training activations": "#2fa37c",
    "beside the tensors": "#9a8fb0",
}
"""Colours told apart with every common colour blindness, of a middle lightness: they stand on white and on black."""

PREDICTED, MEASURED = "#3b7dd8", "#d1495b"
OTHER = "#8a8a8a"
FONT: Final = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
LETTER: Final = 0.56
"""Mean width of a letter over the size of the font."""

LIGHT: Final = {"page": "#ffffff", "ink": "#1f2328", "soft": "#59636e", "grid": "#d9dee3"}
DARK: Final = {"page": "#15191e", "ink": "#e6e9ec", "soft": "#a3adb8", "grid": "#343c45"}


def part_colour(name: str) -> str:
    """The colour of a part of memory."""
    return PARTS.get(name, OTHER)


def style(*, adapts: bool) -> str:
    """The style sheet: light, and dark where the reader's system is, if the picture `adapts`."""
    sheet = f"text{{font-family:{FONT}}}{_colours(LIGHT)}"
    return f"{sheet}@media(prefers-color-scheme:dark){{{_colours(DARK)}}}" if adapts else sheet


def _colours(theme: dict[str, str]) -> str:
    return (
        f".page{{fill:{theme['page']}}}.ink{{fill:{theme['ink']}}}.soft{{fill:{theme['soft']}}}"
        f".grid{{stroke:{theme['grid']}}}.axis{{stroke:{theme['soft']}}}.mark{{stroke:{theme['ink']}}}"
        f".halo{{stroke:{theme['page']};stroke-width:4px;stroke-linejoin:round;paint-order:stroke}}"
    )
