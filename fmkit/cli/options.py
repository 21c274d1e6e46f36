"""Options that several commands share, spelt and explained once, and what reads their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from fmkit.errors import UsageError

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No notes or progress on stderr.")]
CheckOption = Annotated[bool, typer.Option("--check", help="Exit with 3 if nothing fits.")]
SourcesOption = Annotated[bool, typer.Option("--sources", help="Name the source of every fact.")]
DetailOption = Annotated[bool, typer.Option("--detail", help="Show formulas, bases and sources.")]

OptionalModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="Catalog id, Hub id (org/name[@revision]), or a path; a log may name it.",
        show_default=False,
    ),
]
CatalogModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Catalog id, alias or Hub id.", show_default=False)
]
GpuOption = Annotated[
    str | None,
    typer.Option(
        "--gpu", "--device", "--hardware",
        metavar="DEVICE[:COUNT]",
        help="A device of the catalog, such as rtx-4090 or h100-sxm5-80gb:8. Default: this machine.",
    ),
]  # fmt: skip
MemoryOption = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="A bare size instead of a device, such as 24GiB.")
]
TrialsOption = Annotated[
    bool,
    typer.Option("--trials/--no-trials", help="Let the trials kept here correct what is predicted for this machine."),
]
EngineOption = Annotated[str, typer.Option("--engine", metavar="ENGINE", help="The engine that runs the model.")]
PrecisionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        "-p",
        metavar="NAME",
        help="fp16, int8, int4, or a quantiser's: int4-awq, int8-torchao; comma-separated or repeated.",
    ),
]
ContextOption = Annotated[
    list[str] | None,
    typer.Option("--context", "-c", metavar="TOKENS", help="Tokens held per sequence, such as 32k; comma-separated."),
]
SequencesOption = Annotated[
    list[str] | None,
    typer.Option("--sequences", "-s", metavar="N", help="Sequences held at once; comma-separated. Default: 1."),
]

RegionOption = Annotated[
    str | None,
    typer.Option("--region", metavar="CODE", help="Where it is used: ISO country code or name, EU, EEA, UK."),
]
MonthlyUsersOption = Annotated[
    str | None,
    typer.Option(
        "--monthly-users", metavar="N", help="Users per month, such as 250000 or 1M, for licences with a cap."
    ),
]


def split_values(values: Sequence[str] | None, *, where: str) -> list[str] | None:
    """The values of an option that may be repeated or comma-separated; None when it was not given.

    An option with nothing but commas is refused: it would silently mean the default.

    >>> split_values(["fp16,int8", "int4"], where="--precision"), split_values(None, where="--precision")
    (['fp16', 'int8', 'int4'], None)
    """
    if not values:
        return None
    parts = [part.strip() for value in values for part in value.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"can't read {','.join(values)!r}: there is no value in it", where=where)
    return parts


def whole_number(text: str, *, where: str, at_least: int = 1, at_most: int = 2**31) -> int:
    """A whole number typed by a person, refused with the option's name when it is none.

    >>> whole_number("8", where="--sequences")
    8
    """
    few_digits = len(str(at_most)) + 10  # beyond that int() itself gives up some time
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= few_digits else None
    if number is None or not at_least <= number <= at_most:
        raise UsageError(f"can't read {text!r}: write a whole number from {at_least:,} to {at_most:,}", where=where)
    return number


def whole_numbers(values: Sequence[str] | None, *, where: str, at_most: int = 2**31) -> list[int] | None:
    """Whole numbers of an option that may be repeated or comma-separated; None when it was not given."""
    parts = split_values(values, where=where)
    return None if parts is None else [whole_number(part, where=where, at_most=at_most) for part in parts]


def was_given(parameter: str, invocation: typer.Context) -> bool:
    """Whether a parameter of the command was typed, be it with the value it has by default."""
    source = invocation.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def one_output(*, as_json: bool, csv: bool, markdown: bool) -> None:
    """Refuse two formats at once."""
    chosen = [name for name, on in (("--json", as_json), ("--csv", csv), ("--markdown", markdown)) if on]
    if len(chosen) > 1:
        raise UsageError(f"choose one of {', '.join(chosen)}")
