"""The one place where an exception becomes a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

import msgspec
import typer

from fmkit.cli.output import OutputError, discard_stdout
from fmkit.errors import ExitCode, FmkitError, UsageError, nearest_phrase
from fmkit.report.common import printable


class ErrorMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a failed command prints with `--json`."""

    schema: str = "fmkit.error/1"
    exit: int
    message: str
    where: str | None
    next: str | None


REFUSED = (
    ExitCode.USAGE,
    ExitCode.MODEL_NOT_FOUND,
    ExitCode.ARCHITECTURE_UNKNOWN,
    ExitCode.UNSAFE_INPUT,
)
"""What was typed can't be answered: the help of the command says what can."""


def guarded(command: Callable[[], int], arguments: list[str], help_command: str) -> int:
    """Run `command`; turn whatever it raises into a message and the exit code of the contract.

    `help_command` is what to type next after an argument was refused, where the error names nothing better.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without a character shows a mark instead of failing
    try:
        return command()
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader has what it wanted
        discard_stdout()
        return ExitCode.OK
    except FmkitError as error:
        return _report(error, arguments, help_command)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug must not look like an answer
        return _report(_in_our_words(error), arguments, help_command)


def _report(error: FmkitError, arguments: list[str], help_command: str) -> int:
    """Print the error for a program or for a person."""
    if error.next_command is None and error.exit_code in REFUSED:
        error.next_command = help_command
    if os.environ.get("FMKIT_DEBUG"):
        traceback.print_exc()
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in options and not isinstance(error, OutputError):
        message = ErrorMessage(
            exit=int(error.exit_code), message=error.message, where=error.where, next=error.next_command
        )
        try:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(message), indent=2).decode() + "\n")
            sys.stdout.flush()
        except OSError:  # nobody reads there, or the disk is full
            discard_stdout()
            _print_for_people(error)
    else:
        _print_for_people(error)
    return int(error.exit_code)


def _print_for_people(error: FmkitError) -> None:
    lines = [f"fmkit: {printable(error.message)}"]
    if error.where:
        lines.append(f"  where: {printable(error.where)}")
    if error.next_command:
        lines.append(f"  next:  {printable(error.next_command)}")
    sys.stderr.write("\n".join(lines) + "\n")


def _in_our_words(error: Exception) -> FmkitError:
    """What typer refuses, a full disk, or else a bug."""
    if isinstance(error, typer.TyperException):
        return _usage_error(error)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        if error.filename is not None:
            return FmkitError(f"can't write: {error.strerror}", where=str(error.filename))
        discard_stdout()
        return OutputError(f"can't write the answer: {error.strerror or error}", where="stdout")
    return _bug(error)


def _usage_error(error: typer.TyperException) -> UsageError:
    """What typer refuses, in our words: with the nearest option, and the help of the right command."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fmkit"
    help_command = f"{command} --help"
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        return UsageError(
            f"{command} needs one of its commands: {', '.join(context.command.commands)}", next_command=help_command
        )
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = [name for parameter in context.command.params for name in parameter.opts] if context is not None else []
        return UsageError(f"unknown option {option!r}{nearest_phrase(option, known)}", next_command=help_command)
    return UsageError(error.format_message().rstrip("."), next_command=help_command)


def _bug(error: Exception) -> FmkitError:
    summary = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return FmkitError(
        f"this is a bug in fmkit ({summary})",
        next_command="FMKIT_DEBUG=1 shows where; please report it with that output",
    )
