"""`fmkit vram --paste-log FILE`: a start-up log beside the estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.cli.options import split_values
from fmkit.cli.output import emit, write
from fmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.results.paste_log import PasteLogResult


def refuse_beside_log(options: Sequence[str]) -> None:
    """Options whose values the log itself says."""
    if options:
        raise UsageError(
            f"--paste-log takes the settings from the log: leave out {', '.join(options)}", where="--paste-log"
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

    if csv or markdown:
        write(csv_table(result) if csv else markdown_text(result))
    else:
        emit(result, print_log, as_json=as_json)
