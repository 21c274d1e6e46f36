"""`fmkit try [MODEL]`: is that true on my machine?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fmkit.api.trial_checks import list_checks
from fmkit.api.trial_options import TrialOptions
from fmkit.api.try_model import try_one, try_sweep
from fmkit.cli.options import (
    JsonOption,
    OfflineOption,
    QuietOption,
    SequencesOption,
    TrialsOption,
    split_values,
    whole_number,
    whole_numbers,
)
from fmkit.cli.output import emit, note
from fmkit.cli.plots import PlotOption, draw, place_of
from fmkit.report.checks import print_checks
from fmkit.report.sweep import print_sweep
from fmkit.report.trial import print_trial
from fmkit.units import parse_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.results.trial import TrialResult, Unmeasured


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
            help="fp32, fp16, int8, int4, or a quantiser's: int8-torchao, int4-quanto; comma-separated. Default: fp16; on a CPU fp32 for float16. A .gguf file runs as it is.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="cpu, cuda, rocm, mps or xpu; for a server the device it runs on. Default: a CUDA or ROCm GPU, else the CPU.",
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
        str | None,
        typer.Option(
            "--input", metavar="FILE", help="A text, picture or WAV file to work on, or a .jsonl file of many."
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT", help="Text to work on; several (captions, passages) parted by |."),
    ] = None,
    output_file: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="FILE", help="A .jsonl file for the answers to many inputs; continued if it is there."
        ),
    ] = None,
    output_tokens: Annotated[
        str | None,
        typer.Option(
            "--output-tokens", metavar="N", help="The most tokens of an answer. Default: 48; a transcript 224."
        ),
    ] = None,
    transcript: Annotated[
        str | None,
        typer.Option("--transcript", metavar="FILE", help="What the recording says: gives the word error rate."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="FILE", help="A text for --checks perplexity, quantised-kl and quantised-top1."
        ),
    ] = None,
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
        typer.Option(
            "--checks",
            metavar="NAMES",
            help="Checks to run: quick (default), all, none, or names; help lists them all.",
        ),
    ] = None,
    repeat: Annotated[
        str, typer.Option("--repeat", metavar="N", help="How often times are taken; 0: memory only.")
    ] = "3",
    limit_memory: Annotated[
        str | None,
        typer.Option(
            "--limit-memory",
            metavar="SIZE",
            help="Refuse what needs more than this, such as 8GiB, and stop the trial if it takes more; on a GPU, of its memory.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            help="What one phase may take, such as 90s. Default: an hour, or ten times what was predicted.",
        ),
    ] = None,
    offload: Annotated[
        bool,
        typer.Option("--offload", help="Weights without room on the device go to main memory, and on a CPU to disk."),
    ] = False,
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory", metavar="SIZE", help="With --offload: room for weights on the first device, such as 8GiB."
        ),
    ] = None,
    engine_option: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option",
            metavar="KEY=VALUE",
            help="gpu_layers=N: layers of a GGUF file on the GPU; the others stay in main memory.",
        ),
    ] = None,
    tensor_parallel: Annotated[
        str,
        typer.Option(
            "--tensor-parallel", metavar="N", help="Processes that share each layer: one GPU each, or one CPU."
        ),
    ] = "1",
    hosts: Annotated[
        str,
        typer.Option(
            "--hosts", metavar="H", help="Computers that these processes are on; start the same command on each."
        ),
    ] = "1",
    host_rank: Annotated[
        str, typer.Option("--host-rank", metavar="R", help="Which of the hosts this one is, from 0.")
    ] = "0",
    rendezvous: Annotated[
        str | None,
        typer.Option(
            "--rendezvous", metavar="HOST:PORT", help="Where the hosts meet: an address and a free port of host 0."
        ),
    ] = None,
    plot: PlotOption = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the result among the records of this machine.")
    ] = True,
    trials: TrialsOption = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Load a model, run it, and hold the estimate against what was measured."""
    place = place_of(plot)
    names = split_values(checks, where="--checks")
    if names == ["help"]:
        emit(list_checks(), print_checks, as_json=as_json)
        return
    options = TrialOptions(
        engine=engine,
        device=device,
        input=input_file,
        prompt=prompt,
        output=output_file,
        output_tokens=None if output_tokens is None else whole_number(output_tokens, where="--output-tokens"),
        transcript=transcript,
        reference=reference,
        random_weights=random_weights,
        layers=None if layers is None else whole_number(layers, where="--layers"),
        checks=names,
        repeat=whole_number(repeat, where="--repeat", at_least=0),
        yes=yes,
        keep=keep,
        trials=trials,
        offline=offline,
        limit_memory=limit_memory,
        offload=offload,
        max_memory=max_memory,
        engine_option=engine_option,
        tensor_parallel=whole_number(tensor_parallel, where="--tensor-parallel"),
        hosts=whole_number(hosts, where="--hosts"),
        host_rank=whole_number(host_rank, where="--host-rank", at_least=0),
        rendezvous=rendezvous,
        timeout_s=None if timeout is None else parse_seconds(timeout, where="--timeout"),
        confirm=_confirm if _can_ask() else None,
        progress=None if quiet else note,
    )
    precisions: Sequence[str | None] = split_values(precision, where="--precision") or [None]
    contexts: Sequence[str | None] = split_values(context, where="--context") or [None]
    counts = whole_numbers(sequences, where="--sequences") or [1]
    if len(precisions) == len(contexts) == len(counts) == 1:
        single = try_one(model, precisions[0], contexts[0], counts[0], options)
        emit(single, print_trial, as_json=as_json)
        _draw([single], (), place, quiet=quiet)
        return
    swept = try_sweep(model, precision=precisions, context=contexts, sequences=counts, options=options)
    emit(swept, print_sweep, as_json=as_json)
    _draw(swept.trials, swept.failed, place, quiet=quiet)


def _draw(trials: Sequence[TrialResult], failed: Sequence[Unmeasured], place: Path | None, *, quiet: bool) -> None:
    if place is not None:
        from fmkit.report.plots.trials import trials_figure  # noqa: PLC0415  most calls draw nothing

        draw(trials_figure(trials, failed), place, quiet=quiet)


def _can_ask() -> bool:
    """Whether a person sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _confirm(question: str) -> bool:
    return typer.confirm(question, err=True)
