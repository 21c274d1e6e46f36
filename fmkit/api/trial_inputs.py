"""What `fmkit try` is to work on: files named by its options, looked at before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmkit.api.asked import whole
from fmkit.errors import UnsafeInputError, UsageError
from fmkit.trial.checks import agreement, perplexity
from fmkit.trial.items import (
    IMAGE_SUFFIXES,
    MANY_SUFFIX,
    SOUND_SUFFIXES,
    TEXT_SUFFIXES,
    Item,
    is_many,
    read_items,
)
from fmkit.trial.many import answered_before
from fmkit.units import MIB

if TYPE_CHECKING:
    from fmkit.api.trial_options import TrialOptions

TAKES = {
    "clip": (*IMAGE_SUFFIXES, *TEXT_SUFFIXES),
    "vision-language": (*IMAGE_SUFFIXES, *TEXT_SUFFIXES),
    "speech": SOUND_SUFFIXES,
}
"""The files that a kind of model takes one of, beside JSONL; the others take texts."""

READS_REFERENCE = (perplexity.NAME, *agreement.NAMES)

OUTPUT_TOKENS = 48
SPEECH_OUTPUT_TOKENS = 224
"""Half of what Whisper's decoder holds, as its own code allows for a window of 30 s; a short limit would cut the transcript."""

MOST_OUTPUT_TOKENS = 1024**2
MOST_TEXT_BYTES = 64 * MIB


def check_inputs(kind: str, options: TrialOptions, checks: Sequence[str]) -> None:
    """Refuse what is not there, what a model of this kind can't take, and options that nothing would read."""
    if options.output_tokens is not None:
        whole(options.output_tokens, "--output-tokens", at_most=MOST_OUTPUT_TOKENS)
    if options.input is not None:
        _check_input(kind, Path(options.input), options)
    if options.output is not None:
        _check_output(Path(options.output), options.input)
    if options.transcript is not None:
        if kind != "speech":
            raise UsageError(f"a {kind} model transcribes nothing", where="--transcript")
        _text(options.transcript, "--transcript")
    if options.reference is not None:
        if not set(READS_REFERENCE) & set(checks):
            raise UsageError(
                f"nothing reads the reference text: name --checks {', '.join(READS_REFERENCE)}", where="--reference"
            )
        _text(options.reference, "--reference")


def input_fields(kind: str, options: TrialOptions) -> dict[str, Any]:
    """The fields of a TrialRequest that say what to work on."""
    return {
        "input_path": _absolute(options.input),
        "output_path": _absolute(options.output),
        "output_tokens": output_tokens(kind, options),
        "transcript": None if options.transcript is None else _text(options.transcript, "--transcript"),
        "reference_path": reference_of(options),
    }


def reference_of(options: TrialOptions) -> str | None:
    """The text to score: the one named for it, else the input where that is a text."""
    given = options.input
    is_text = given is not None and Path(given).suffix.lower() in TEXT_SUFFIXES
    return _absolute(options.reference or (given if is_text else None))


def output_tokens(kind: str, options: TrialOptions) -> int:
    """Tokens that an answer may have: as asked, else 48, for a transcript 224."""
    if options.output_tokens is not None:
        return options.output_tokens
    return SPEECH_OUTPUT_TOKENS if kind == "speech" else OUTPUT_TOKENS


def check_resumption(options: TrialOptions, kind: str, model: str, precision: str) -> None:
    """Refuse an output file that holds other answers, before the model is loaded; notes how many are there already."""
    if options.input is None or options.output is None:
        return
    items = read_items(Path(options.input), kind)
    done = answered_before(Path(options.output), items, model, precision)
    if done and options.progress is not None:
        options.progress(
            f"{Path(options.output).name} has {len(done):,} of {len(items):,} answers: going on from there"
        )


def many_items(options: TrialOptions) -> tuple[Item, ...]:
    """The inputs of a JSONL file of texts, for a server; none where no such file was given."""
    if options.input is None or not is_many(options.input):
        return ()
    return tuple(read_items(Path(options.input), "decoder"))


def _check_input(kind: str, path: Path, options: TrialOptions) -> None:
    suffix = path.suffix.lower()
    takes = (*TAKES.get(kind, TEXT_SUFFIXES), MANY_SUFFIX)
    if not path.is_file():
        there = f"{path} is no ordinary file" if path.exists() else f"no such file: {path}"
        raise UsageError(there, where="--input")
    if options.prompt is not None and suffix not in IMAGE_SUFFIXES:
        raise UsageError("--input and --prompt exclude each other, unless the file is a picture", where="--input")
    if suffix not in takes:
        raise UsageError(f"a {kind} model can't take {path.name}: it takes {', '.join(takes)}", where="--input")
    if is_many(str(path)):
        if options.random_weights:
            raise UsageError("random weights can't answer: leave out --random-weights", where="--input")
        read_items(path, kind)
    elif suffix in TEXT_SUFFIXES and not _text(str(path), "--input"):
        raise UnsafeInputError("the file holds no text to ask", where=str(path))


def _check_output(path: Path, given: str | None) -> None:
    if given is None or not is_many(given):
        raise UsageError(f"--output takes the answers to many inputs: name them by --input FILE{MANY_SUFFIX}", where="--output")  # fmt: skip
    if path.suffix.lower() != MANY_SUFFIX:
        raise UsageError(f"the answers are lines of JSON: name a file *{MANY_SUFFIX}", where="--output")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"no such folder: {path.absolute().parent}", where="--output")
    if path.exists() and path.samefile(given):
        raise UsageError("the answers can't go to the file of the inputs", where="--output")


def _text(name: str, where: str) -> str:
    path = Path(name)
    try:
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise UsageError(f"the text is larger than {MOST_TEXT_BYTES // MIB} MiB", where=where)
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror}", where=where) from error
    except UnicodeDecodeError as error:
        raise UnsafeInputError(f"{name} is no UTF-8 text", where=where) from error


def _absolute(name: str | None) -> str | None:
    return None if name is None else str(Path(name).absolute())
