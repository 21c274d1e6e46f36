"""`fmkit try [MODEL]`: is that true on my machine?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fmkit.api.trial_run import TrialOptions
from fmkit.api.try_model import try_one, try_sweep
from fmkit.cli.options import (
    JsonOption,
    OfflineOption,
    QuietOption,
    SequencesOption,
    split_values,
    whole_number,
    whole_numbers,
)
from fmkit.cli.output import emit, note
from fmkit.errors import UsageError
from fmkit.report.sweep import print_sweep
from fmkit.report.trial import print_trial


def try_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Catalog id, Hub id (org/name[@revision]), a folder, or a .gguf file. Default: the small model that ships with fmkit.",
            show_default=False,
        ),
    ] = None,
    *,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help="transformers, llama.cpp (for .gguf files), or the address of a server: http://host:port/v1.",
        ),
    ] = "transformers",
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            "-p",
            metavar="NAME",
            help="fp32, fp16, int8 or int4; comma-separated. Default: fp16; on a CPU fp32 for float16. A .gguf file runs as it is.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME", help="cpu or cuda; for a server the device it runs on. Default: the best here."
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            "-c",
            metavar="TOKENS",
            help="Tokens held per sequence, such as 2k; comma-separated. Default: 512.",
        ),
    ] = None,
    sequences: SequencesOption = None,
    input_file: Annotated[
        str | None, typer.Option("--input", metavar="FILE", help="A text, picture or WAV file to work on.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="Text to work on.")] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Build the model with random weights: downloads nothing, and memory and speed are true.",
        ),
    ] = False,
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="N", help="With random weights: this many layers only.")
    ] = None,
    checks: Annotated[
        list[str] | None,
        typer.Option("--checks", metavar="NAMES", help="Smoke checks to run: all, none, or names; comma-separated."),
    ] = None,
    repeat: Annotated[
        str, typer.Option("--repeat", metavar="N", help="How often times are taken; 0: memory only.")
    ] = "3",
    limit_memory: Annotated[str | None, typer.Option("--limit-memory", metavar="SIZE", hidden=True)] = None,
    tensor_parallel: Annotated[str | None, typer.Option("--tensor-parallel", metavar="N", hidden=True)] = None,
    plot: Annotated[str | None, typer.Option("--plot", metavar="FILE", hidden=True)] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the result among the records of this machine.")
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Load a model, run it, and hold the estimate against what was measured."""
    _refuse_later_options({"--limit-memory": limit_memory, "--tensor-parallel": tensor_parallel, "--plot": plot})
    options = TrialOptions(
        engine=engine,
        device=device,
        input=input_file,
        prompt=prompt,
        random_weights=random_weights,
        layers=None if layers is None else whole_number(layers, where="--layers"),
        checks=split_values(checks, where="--checks"),
        repeat=whole_number(repeat, where="--repeat", at_least=0),
        yes=yes,
        keep=keep,
        offline=offline,
        confirm=_confirm if _can_ask() else None,
        progress=None if quiet else note,
    )
    precisions: Sequence[str | None] = split_values(precision, where="--precision") or [None]
    contexts: Sequence[str | None] = split_values(context, where="--context") or [None]
    counts = whole_numbers(sequences, where="--sequences") or [1]
    if len(precisions) == len(contexts) == len(counts) == 1:
        emit(try_one(model, precisions[0], contexts[0], counts[0], options), print_trial, as_json=as_json)
        return
    swept = try_sweep(model, precision=precisions, context=contexts, sequences=counts, options=options)
    emit(swept, print_sweep, as_json=as_json)


def _can_ask() -> bool:
    """Whether a person sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _confirm(question: str) -> bool:
    return typer.confirm(question, err=True)


def _refuse_later_options(asked: dict[str, str | None]) -> None:
    for option, value in asked.items():
        if value is not None:
            raise UsageError(f"this version has no {option} for trials", where=option, next_command="fmkit try --help")
