"""`fmkit vram --paste-log FILE`: a start-up log beside the estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from fmkit.cli.options import split_values, was_given
from fmkit.cli.output import emit
from fmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.results.paste_log import PasteLogResult

BESIDE_LOG = frozenset({
    "model", "precision", "gpu", "memory", "trials", "detail", "paste_log", "as_json", "csv", "markdown", "offline", "quiet",
})  # fmt: skip
"""Parameters of `fmkit vram` that a log leaves open, or that are about the answer."""


def refuse_beside_log(invocation: typer.Context) -> None:
    """UsageError for options whose values the log itself says."""
    told = [
        option.opts[0]
        for option in invocation.command.params
        if option.name not in BESIDE_LOG and was_given(option.name or "", invocation)
    ]
    if told:
        raise UsageError(
            f"--paste-log takes the settings from the log: leave out {', '.join(told)}", where="--paste-log"
        )


def one_value(values: Sequence[str] | None, where: str) -> str | None:
    """The value of an option that may be repeated elsewhere, but not beside a log."""
    found = split_values(values, where=where)
    if found is not None and len(found) > 1:
        raise UsageError(f"a log is of one model as it was loaded: give one value, not {len(found)}", where=where)
    return found[0] if found else None


def paste_log_answer(
    source: str, model: str | None, precision: str | None, gpu: str | None, memory: str | None, *, offline: bool
) -> PasteLogResult:
    """What the API says of the log; imported here, for `fmkit vram` alone must not pay for it."""
    from fmkit.api.paste_log import paste_log  # noqa: PLC0415 - imports the log readers

    return paste_log(source, model, precision=precision, gpu=gpu, memory=memory, offline=offline)


def emit_log(result: PasteLogResult, *, as_json: bool, csv: bool, markdown: bool) -> None:
    """Print the answer in the form asked for."""
    from fmkit.report.paste_log import csv_table, markdown_text, print_log  # noqa: PLC0415 - as above

    emit(result, print_log, as_json=as_json, as_text=csv_table if csv else markdown_text if markdown else None)
