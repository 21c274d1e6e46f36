"""Many inputs: answers written line by line to a file that a later run goes on from, and the rates of the run. No torch.

Each line of the file is one answer, written in one piece and flushed: whatever ends the run, at most the last line is torn, and the next
run takes it off and goes on. Inputs are answered one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.results.trial import InputsSummary, Sample, sample
from fmkit.trial.checks.word_errors import rate, words
from fmkit.trial.evidence import WordErrors
from fmkit.trial.items import MANY_SUFFIX, Item, Reply

PARTS = 10
"""A run is divided into so many parts of equal length, whose rates give a mean and a deviation."""

SHOWN = 5
SAID_EVERY_S = 2.0


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the output: the answer to the input of line `line`, whose content has the digest `input`.

    `data` are vectors, scores or labels; `seconds` is the time that the answer took; `error` says why there is none.
    """

    line: int
    input: str
    model: str
    precision: str
    id: str | int | None = None
    output: str = ""
    data: Any = None
    reference: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None


class _Done(msgspec.Struct, frozen=True):
    """What has to be known of an answer of an earlier run."""

    line: int
    input: str
    model: str
    precision: str


class Many(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run: the summary, the first answers for people, the errors of all transcripts together, and notes."""

    summary: InputsSummary
    shown: str
    word_errors: WordErrors | None
    notes: tuple[str, ...]


def answer_all(
    items: Sequence[Item],
    reply: Callable[[Item], Reply],
    model: str,
    precision: str,
    output: Path | None,
    say: Callable[[str], None],
) -> Many:
    """Ask every input that the output file has no answer to; an input that fails gets a record with its error."""
    done = set() if output is None else answered_before(output, items, model, precision)
    left = [item for item in items if item.line not in done]
    records: list[Record] = []
    said_at = time.monotonic()
    with _Writer(output) as writer:
        for number, item in enumerate(left, start=1):
            record = _ask(item, reply, model, precision)
            writer.add(record)
            records.append(msgspec.structs.replace(record, data=_kept_data(record)))
            if time.monotonic() - said_at > SAID_EVERY_S or number == len(left):
                said_at = time.monotonic()
                say(f"answering inputs, {number + len(done):,} of {len(items):,}")
    return _summed(records, len(done), output)


def answered_before(output: Path, items: Sequence[Item], model: str, precision: str) -> set[int]:
    """The lines that an earlier run answered, its torn last line taken off the file.

    Raises UsageError for a file of another input, model or precision, UnsafeInputError for one that is no such file.
    """
    if not output.exists():
        return set()
    if output.suffix.lower() != MANY_SUFFIX:
        raise UsageError(f"the answers are lines of JSON: name a file *{MANY_SUFFIX}", where="--output")
    content = output.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    digests = {item.line: item.digest for item in items}
    done: set[int] = set()
    for number, raw in enumerate(whole.splitlines(), start=1):
        try:
            found = msgspec.json.decode(raw, type=_Done)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnsafeInputError(
                f"line {number} is no answer of an earlier run, and nothing was overwritten", where=str(output),
                next_command="give another --output",
            ) from error  # fmt: skip
        if digests.get(found.line) != found.input:
            raise UsageError(
                f"the file holds answers to another input (its line {number})", where=str(output),
                next_command="give another --output",
            )  # fmt: skip
        if (found.model, found.precision) != (model, precision):
            raise UsageError(
                f"the file holds answers of {found.model} at {found.precision}, not of {model} at {precision}", where=str(output),
                next_command="give another --output",
            )  # fmt: skip
        done.add(found.line)
    if len(whole) < len(content):
        with output.open("r+b") as file:
            file.truncate(len(whole))
    return done


class _Writer:
    """Appends records to a file, or to nowhere."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: Record) -> None:
        """One line, in one piece."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(record) + b"\n")


def _ask(item: Item, reply: Callable[[Item], Reply], model: str, precision: str) -> Record:
    base = Record(
        line=item.line, input=item.digest, model=model, precision=precision, id=item.id, reference=item.reference
    )
    started = time.perf_counter()
    try:
        answer = reply(item)
    except Exception as error:  # noqa: BLE001  one input must not end the others
        text = " ".join(str(error).split())[:300] or type(error).__name__
        return msgspec.structs.replace(base, error=text)
    return msgspec.structs.replace(
        base,
        output=answer.text,
        data=answer.data,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        seconds=time.perf_counter() - started,
        notes=answer.notes,
    )


def _kept_data(record: Record) -> Any:  # noqa: ANN401
    """What is counted at the end; vectors of millions of texts must not pile up."""
    return {"word_errors": record.data["word_errors"]} if _has_word_errors(record) else None


def _has_word_errors(record: Record) -> bool:
    return isinstance(record.data, dict) and "word_errors" in record.data


def _summed(records: Sequence[Record], before: int, output: Path | None) -> Many:
    good = [record for record in records if record.error is None]
    errors = [msgspec.convert(record.data["word_errors"], WordErrors) for record in good if _has_word_errors(record)]
    total = sum(errors[1:], errors[0]) if errors else None
    compared = [words(record.output) == words(record.reference) for record in good if record.reference is not None]
    failed = [record for record in records if record.error is not None]
    notes = [f"line {record.line}: {record.error}" for record in failed[:SHOWN]]
    noted = [record for record in good if record.notes]
    notes += [f"line {record.line}: {record.notes[0]}" for record in noted[:SHOWN]]
    hidden = max(0, len(failed) - SHOWN) + max(0, len(noted) - SHOWN)
    notes += [f"and {hidden} more such lines"] if hidden else []
    shown = [f"{record.line}: {' '.join(record.output.split())}" for record in good[:SHOWN]]
    shown = shown or (["(every input was answered in a run before)"] if before and not failed else [])
    more = len(good) - SHOWN
    return Many(
        summary=InputsSummary(
            answered=len(good),
            before=before,
            failed=len(failed),
            inputs_per_s=part_rates(good, lambda _: 1),
            input_tokens_per_s=part_rates(good, lambda record: record.input_tokens),
            output_tokens_per_s=part_rates(good, lambda record: record.output_tokens),
            equal_share=sum(compared) / len(compared) if compared else None,
            word_error_rate=rate(total) if total is not None and total.words else None,
            output_file=None if output is None else str(output),
        ),
        shown="\n".join([*shown, *([f"... and {more:,} more"] if more > 0 else [])]),
        word_errors=total,
        notes=tuple(notes),
    )


def part_rates(records: Sequence[Record], count: Callable[[Record], int | None]) -> Sample | None:
    """What was counted, per second: mean and deviation over ten consecutive parts of the run (fewer inputs: one each).

    None where nothing was counted. The first input, which prepares kernels for new shapes, is part of the run like every other.

    >>> record = lambda seconds: Record(line=1, input="", model="", precision="", seconds=seconds, output_tokens=10)
    >>> part_rates([record(1.0), record(2.0), record(5.0)], lambda one: one.output_tokens)
    Sample(mean=5.666666666666667, sd=4.041451884327381, n=3, outliers=0)
    """
    timed = [(count(record) or 0, record.seconds) for record in records if record.seconds > 0]
    if not any(number for number, _ in timed):
        return None
    parts = min(PARTS, len(timed))
    edges = [round(place * len(timed) / parts) for place in range(parts + 1)]
    rates = []
    for low, high in pairwise(edges):
        part = timed[low:high]
        rates.append(sum(number for number, _ in part) / sum(seconds for _, seconds in part))
    return sample(rates)
