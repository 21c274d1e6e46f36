"""Every error fmkit raises on purpose, with the exit code of the command line.

FmkitError                     1  a bug, or an error without a better class
+-- UsageError                 2  unknown name or value; lists the nearest valid ones
+-- DoesNotFitError            3  `--check` failed, or `try` refused to load
+-- ModelNotFoundError         4  missing, private or gated
+-- NetworkNeededError         5  the answer needs the network, and there is none
+-- CatalogInvalidError        6  a catalog file is wrong
+-- MissingExtraError          7  an optional part is not installed
+-- ArchitectureUnknownError   8  config.json lacks a fact that sizing needs
+-- TrialFailedError           9  the trial ran and failed
+-- UnsafeInputError          10  malformed or hostile input, from a file or the Hub
"""

from __future__ import annotations

import difflib
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """What a shell sees; the numbers are a contract (see README)."""

    OK = 0
    BUG = 1
    USAGE = 2
    DOES_NOT_FIT = 3
    MODEL_NOT_FOUND = 4
    NETWORK_NEEDED = 5
    CATALOG_INVALID = 6
    MISSING_EXTRA = 7
    ARCHITECTURE_UNKNOWN = 8
    TRIAL_FAILED = 9
    UNSAFE_INPUT = 10
    INTERRUPTED = 130


class FmkitError(Exception):
    """An error the user can act on.

    `message` says what was wrong, `where` names the file, path or option, `next_command` is what to type next.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, where: str | None = None, next_command: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.next_command = next_command


class UsageError(FmkitError):
    """An unknown name or a value that an option does not take."""

    exit_code = ExitCode.USAGE

    @classmethod
    def unknown(
        cls, noun: str, value: str, valid: Iterable[str], *, where: str | None = None, next_command: str | None = None
    ) -> UsageError:
        """An error for `value`, which is no known `noun`, naming the nearest valid ones."""
        return cls(f"unknown {noun} {value!r}{nearest_phrase(value, valid)}", where=where, next_command=next_command)


class DoesNotFitError(FmkitError):
    """The model needs more memory than there is."""

    exit_code = ExitCode.DOES_NOT_FIT


class ModelNotFoundError(FmkitError):
    """The model is missing, private or gated."""

    exit_code = ExitCode.MODEL_NOT_FOUND

    @classmethod
    def on_this_disk(cls, message: str, path: object) -> ModelNotFoundError:
        """The error for a path that holds no model; names the command that lists the models of this disk."""
        return cls(message, where=str(path), next_command="fmkit catalog list --local")


class NetworkNeededError(FmkitError):
    """The answer is neither in the catalog nor on this disk, and the network is off or absent."""

    exit_code = ExitCode.NETWORK_NEEDED


class CatalogInvalidError(FmkitError):
    """One or more catalog files are wrong; `message` lists all faults."""

    exit_code = ExitCode.CATALOG_INVALID


class OwnCatalogWarning(UserWarning):
    """The user's own catalog is left out, for it has faults."""

    def __init__(self, folder: str, faults: int) -> None:
        noun = "fault" if faults == 1 else "faults"
        super().__init__(f"your own catalog at {folder} is left out: {faults} {noun}; fmkit catalog check lists them")


class OldCatalogWarning(UserWarning):
    """The catalog is old: models, prices and scores of the last months are not in it."""


class UnreadRatesWarning(UserWarning):
    """The rates measured on this computer can't be read, and an estimate goes without them."""

    def __init__(self, message: str, file: str | None, next_command: str | None) -> None:
        super().__init__(f"{message}; estimates go without them ({file}). Next: {next_command}")


class UnreadTrialsWarning(UserWarning):
    """The trials kept on this computer can't be read, and an estimate goes without them."""

    def __init__(self, message: str, file: str | None) -> None:
        super().__init__(
            f"the trials of this computer correct nothing: {message} ({file}); fmkit trials list says more"
        )


class MissingExtraError(FmkitError):
    """An optional part of fmkit is not installed."""

    exit_code = ExitCode.MISSING_EXTRA

    @classmethod
    def for_extra(cls, extra: str, purpose: str, missing: str) -> MissingExtraError:
        """The error for an import of `missing` that failed; names the install command."""
        return cls(f"{purpose} needs {missing}, which is not installed", next_command=f"pip install 'fmkit[{extra}]'")


class ArchitectureUnknownError(FmkitError):
    """A config.json lacks a fact without which the model can't be sized; never guessed."""

    exit_code = ExitCode.ARCHITECTURE_UNKNOWN


class TrialFailedError(FmkitError):
    """The model was loaded or run, and that failed (out of memory included)."""

    exit_code = ExitCode.TRIAL_FAILED


class UnsafeInputError(FmkitError):
    """A file or an answer of the Hub is malformed, or asks for something unsafe."""

    exit_code = ExitCode.UNSAFE_INPUT


def nearest(value: str, valid: Iterable[str], count: int = 3) -> list[str]:
    """The `count` valid names most like `value`, best first; those that begin with it come before all others, and twice as many.

    >>> nearest("lama-3.1-8b", ["gpt2", "llama-3.1-8b", "llama-3.1-70b"], count=2)
    ['llama-3.1-8b', 'llama-3.1-70b']
    >>> nearest("rtx-3060", ["rtx-3070", "rtx-3060-12gb"])
    ['rtx-3060-12gb', 'rtx-3070']
    """
    names = list(valid)
    wanted = value.casefold()
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(wanted, by_folded, n=count, cutoff=0.6)
    inside = sorted((folded for folded in by_folded if wanted and wanted in folded), key=len)
    longer = [folded for folded in inside if folded.startswith(f"{wanted}-")][: 2 * count]
    ordered = dict.fromkeys([*longer, *close, *inside])
    return [by_folded[folded] for folded in ordered][: max(count, len(longer))]


def nearest_phrase(value: str, valid: Iterable[str]) -> str:
    """A tail for an error message, naming the nearest valid names, or all of them when they are few.

    >>> nearest_phrase("cht", ["chat", "code"])
    '; nearest: chat'
    >>> nearest_phrase("zzz", ["chat", "code"])
    '; valid: chat, code'
    """
    names = list(valid)
    close = nearest(value, names)
    if close:
        return f"; nearest: {', '.join(close)}"
    few_names = 24
    return f"; valid: {', '.join(names)}" if len(names) <= few_names else ""
