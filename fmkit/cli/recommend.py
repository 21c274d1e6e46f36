"""`fmkit recommend TASK`: which model should I use?"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from fmkit.api.live import with_live
from fmkit.api.recommend import DEFAULT_TOP, recommend
from fmkit.cli.options import (
    CheckOption,
    CsvOption,
    GpuOption,
    JsonOption,
    MarkdownOption,
    MemoryOption,
    MonthlyUsersOption,
    OfflineOption,
    PrecisionOption,
    QuietOption,
    RegionOption,
    TrialsOption,
    one_output,
)
from fmkit.cli.output import emit, note
from fmkit.errors import ExitCode, UsageError
from fmkit.report.recommend import print_recommendation
from fmkit.report.recommend_table import csv_table, markdown_text
from fmkit.units import parse_count

TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task (chat, code, embedding, transcription, ...) or a quoted phrase: "
        "'summarise German contracts on my RTX 4090, commercial use, 32k context'.",
        show_default=False,
    ),
]
Texts = list[str] | None


def recommend_command(
    task: TaskArgument,
    *,
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    context: Annotated[
        str | None, typer.Option("--context", "-c", metavar="TOKENS", help="Context needed. Default: the task's.")
    ] = None,
    sequences: Annotated[
        int | None, typer.Option("--sequences", "-s", metavar="N", help="Requests held at once. Default: 1.")
    ] = None,
    licence: Annotated[
        Texts,
        typer.Option(
            "--licence", "--license", metavar="CLASS|ID", help="permissive, apache-2.0, ...; any of them passes."
        ),
    ] = None,
    use: Annotated[str | None, typer.Option("--use", metavar="USE", help="commercial or research.")] = None,
    region: RegionOption = None,
    monthly_users: MonthlyUsersOption = None,
    train_on_outputs: Annotated[
        bool, typer.Option("--train-on-outputs", help="The licence must allow training on outputs.")
    ] = False,
    language: Annotated[
        Texts, typer.Option("--language", metavar="LANG", help="BCP 47 codes or English names; all must be listed.")
    ] = None,
    modality: Annotated[
        Texts, typer.Option("--modality", metavar="KIND", help="What it must read: text, image, audio, video, pdf.")
    ] = None,
    min_tokens_per_s: Annotated[
        float | None,
        typer.Option(
            "--min-tokens-per-s",
            metavar="RATE",
            help="Least tokens written per second in each sequence, by the median.",
        ),
    ] = None,
    max_ttft: Annotated[
        str | None,
        typer.Option("--max-ttft", metavar="TIME", help="Longest wait for the first token, by the median: 300ms, 2s."),
    ] = None,
    min_quality: Annotated[
        float | None, typer.Option("--min-quality", metavar="0..1", help="Least quality among the catalog's models.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help="Judge in this engine. Default: vllm on a card, llama.cpp on shared memory, else transformers.",
        ),
    ] = None,
    precision: PrecisionOption = None,
    open_only: Annotated[bool, typer.Option("--open-only", help="Open weights only.")] = False,
    api_only: Annotated[bool, typer.Option("--api-only", help="API models only.")] = False,
    data_stays_here: Annotated[
        bool, typer.Option("--data-stays-here", help="No API: the data must not leave.")
    ] = False,
    released_after: Annotated[
        str | None, typer.Option("--released-after", metavar="DATE", help="2024, 2024-07 or 2024-07-23.")
    ] = None,
    requests_per_day: Annotated[
        float | None, typer.Option("--requests-per-day", metavar="N", help="Load, for the cost per month.")
    ] = None,
    requests_per_s: Annotated[
        float | None, typer.Option("--requests-per-s", metavar="N", help="The same load per second.")
    ] = None,
    prompt_tokens: Annotated[
        str | None,
        typer.Option("--prompt-tokens", metavar="TOKENS", help="Prompt of one request. Default: the task's."),
    ] = None,
    output_tokens: Annotated[
        str | None,
        typer.Option("--output-tokens", metavar="TOKENS", help="Answer of one request. Default: the task's."),
    ] = None,
    weight: Annotated[
        Texts, typer.Option("--weight", metavar="PART=W", help="quality=0.5,latency=0.3,memory=..,licence=..,cost=..")
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many models to list.")] = DEFAULT_TOP,
    explain: Annotated[bool, typer.Option("--explain", help="Show the evidence behind every score.")] = False,
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="MODEL", help="Say why this model is not the first.")
    ] = None,
    exclude: Annotated[Texts, typer.Option("--exclude", metavar="FAMILY", help="Leave these families out.")] = None,
    only: Annotated[Texts, typer.Option("--only", metavar="FAMILY", help="These families only.")] = None,
    trials: TrialsOption = True,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the Hub about what is proposed: licence, gate, downloads.")
    ] = False,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="WORDS",
            help="Look on the Hub for further models; '' looks for the task alone. They are sized, not ranked.",
        ),
    ] = None,
    copies: Annotated[
        bool, typer.Option("--copies", help="With --search: also re-uploads, merges and quantised copies.")
    ] = False,
    interactive: Annotated[bool, typer.Option("--interactive", hidden=True)] = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Recommend models for a task: ranked under your constraints, each with its evidence, each exclusion with its reason."""
    one_output(as_json=as_json, csv=csv, markdown=markdown)
    if interactive:
        raise UsageError(
            "this version asks no questions: give the constraints as options, or a phrase",
            where="--interactive",
            next_command="fmkit recommend --help",
        )
    if copies and search is None:
        raise UsageError("--copies is about what a search finds: add --search WORDS", where="--copies")
    users = None if monthly_users is None else parse_count(monthly_users, where="--monthly-users")
    result = recommend(
        task, gpu=gpu, memory=memory, context=context, sequences=sequences, licence=licence, use=use, region=region,
        monthly_users=users, train_on_outputs=train_on_outputs, language=language, modality=modality,
        min_tokens_per_s=min_tokens_per_s, max_ttft=max_ttft, min_quality=min_quality, engine=engine, precision=precision,
        open_only=open_only, api_only=api_only, data_stays_here=data_stays_here, released_after=released_after,
        requests_per_day=requests_per_day, requests_per_s=requests_per_s, prompt_tokens=prompt_tokens,
        output_tokens=output_tokens, weight=weight, top=top, why_not=why_not, exclude=exclude, only=only, trials=trials,
        search=search, copies=copies, offline=offline, progress=None if quiet else note,
    )  # fmt: skip
    if live:
        result = with_live(result, offline=offline, progress=None if quiet else note)
    for warning in result.warnings:
        note(f"note: {warning}", quiet=quiet)
    emit(
        result,
        partial(print_recommendation, explain=explain),
        as_json=as_json,
        as_text=csv_table if csv else markdown_text if markdown else None,
    )
    if check and not result.picks:
        raise typer.Exit(ExitCode.DOES_NOT_FIT)
