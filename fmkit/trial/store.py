"""Every trial that was kept, in one SQLite file in the user's data folder.

Writes are atomic (one transaction each) and may come from several processes, which wait for each other's lock; the rollback journal
is kept, for switching to another while a second process opens the file fails at once. The file says which version of its schema
it has; one written by a newer fmkit is left alone.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from fmkit.errors import ExitCode, FmkitError, UnsafeInputError
from fmkit.results.trial import TrialResult
from fmkit.trial.paths import record_file

SCHEMA_VERSION = 1
LOCK_WAIT_S = 10.0
READ_WAIT_S = 0.2
"""How long an estimate waits for a writer: it goes on without the trials."""

CREATE = """
CREATE TABLE trial (
    id TEXT PRIMARY KEY,
    date TEXT NOT NULL,
    model TEXT NOT NULL,
    hub_id TEXT,
    engine TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    precision TEXT NOT NULL,
    machine TEXT NOT NULL,
    context_tokens INTEGER NOT NULL,
    sequences INTEGER NOT NULL,
    random_weights INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX trial_by_model ON trial (model, engine, precision);
"""

INSERT = "INSERT INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""Primary result codes of SQLite for a file that is not ours, or not whole: the last is what a missing table or column gives."""


class StoreError(FmkitError):
    """The record of trials can't be read or written now, for want of rights, room or a lock; a trial goes on without it."""

    exit_code = ExitCode.USAGE


class DamagedStoreError(StoreError):
    """The file is no record of trials, or is damaged."""

    exit_code = ExitCode.UNSAFE_INPUT


class TrialStore:
    """The kept trials in `path`, by default the user's own file; made at the first write."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else record_file()

    def add(self, result: TrialResult) -> None:
        """Keep a trial; StoreError where the file can't be written, is damaged, or belongs to a newer fmkit."""
        self._make_folder()
        with self._open() as connection:
            connection.execute(INSERT, _row(result))

    def merge(self, results: Iterable[TrialResult]) -> tuple[int, tuple[str, ...]]:
        """Keep trials of other machines or files: how many were new, and the ids that are another trial's here, which stays.

        All or none are kept: it is one transaction.
        """
        self._make_folder()
        added, conflicts = 0, []
        with self._open() as connection:
            for row in map(_row, results):
                known = connection.execute("SELECT record FROM trial WHERE id = ?", (row[0],)).fetchone()
                if known is None:
                    connection.execute(INSERT, row)
                    added += 1
                elif known[0] != row[-1] and _readable([known[0]]) != _readable([str(row[-1])]):
                    conflicts.append(str(row[0]))
        return added, tuple(dict.fromkeys(conflicts))

    def all(self, model: str | None = None) -> list[TrialResult]:
        """The kept trials that can be read, oldest first, of one model where it is named."""
        return _readable(record for _, record in self._records(model))

    def unreadable(self) -> tuple[str, ...]:
        """The ids of records that are no trials, which `get` says why: changed by hand, or damaged."""
        return tuple(trial_id for trial_id, record in self._records(None) if not _readable([record]))

    def _records(self, model: str | None) -> list[tuple[str, str]]:
        """Ids and records, oldest first."""
        if not self.path.exists():
            return []
        with self._open() as connection:
            if model is None:
                return connection.execute("SELECT id, record FROM trial ORDER BY date, id").fetchall()
            return connection.execute(
                "SELECT id, record FROM trial WHERE model = ? ORDER BY date, id", (model,)
            ).fetchall()

    def newest(self, engine: str, most: int) -> list[TrialResult]:
        """At most so many trials of an engine, the newest first, without waiting for a writer; StoreError where they can't be read now."""
        if not self.path.exists():
            return []
        try:
            place = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(place, uri=True, timeout=READ_WAIT_S)) as connection:
                found = connection.execute(
                    "SELECT record FROM trial WHERE engine = ? ORDER BY date DESC, id LIMIT ?", (engine, most)
                ).fetchall()
        except sqlite3.Error as error:
            raise _store_error(error, self.path) from error
        return _readable(record for (record,) in found)

    def get(self, trial_id: str) -> TrialResult | None:
        """The trial of that id."""
        if not self.path.exists():
            return None
        with self._open() as connection:
            row = connection.execute("SELECT record FROM trial WHERE id = ?", (trial_id,)).fetchone()
        return None if row is None else _decode(row[0], self.path)

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"can't make the folder for trials: {error.strerror}",
                where=str(self.path.parent),
                next_command="set FMKIT_DATA_DIR to another folder",
            ) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one transaction, on a file with the right schema."""
        try:
            with closing(sqlite3.connect(self.path, timeout=LOCK_WAIT_S, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    self._prepare(connection)
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _store_error(error, self.path) from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            for statement in CREATE.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif found != SCHEMA_VERSION:
            raise StoreError(
                f"the record of trials has schema {found}, and this fmkit writes {SCHEMA_VERSION}",
                where=str(self.path),
                next_command="upgrade fmkit, or set FMKIT_DATA_DIR to another folder",
            )


def _store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """What SQLite says, with what to do about it: a damaged file is moved away by hand, for its trials may be saved from it."""
    message = f"can't use the record of trials: {error}"
    code = getattr(error, "sqlite_errorcode", None)  # of text that is none there is no code
    if code is None or code & 0xFF in DAMAGE:
        away = f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}"
        return DamagedStoreError(message, where=str(path), next_command=f"{away} (the next trial begins a new record)")
    return StoreError(message, where=str(path), next_command="try again later, or set FMKIT_DATA_DIR to another folder")


def _row(result: TrialResult) -> tuple[str | int | None, ...]:
    """The columns of table `trial`."""
    return (
        result.id,
        result.date,
        result.model,
        result.hub_id,
        result.engine.name,
        result.engine.version,
        result.precision,
        result.machine.name,
        result.workload.context_tokens,
        result.workload.sequences,
        int(result.random_weights),
        msgspec.json.encode(result).decode(),
    )


def _readable(records: Iterable[str]) -> list[TrialResult]:
    """The trials, without records that are none: one bad record hides no other."""
    found = []
    for record in records:
        with suppress(msgspec.MsgspecError):
            found.append(msgspec.json.decode(record, type=TrialResult))
    return found


def _decode(record: str, path: Path) -> TrialResult:
    try:
        return msgspec.json.decode(record, type=TrialResult)
    except msgspec.MsgspecError as error:
        raise UnsafeInputError(f"a kept trial can't be read: {error}", where=str(path)) from error
