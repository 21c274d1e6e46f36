"""Published measurements: catalog/measurements/memory.csv and latency.csv, or a file with the same columns.

They are no part of the compiled catalog: one command reads them. A line that can't be read is kept with its fault, for a file of
somebody else's must not stop at its first odd cell.
"""

from __future__ import annotations

import csv
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec

from fmkit.catalog.paths import source_folder
from fmkit.errors import UnsafeInputError
from fmkit.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

MOST_FILE_BYTES = 64 * MIB
MOST_LINES = 200_000

Bytes = Annotated[int, msgspec.Meta(ge=-(2**60), le=2**60)]
"""A few logs print negative bytes (no memory left for the cache): kept as printed."""
Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**20)]
Figure = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What every row has: what was measured on what, by whom. `trust`: A tool output, B collected by hand, C self-reported.

    `split_group` names rows of one model on one accelerator, which belong on one side of a split into fitted and held out.
    """

    measurement_id: str
    model_name: str = ""
    hub_id: str = ""
    split_group: str = ""
    quant: str
    kv_dtype: str = ""
    engine: str
    engine_version: str = ""
    accelerator_id: str
    accelerator_name: str = ""
    count: Count | None = None
    tp: Count | None = None
    pp: Count | None = None
    context_tokens: Tokens | None = None
    prompt_tokens: Tokens | None = None
    trust: str = "B"
    source: str = ""
    date: str = ""
    notes: str = ""


class MemoryMeasurement(Measurement, frozen=True, kw_only=True):
    """One measured configuration; memory in bytes, per device or of all, as `scope` says.

    `reported` is what the source printed, with its unit. `peak_method` says what `peak_total_bytes` means: the engine's own
    allocations, the whole device, or a budget.
    """

    scope: str = "total"
    batch: Count | None = None
    gen_tokens: Tokens | None = None
    weights_bytes: Bytes | None = None
    weights_host_bytes: Bytes | None = None
    kv_bytes: Bytes | None = None
    kv_tokens: Tokens | None = None
    recurrent_state_bytes: Bytes | None = None
    activation_bytes: Bytes | None = None
    cudagraph_bytes: Bytes | None = None
    overhead_bytes: Bytes | None = None
    gpu_total_bytes: Bytes | None = None
    gpu_mem_utilization: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    budget_bytes: Bytes | None = None
    peak_total_bytes: Bytes | None = None
    peak_method: str = ""
    outcome: Literal["ok", "OOM"] = "ok"
    reported: str = ""


class LatencyMeasurement(Measurement, frozen=True, kw_only=True):
    """One measured speed.

    `measures`: prefill, decode, both, e2e (one static batch), serving (steady state; `batch` is the average running batch) or asr. Rates are tokens per second; `decode_tok_s_per_seq` is per sequence; `throughput_kind` says which tokens count.
    """

    measures: str
    params_b: Figure | None = None
    active_params_b: Figure | None = None
    backend: str = ""
    ep: Count | None = None
    gen_tokens: Figure | None = None
    batch: Figure | None = None
    prefill_tok_s: Figure | None = None
    ttft_ms: Figure | None = None
    itl_ms: Figure | None = None
    decode_tok_s_per_seq: Figure | None = None
    throughput_tok_s: Figure | None = None
    throughput_kind: str = ""
    e2e_latency_s: Figure | None = None
    power_w: Figure | None = None
    spec_decode: str = ""


class BadLine(msgspec.Struct, frozen=True):
    """A line that could not be read, by its measurement id where it has one."""

    measurement_id: str
    reason: str


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one or more files."""

    memory: tuple[MemoryMeasurement, ...] = ()
    latency: tuple[LatencyMeasurement, ...] = ()
    bad_lines: tuple[BadLine, ...] = ()


class SameShape(msgspec.Struct, frozen=True, kw_only=True):
    """One line of measurements/same_shape.csv: a measured model whose tensors have the shapes of one we have a config.json of."""

    hub_id: str
    same_as: str
    reason: str


class RowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One line of measurements/settings.csv: what its source says of a memory row and the columns of memory.csv do not.

    `options` are engine options (KEY=VALUE, separated by spaces), `layout` a catalog layout, `left_out` the quantities (or `all`) that
    are not scored, with the `reason`.
    """

    measurement_id: str
    options: str = ""
    layout: str = ""
    left_out: str = ""
    reason: str


Row = TypeVar("Row", MemoryMeasurement, LatencyMeasurement)
Extra = TypeVar("Extra", SameShape, RowSettings)


def shipped_measurements() -> Measurements:
    """The catalog's own measurements."""
    folder = source_folder() / "measurements"
    memory = read_measurements(folder / "memory.csv")
    latency = read_measurements(folder / "latency.csv")
    return Measurements(
        memory=memory.memory, latency=latency.latency, bad_lines=(*memory.bad_lines, *latency.bad_lines)
    )


def read_measurements(path: Path) -> Measurements:
    """The rows of a CSV file with the columns of memory.csv or latency.csv; columns that neither has are ignored.

    UnsafeInputError for a file that is absent, too large, no text, or has neither set of columns.
    """
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise _unreadable(path, f"larger than {MOST_FILE_BYTES // MIB} MiB")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.DictReader(stream, strict=True))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, f"no CSV file: {error}") from error
    if len(lines) > MOST_LINES:
        raise _unreadable(path, f"more than {MOST_LINES:,} lines")
    columns = set(lines[0]) if lines else set()
    if _required(LatencyMeasurement) <= columns:
        rows, bad = _converted(lines, LatencyMeasurement)
        return Measurements(latency=rows, bad_lines=bad)
    if _required(MemoryMeasurement) <= columns:
        kept, bad = _converted(lines, MemoryMeasurement)
        return Measurements(memory=kept, bad_lines=bad)
    missing = sorted(_required(MemoryMeasurement) - columns)
    raise _unreadable(path, f"no file of measurements: it has no rows, or the columns {', '.join(missing)} are missing")


@cache
def same_shapes() -> dict[str, SameShape]:
    """The measured models that have another's shapes, by Hub id in lower case."""
    return {row.hub_id.casefold(): row for row in _beside("same_shape.csv", SameShape)}


@cache
def row_settings() -> dict[str, RowSettings]:
    """What is known of single rows beside their columns, by measurement id."""
    return {row.measurement_id: row for row in _beside("settings.csv", RowSettings)}


def _beside(name: str, kind: type[Extra]) -> list[Extra]:
    with (source_folder() / "measurements" / name).open(encoding="utf-8", newline="") as stream:
        return [msgspec.convert(line, kind) for line in csv.DictReader(stream)]


def _required(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind) if field.required}


def _converted(lines: list[dict[str, str]], kind: type[Row]) -> tuple[tuple[Row, ...], tuple[BadLine, ...]]:
    """The lines as rows; an empty cell is an absent one."""
    known = {field.name for field in msgspec.structs.fields(kind)}
    rows, bad = [], []
    for number, line in enumerate(lines, start=2):
        cells = {name: cell for name, cell in line.items() if name in known and cell}
        try:
            rows.append(msgspec.convert(cells, kind, strict=False))
        except msgspec.ValidationError as error:
            bad.append(BadLine(line.get("measurement_id") or f"line {number}", f"line {number} can't be read: {error}"))
    return tuple(rows), tuple(bad)


def _unreadable(path: Path, reason: str) -> UnsafeInputError:
    return UnsafeInputError(
        f"can't read measurements: {reason}",
        where=str(path),
        next_command="fmkit accuracy --help",
    )
