"""Options of `fmkit vram --train`: how a model is fine-tuned."""

from __future__ import annotations

from typing import Annotated

import typer

TrainOption = Annotated[
    str | None,
    typer.Option("--train", metavar="METHOD", help="Size fine-tuning instead: full, lora or qlora."),
]
OptimizerOption = Annotated[
    str | None,
    typer.Option(
        "--optimizer",
        metavar="NAME",
        help="adamw (default), adamw-foreach, adamw-8bit, adafactor, sgd, sgd-momentum.",
    ),
]
LoraRankOption = Annotated[
    str | None, typer.Option("--lora-rank", metavar="N", help="Rank of the adapters. Default: 16.")
]
LoraTargetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--lora-targets", metavar="NAMES", help="Layers with an adapter: all-linear (default), q_proj,v_proj ..."
    ),
]
CheckpointingOption = Annotated[
    bool, typer.Option("--checkpointing", help="Recompute each block in backward instead of keeping what it saved.")
]
TrainBatchOption = Annotated[
    list[str] | None,
    typer.Option("--train-batch", metavar="N", help="Sequences in a batch; comma-separated. Default: 1."),
]
