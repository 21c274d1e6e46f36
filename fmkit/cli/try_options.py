"""What `fmkit try` takes: each option with its help, in the order of `fmkit try --help`."""

from __future__ import annotations

from typing import Annotated

import typer

TryModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="Catalog id, Hub id (org/name[@revision]), a folder, or a .gguf file. Default: the small model that ships with fmkit.",
        show_default=False,
    ),
]
TryEngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="transformers, llama.cpp (for .gguf files), or the address of a server: http://host:port/v1.",
    ),
]
TryPrecisionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        "-p",
        metavar="NAME",
        help="fp32, fp16, int8, int4, or a quantiser's: int8-torchao, int4-quanto; comma-separated. Default: fp16; on a CPU fp32 for float16. A .gguf file runs as it is.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, rocm, mps or xpu; for a server the device it runs on. Default: a CUDA or ROCm GPU, else the CPU.",
    ),
]
TryContextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        metavar="TOKENS",
        help="Tokens held per sequence, such as 2k; comma-separated. Default: 512.",
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option("--input", metavar="FILE", help="A text, picture or WAV file to work on, or a .jsonl file of many."),
]
PromptOption = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TEXT", help="Text to work on; several (captions, passages) parted by |."),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="FILE", help="A .jsonl file for the answers to many inputs; continued if it is there."
    ),
]
OutputTokensOption = Annotated[
    str | None,
    typer.Option("--output-tokens", metavar="N", help="The most tokens of an answer. Default: 48; a transcript 224."),
]
TranscriptOption = Annotated[
    str | None,
    typer.Option("--transcript", metavar="FILE", help="What the recording says: gives the word error rate."),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(
        "--reference", metavar="FILE", help="A text for --checks perplexity, quantised-kl and quantised-top1."
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="FILE",
        help="An unquantised .gguf file of the same model, for --checks quantised-kl and quantised-top1.",
    ),
]
RandomWeightsOption = Annotated[
    bool,
    typer.Option(
        "--random-weights",
        help="Build the model with random weights: downloads nothing, and memory and speed are true.",
    ),
]
LayersOption = Annotated[
    str | None, typer.Option("--layers", metavar="N", help="With random weights: this many layers only.")
]
ChecksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--checks",
        metavar="NAMES",
        help="Checks to run: quick (default), all, none, or names; help lists them all.",
    ),
]
RepeatOption = Annotated[str, typer.Option("--repeat", metavar="N", help="How often times are taken; 0: memory only.")]
LimitMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--limit-memory",
        metavar="SIZE",
        help="Refuse what needs more than this, such as 8GiB, and stop the trial if it takes more; on a GPU, of its memory.",
    ),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="What one phase may take, such as 90s. Default: an hour, or ten times what was predicted.",
    ),
]
OffloadOption = Annotated[
    bool,
    typer.Option("--offload", help="Weights without room on the device go to main memory, and on a CPU to disk."),
]
MaxMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--max-memory", metavar="SIZE", help="With --offload: room for weights on the first device, such as 8GiB."
    ),
]
EngineSettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        metavar="KEY=VALUE",
        help="gpu_layers=N: layers of a GGUF file on the GPU, the others stay in main memory; n_cpu_moe=N: so do the experts of N layers.",
    ),
]
TensorParallelOption = Annotated[
    str,
    typer.Option("--tensor-parallel", metavar="N", help="Processes that share each layer: one GPU each, or one CPU."),
]
HostsOption = Annotated[
    str,
    typer.Option("--hosts", metavar="H", help="Computers that these processes are on; start the same command on each."),
]
HostRankOption = Annotated[
    str, typer.Option("--host-rank", metavar="R", help="Which of the hosts this one is, from 0.")
]
RendezvousOption = Annotated[
    str | None,
    typer.Option(
        "--rendezvous", metavar="HOST:PORT", help="Where the hosts meet: an address and a free port of host 0."
    ),
]
KeepOption = Annotated[
    bool, typer.Option("--keep/--no-keep", help="Keep the result among the records of this machine.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")]
