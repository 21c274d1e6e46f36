"""`fmkit try [MODEL]`: is that true on my machine?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
from fmkit.cli.try_options import (
    AgainstOption,
    ChecksOption,
    DeviceOption,
    EngineSettingOption,
    HostRankOption,
    HostsOption,
    InputOption,
    KeepOption,
    LayersOption,
    LimitMemoryOption,
    MaxMemoryOption,
    OffloadOption,
    OutputOption,
    OutputTokensOption,
    PromptOption,
    RandomWeightsOption,
    ReferenceOption,
    RendezvousOption,
    RepeatOption,
    TensorParallelOption,
    TimeoutOption,
    TranscriptOption,
    TryContextOption,
    TryEngineOption,
    TryModelArgument,
    TryPrecisionOption,
    YesOption,
)
from fmkit.errors import ExitCode
from fmkit.report.checks import print_checks
from fmkit.report.sweep import print_sweep
from fmkit.report.trial import print_trial
from fmkit.units import parse_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.results.trial import TrialResult, Unmeasured


def try_command(
    model: TryModelArgument = None,
    *,
    engine: TryEngineOption = "transformers",
    precision: TryPrecisionOption = None,
    device: DeviceOption = None,
    context: TryContextOption = None,
    sequences: SequencesOption = None,
    input_file: InputOption = None,
    prompt: PromptOption = None,
    output_file: OutputOption = None,
    output_tokens: OutputTokensOption = None,
    transcript: TranscriptOption = None,
    reference: ReferenceOption = None,
    against: AgainstOption = None,
    random_weights: RandomWeightsOption = False,
    layers: LayersOption = None,
    checks: ChecksOption = None,
    repeat: RepeatOption = "3",
    limit_memory: LimitMemoryOption = None,
    timeout: TimeoutOption = None,
    offload: OffloadOption = False,
    max_memory: MaxMemoryOption = None,
    engine_option: EngineSettingOption = None,
    tensor_parallel: TensorParallelOption = "1",
    hosts: HostsOption = "1",
    host_rank: HostRankOption = "0",
    rendezvous: RendezvousOption = None,
    plot: PlotOption = None,
    keep: KeepOption = True,
    trials: TrialsOption = True,
    yes: YesOption = False,
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
        against=against,
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
    if not swept.trials:
        refused = all(one.kind == "does-not-fit" for one in swept.failed)
        raise typer.Exit(ExitCode.DOES_NOT_FIT if refused else ExitCode.TRIAL_FAILED)


def _draw(trials: Sequence[TrialResult], failed: Sequence[Unmeasured], place: Path | None, *, quiet: bool) -> None:
    if place is not None:
        from fmkit.report.plots.trials import trials_figure  # noqa: PLC0415  most calls draw nothing

        draw(trials_figure(trials, failed), place, quiet=quiet)


def _can_ask() -> bool:
    """Whether a person sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _confirm(question: str) -> bool:
    return typer.confirm(question, err=True)
