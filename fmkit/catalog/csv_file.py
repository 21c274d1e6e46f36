"""Strict CSV: the columns are the fields of a type, and every cell is checked with its line."""

from __future__ import annotations

import csv
import typing
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=msgspec.Struct)


def read_csv(path: Path, name: str, kind: type[T], faults: list[Fault]) -> list[tuple[int, T]]:
    """The rows of a file as (line, `kind`); rows with faults are left out, and the faults added to `faults`.

    An empty cell means None or the field's default; a field that allows neither must not be empty.
    """
    rows: list[tuple[int, T]] = []
    fields = msgspec.structs.fields(kind)
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            wrong_header = _header_fault(header, fields)
            if wrong_header:
                faults.append(Fault(name, "line 1", wrong_header))
                return []
            columns = {field.name: field for field in fields}
            for cells in reader:
                line = reader.line_num
                wrong, record = _record(cells, header, columns)
                try:
                    row = msgspec.convert(record, kind, strict=False)
                except msgspec.ValidationError:  # names the first fault only
                    wrong += _cell_faults(record, columns)
                if not wrong:
                    rows.append((line, row))
                faults += [Fault(name, f"line {line}{place}", message) for place, message in wrong]
        except (csv.Error, UnicodeDecodeError) as error:
            faults.append(Fault(name, f"line {reader.line_num}", f"not CSV: {error}"))
    return rows


def _header_fault(header: list[str], fields: tuple[msgspec.structs.FieldInfo, ...]) -> str | None:
    known = {field.name for field in fields}
    missing = [field.name for field in fields if field.required and field.name not in header]
    unknown = [column for column in header if column not in known]
    if len(set(header)) != len(header):
        return "a column is named twice"
    if missing or unknown:
        return f"columns missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
    return None


def _record(
    cells: list[str], header: list[str], fields: dict[str, msgspec.structs.FieldInfo]
) -> tuple[list[tuple[str, str]], dict[str, str | None]]:
    if len(cells) != len(header):
        return [("", f"{len(cells)} cells, expected {len(header)}")], {}
    wrong: list[tuple[str, str]] = []
    record: dict[str, str | None] = {}
    for column, cell in zip(header, cells, strict=True):
        field = fields[column]
        if cell:
            record[column] = cell
        elif type(None) in typing.get_args(field.type):
            record[column] = None
        elif field.required:
            wrong.append((f", {column}", "the cell is empty"))
    return wrong, record


def _cell_faults(record: dict[str, str | None], fields: dict[str, msgspec.structs.FieldInfo]) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    for column, cell in record.items():
        try:
            msgspec.convert(cell, fields[column].type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append((f", {column}", f"{error}; the cell holds {cell!r}"))
    return wrong
