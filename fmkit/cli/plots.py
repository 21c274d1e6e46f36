"""`--plot FILE`: the picture of an answer, written beside it as SVG, as an HTML page, or as a PNG (which needs a library)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmkit.cli.output import note
from fmkit.errors import FmkitError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from fmkit.report.plots.figure import Figure

PlotOption = Annotated[
    str | None,
    typer.Option("--plot", metavar="FILE", help="Draw it too, into a .svg or .html file, or a .png (needs fmkit[plot])."),
]  # fmt: skip


KINDS = (".svg", ".html", ".png")
ZOOM = 2
"""Pixels of a PNG for each of the picture: letters stay sharp on dense screens."""


def place_of(plot: str | None) -> Path | None:
    """The file to draw into, refused before anything is done where it can't be written."""
    return None if plot is None else check_place(plot)


def draw(figure: Figure, place: Path, *, quiet: bool) -> None:
    """Write the picture and say where; where the answer has nothing to draw, say that."""
    if not figure.rows:
        note("nothing was measured that could be drawn: no picture was written", quiet=quiet)
        return
    write_plot(figure, place)
    note(f"picture: {place}", quiet=quiet)


def check_place(path: str) -> Path:
    """The file to write, refused before anything is run where it can't be: an ending that means no picture, a folder that is not there."""
    place = Path(path).expanduser()
    if place.suffix.lower() not in KINDS:
        raise UsageError(f"can't tell what kind of picture {path!r} is: end it in {', '.join(KINDS)}", where="--plot")
    if place.is_dir() or not place.parent.is_dir():
        what = "is a folder" if place.is_dir() else f"needs the folder {place.parent}, which is not there"
        raise UsageError(f"{path} {what}", where="--plot")
    if place.suffix.lower() == ".png":
        _renderer()
    return place


def write_plot(figure: Figure, place: Path) -> None:
    """Draw the figure into the file, in place of what was there; whole or not at all."""
    from fmkit.report.plots.page import page  # noqa: PLC0415  most calls draw nothing
    from fmkit.report.plots.svg import draw as svg  # noqa: PLC0415

    kind = place.suffix.lower()
    if kind == ".png":
        content = bytes(_renderer().svg_to_bytes(svg_string=svg(figure, adapts=False), zoom=ZOOM))
    else:
        content = (svg(figure) if kind == ".svg" else page(figure)).encode()
    handle, part = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(part).chmod(0o666 & ~_mask())
        Path(part).replace(place)
    except OSError as error:
        Path(part).unlink(missing_ok=True)
        raise FmkitError(f"can't write the picture: {error.strerror}", where=str(place)) from error


def _renderer() -> Any:  # noqa: ANN401  the library has no types
    try:
        import resvg_py  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingExtraError(
            "a PNG needs resvg-py; SVG and HTML need nothing",
            next_command="pip install 'fmkit[plot]', or end the file in .svg",
        ) from error
    return resvg_py


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
