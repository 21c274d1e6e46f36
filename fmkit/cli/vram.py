"""`fmkit vram MODEL`: what hardware does it need?"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from fmkit.api.training_options import MOST_BATCH, MOST_RANK
from fmkit.api.vram import vram
from fmkit.api.vram_request import MOST_SEQUENCES
from fmkit.cli.options import (
    CheckOption,
    ContextOption,
    CsvOption,
    DetailOption,
    EngineOption,
    GpuOption,
    JsonOption,
    MarkdownOption,
    MemoryOption,
    OfflineOption,
    OptionalModelArgument,
    PrecisionOption,
    QuietOption,
    SequencesOption,
    TrialsOption,
    one_output,
    split_values,
    whole_number,
    whole_numbers,
)
from fmkit.cli.output import emit, note
from fmkit.cli.paste_log import emit_log, one_value, paste_log_answer, refuse_beside_log
from fmkit.cli.plots import PlotOption, draw, place_of
from fmkit.cli.training import (
    CheckpointingOption,
    LoraRankOption,
    LoraTargetsOption,
    OptimizerOption,
    TrainBatchOption,
    TrainOption,
)
from fmkit.errors import ExitCode, UsageError
from fmkit.report.vram import print_vram
from fmkit.report.vram_peaks import csv_table, markdown_text
from fmkit.units import parse_tokens


def vram_command(
    invocation: typer.Context,
    model: OptionalModelArgument = None,
    *,
    precision: PrecisionOption = None,
    context: ContextOption = None,
    sequences: SequencesOption = None,
    encoder_tokens: Annotated[
        str | None,
        typer.Option("--encoder-tokens", metavar="TOKENS", help="Tokens the encoder reads. Default: as the context."),
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="N", help="Images per sequence; their tokens count as context.")
    ] = None,
    audio_seconds: Annotated[
        str | None, typer.Option("--audio-seconds", metavar="SECONDS", help="Length of a recording, such as 45 or 2m.")
    ] = None,
    engine: EngineOption = "transformers",
    engine_option: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option",
            metavar="KEY=VALUE",
            help="A setting of the engine, such as backend=hip (llama.cpp); repeat for several.",
        ),
    ] = None,
    kv_dtype: Annotated[
        str | None,
        typer.Option("--kv-dtype", metavar="TYPE", help="Type of the KV cache: fp8 (vllm), q8_0 (llama.cpp) ..."),
    ] = None,
    tensor_parallel: Annotated[
        str | None,
        typer.Option("--tensor-parallel", metavar="N", help="Devices that share each layer (vllm, transformers)."),
    ] = None,
    pipeline_parallel: Annotated[
        str | None,
        typer.Option("--pipeline-parallel", metavar="N", help="Devices over which whole layers are divided."),
    ] = None,
    expert_parallel: Annotated[
        str | None, typer.Option("--expert-parallel", metavar="N", help="Devices over which experts are spread (vllm).")
    ] = None,
    offload: Annotated[
        bool,
        typer.Option("--offload", help="Weights without room on the device go to main memory (--memory beside --gpu)."),
    ] = False,
    attention: Annotated[
        str, typer.Option("--attention", metavar="KIND", help="sdpa, eager or flash: how attention is computed.")
    ] = "sdpa",
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    free: Annotated[bool, typer.Option("--free", help="Count what is free on this machine now.")] = False,
    fit: Annotated[bool, typer.Option("--fit", help="Also what fits at most: context, sequences, device.")] = False,
    throughput: Annotated[
        bool,
        typer.Option("--throughput", help="Also the batch swept: tokens per second, per dollar of rent and per joule."),
    ] = False,
    electricity: Annotated[
        str | None,
        typer.Option("--electricity", metavar="USD", help="Price per kWh: what --throughput costs in electricity."),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Activations from a run of the real model without weights (needs fmkit[try])."),
    ] = False,
    paste_log: Annotated[
        str | None,
        typer.Option(
            "--paste-log",
            metavar="FILE",
            help="A start-up log of vLLM, llama.cpp or SGLang (- reads stdin): predicted and actual memory by part.",
        ),
    ] = None,
    trials: TrialsOption = True,
    plot: PlotOption = None,
    train: TrainOption = None,
    optimizer: OptimizerOption = None,
    lora_rank: LoraRankOption = None,
    lora_targets: LoraTargetsOption = None,
    checkpointing: CheckpointingOption = False,
    train_batch: TrainBatchOption = None,
    check: CheckOption = False,
    detail: DetailOption = False,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Size a model: memory by part for each precision and context, and whether it fits."""
    one_output(as_json=as_json, csv=csv, markdown=markdown)
    place = place_of(plot)
    if paste_log is not None:
        refuse_beside_log(invocation)
        shown = paste_log_answer(paste_log, model, one_value(precision, "--precision"), gpu, memory, offline=offline)
        emit_log(shown, as_json=as_json, csv=csv, markdown=markdown)
        return
    if model is None:
        raise UsageError("Missing argument 'MODEL'", next_command="fmkit vram --help")
    lengths = split_values(context, where="--context")
    result = vram(
        model,
        precision=split_values(precision, where="--precision"),
        context=None if lengths is None else [parse_tokens(text, where="--context") for text in lengths],
        sequences=whole_numbers(sequences, where="--sequences", at_most=MOST_SEQUENCES),
        encoder_tokens=None if encoder_tokens is None else parse_tokens(encoder_tokens, where="--encoder-tokens"),
        images=None if images is None else whole_number(images, where="--images", at_least=0),
        audio_seconds=audio_seconds,
        engine=engine,
        engine_option=engine_option,
        kv_dtype=kv_dtype,
        tensor_parallel=_count(tensor_parallel, "--tensor-parallel"),
        pipeline_parallel=_count(pipeline_parallel, "--pipeline-parallel"),
        expert_parallel=_count(expert_parallel, "--expert-parallel"),
        offload=offload,
        attention=attention,
        gpu=gpu,
        memory=memory,
        free=free,
        fit=fit,
        throughput=throughput,
        electricity=electricity,
        trace=trace,
        trials=trials,
        train=train,
        optimizer=optimizer,
        lora_rank=None if lora_rank is None else whole_number(lora_rank, where="--lora-rank", at_most=MOST_RANK),
        lora_targets=split_values(lora_targets, where="--lora-targets"),
        checkpointing=checkpointing,
        train_batch=whole_numbers(train_batch, where="--train-batch", at_most=MOST_BATCH),
        detail=detail,
        offline=offline,
        progress=None if quiet else note,
    )
    emit(
        result,
        partial(print_vram, detail=detail),
        as_json=as_json,
        as_text=csv_table if csv else markdown_text if markdown else None,
    )
    if place is not None:
        from fmkit.report.plots.vram import vram_figure  # noqa: PLC0415  most calls draw nothing

        draw(vram_figure(result), place, quiet=quiet)
    if check and result.estimates and not any(found.fits and found.valid for found in result.estimates):
        raise typer.Exit(ExitCode.DOES_NOT_FIT)


def _count(given: str | None, option: str) -> int:
    return 1 if given is None else whole_number(given, where=option)
