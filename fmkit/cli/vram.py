"""`fmkit vram MODEL`: what hardware does it need?"""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.vram import MOST_SEQUENCES, vram
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
    ModelArgument,
    OfflineOption,
    PrecisionOption,
    QuietOption,
    SequencesOption,
    one_output,
    split_values,
    whole_number,
    whole_numbers,
)
from fmkit.cli.output import emit, write
from fmkit.errors import ExitCode
from fmkit.report.vram import csv_table, markdown_text, print_vram
from fmkit.units import parse_tokens


def vram_command(
    model: ModelArgument,
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
    engine: EngineOption = "transformers",
    engine_option: Annotated[
        list[str] | None,
        typer.Option("--engine-option", metavar="KEY=VALUE", help="A setting of the engine; repeat for several."),
    ] = None,
    kv_dtype: Annotated[
        str | None,
        typer.Option("--kv-dtype", metavar="TYPE", help="Type of the KV cache: fp8 (vllm), q8_0 (llama.cpp) ..."),
    ] = None,
    tensor_parallel: Annotated[
        str | None, typer.Option("--tensor-parallel", metavar="N", help="Devices the layers are divided over (vllm).")
    ] = None,
    attention: Annotated[
        str, typer.Option("--attention", metavar="KIND", help="sdpa, eager or flash: how attention is computed.")
    ] = "sdpa",
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    free: Annotated[bool, typer.Option("--free", help="Count what is free on this machine now.")] = False,
    fit: Annotated[bool, typer.Option("--fit", help="Also what fits at most: context, sequences, device.")] = False,
    check: CheckOption = False,
    detail: DetailOption = False,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Size a model: memory by part for each precision and context, and whether it fits."""
    del quiet  # nothing is said beside the answer
    one_output(as_json=as_json, csv=csv, markdown=markdown)
    lengths = split_values(context)
    result = vram(
        model,
        precision=split_values(precision),
        context=None if lengths is None else [parse_tokens(text, where="--context") for text in lengths],
        sequences=whole_numbers(sequences, where="--sequences", at_most=MOST_SEQUENCES),
        encoder_tokens=None if encoder_tokens is None else parse_tokens(encoder_tokens, where="--encoder-tokens"),
        images=None if images is None else whole_number(images, where="--images", at_least=0),
        engine=engine,
        engine_option=engine_option,
        kv_dtype=kv_dtype,
        tensor_parallel=1 if tensor_parallel is None else whole_number(tensor_parallel, where="--tensor-parallel"),
        attention=attention,
        gpu=gpu,
        memory=memory,
        free=free,
        fit=fit,
        offline=offline,
    )
    if csv or markdown:
        write(csv_table(result) if csv else markdown_text(result))
    else:
        emit(result, lambda found, console: print_vram(found, console, detail=detail), as_json=as_json)
    if check and result.estimates and not any(found.fits and found.valid for found in result.estimates):
        raise typer.Exit(ExitCode.DOES_NOT_FIT)
