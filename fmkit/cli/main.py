"""The entry point: which command, and nothing imported that the command does not use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from fmkit import __version__
from fmkit.cli.boundary import guarded
from fmkit.cli.options import JsonOption, OfflineOption, QuietOption
from fmkit.cli.output import note
from fmkit.errors import OldCatalogWarning, OwnCatalogWarning, UnreadRatesWarning, UnreadTrialsWarning, UsageError

GROUP = "app"
"""What the module of a group of commands calls the group."""

COMMANDS: dict[str, tuple[str, str, str]] = {
    "recommend": ("fmkit.cli.recommend", "recommend_command", "Which model to use for a task."),
    "vram": ("fmkit.cli.vram", "vram_command", "What hardware a model needs."),
    "try": ("fmkit.cli.try_", "try_command", "Run a model: is the estimate true here?"),
    "compare": ("fmkit.cli.compare", "compare_command", "Models side by side."),
    "accuracy": ("fmkit.cli.accuracy", "accuracy_command", "Predictions against measurements."),
    "trials": ("fmkit.cli.trials", GROUP, "The trials kept here."),
    "catalog": ("fmkit.cli.catalog", GROUP, "What fmkit knows of models and licences."),
    "hardware": ("fmkit.cli.hardware", GROUP, "This machine, and the devices of --gpu."),
}
"""Each command: where it is written, the function or group to register, and its line in the help, whole at 60 columns."""

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code is the answer. No exception leaves this function."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        for ours in (OwnCatalogWarning, OldCatalogWarning, UnreadRatesWarning):
            warnings.simplefilter("always", ours)
        warnings.simplefilter("default", UnreadTrialsWarning)  # each engine reads them
        warnings.showwarning = _warned_in_our_words(quiet=bool({"-q", "--quiet"} & set(arguments)))
        return guarded(lambda: _run(arguments), arguments, help_command(arguments))


def _warned_in_our_words(*, quiet: bool) -> Callable[..., None]:
    """How warnings are shown: fmkit's own as a note, all others as Python does."""
    otherwise = warnings.showwarning

    def show(message: Warning | str, *place: Any, **more: Any) -> None:  # noqa: ANN401 - the signature of showwarning
        if isinstance(message, OwnCatalogWarning | OldCatalogWarning | UnreadRatesWarning | UnreadTrialsWarning):
            note(f"fmkit: {message}", quiet=quiet)
        else:
            otherwise(message, *place, **more)

    return show


def _run(arguments: list[str]) -> int:
    command = get_command(build_app(_needed_commands(arguments)))
    code = command.main(args=arguments, prog_name="fmkit", standalone_mode=False)
    return code if isinstance(code, int) else 0


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with the commands `names`: each costs its imports, so that only `fmkit --help` needs all of them."""
    app = typer.Typer(
        help="Which foundation model to use, what hardware it needs, and the proof on your machine.",
        epilog="Alone, fmkit looks at this machine and names the best models for it.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT_SETTINGS,
    )
    app.callback(invoke_without_command=True)(_without_command)
    for name in names:
        module, attribute, summary = COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=summary)
        else:
            app.command(name, context_settings=CONTEXT_SETTINGS, short_help=summary)(command)
    return app


def help_command(arguments: list[str]) -> str:
    """The help of the command that was typed, of one of a group with its group.

    >>> help_command(["vram", "--gpu", "rtx-4090", "gpt2"]), help_command(["catalog", "show", "gpt3"]), help_command(["--json"])
    ('fmkit vram --help', 'fmkit catalog show --help', 'fmkit --help')
    """
    name, inner = (*_words(arguments), "", "")[:2]
    if name not in COMMANDS:
        return "fmkit --help"
    return f"fmkit {name} {inner} --help" if inner and COMMANDS[name][1] == GROUP else f"fmkit {name} --help"


def _words(arguments: list[str]) -> list[str]:
    """What was typed without a dash before it: commands first."""
    return [argument for argument in arguments if not argument.startswith("-")]


def _needed_commands(arguments: list[str]) -> Iterable[str]:
    name = next(iter(_words(arguments)), None)
    if name is None:
        return COMMANDS if {"-h", "--help"} & set(arguments) else ()
    if name in COMMANDS:
        return (name,)
    raise UsageError.unknown("command", name, COMMANDS, next_command="fmkit --help")


def _without_command(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    if version:
        typer.echo(f"fmkit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        from fmkit.cli.overview import overview  # noqa: PLC0415 - it imports catalog and probes

        overview(as_json=as_json, quiet=quiet)
    elif as_json or offline or quiet:
        raise UsageError(f"write options after the command: fmkit {context.invoked_subcommand} ... --json")
