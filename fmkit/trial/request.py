"""What passes between fmkit and the child process that runs a model: a request in, a result out, both JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fmkit.results.trial import Check, EngineVersion, InputsSummary

Phase = Literal["start", "join", "warm-up", "load", "prefill", "decode", "timing", "output", "checks"]
"""Where a trial is; a failure names the phase it happened in."""

TorchDevice = Literal["cpu", "cuda", "mps", "xpu"]
"""PyTorch's names of devices; those of AMD are `cuda` there."""

Quantiser = Literal[
    "bnb-int8", "bnb-nf4", "bnb-nf4-single", "bnb-fp4", "torchao-int8", "torchao-int4-g128", "torchao-int4-g64", "torchao-int4-g32",
    "quanto-int8", "quanto-int4",
]  # fmt: skip


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One workload of a sweep; the fields are those of a TrialRequest."""

    context_tokens: int
    encoder_tokens: int = 0
    sequences: int = 1
    image_tokens: int | None = None
    decode_steps: int = 16


class Ranks(msgspec.Struct, frozen=True, kw_only=True):
    """A model divided over `count` processes, as many on each of `hosts`; this request goes to those of host `host_rank`.

    The processes meet at `rendezvous` (host:port, an address of host 0), on a single host in a file.
    """

    count: int
    hosts: int = 1
    host_rank: int = 0
    rendezvous: str | None = None

    @property
    def here(self) -> int:
        """Processes on this host."""
        return self.count // self.hosts


class TrialRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. Weights come from `folder`, or are random if it is None; `config` is the model's config.json either way.

    For llama.cpp `folder` is a GGUF file, `config` holds `vocab_size` and `chat_template` (whether it has one) from its header, and
    `dtype` is the file's type, such as Q4_K_M.

    `dtype` is PyTorch's name of the type of whatever is not quantised. `context_tokens` are held per sequence in the decoder's
    cache (for an encoder: its input); `encoder_tokens` is the input of an encoder-decoder. `image_tokens` is what one image
    takes of the context. `held_out_path` is text the model has not seen, for the check that asks whether it knows language.
    `output_path` takes the answers to a JSONL file of inputs. `transcript` is what a recording says, `reference_path` a text to score. A
    request with `predictions_to` only writes what the model predicts for that text; `predictions_from` is such a file to compare with.
    `unseen` are checks that can't be made, with the reasons.
    With `offload` weights that have no room on the device lie in main memory and on disk; `max_memory_bytes` is the room for weights on
    the first device, on a CPU in main memory. `gpu_layers` is how many layers llama.cpp puts on the device, None for all, and `n_cpu_moe` of
    how many of the first it keeps the experts in main memory.
    `limit_bytes` is what the process may hold at most, on a device what PyTorch may on each of them.
    `further` are workloads measured after this one with the same loaded model; a request for several `ranks` has none.
    """

    model: str
    kind: str
    config: dict[str, Any]
    dtype: str
    context_tokens: int
    folder: str | None = None
    engine: str = "transformers"
    quantiser: Quantiser | None = None
    device: TorchDevice = "cpu"
    offload: bool = False
    max_memory_bytes: int | None = None
    gpu_layers: int | None = None
    n_cpu_moe: int = 0
    encoder_tokens: int = 0
    sequences: int = 1
    image_tokens: int | None = None
    decode_steps: int = 16
    output_tokens: int = 48
    repeat: int = 3
    checks: tuple[str, ...] = ()
    prompt: str | None = None
    input_path: str | None = None
    output_path: str | None = None
    transcript: str | None = None
    reference_path: str | None = None
    predictions_to: str | None = None
    predictions_from: str | None = None
    unseen: dict[str, str] = {}
    held_out_path: str | None = None
    limit_bytes: int | None = None
    further: tuple[Cell, ...] = ()
    ranks: Ranks | None = None

    def at(self, cell: Cell) -> TrialRequest:
        """The same trial with another workload, and nothing after it."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(cell), further=())

    @property
    def random_weights(self) -> bool:
        """Whether the weights are random: memory and speed are true, what the model says is not."""
        return self.folder is None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Single measurements: seconds to the first token, and tokens per second of one sequence while decoding.

    `prefill_tokens_per_s` are prompt tokens of all sequences per second, where the engine says them. `others_share` is what other
    programs used of the processors meanwhile, 0 to 1; None where that is not known.
    """

    ttft_s: tuple[float, ...] = ()
    prefill_tokens_per_s: tuple[float, ...] = ()
    decode_tokens_per_s: tuple[float, ...] = ()
    others_share: float | None = None


class TrialFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why the child gave up, in words for the user; `kind` decides the exit code.

    Where memory ran out, `held_bytes` were held and `wanted_bytes` more were asked for; None where nobody said.
    """

    kind: Literal["failed", "out-of-memory", "unsafe-input", "usage", "missing-extra", "does-not-fit"]
    phase: Phase
    message: str
    next_command: str | None = None
    held_bytes: int | None = None
    wanted_bytes: int | None = None


class RankOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a divided model measured on its own share: bytes by part, as in TrialOutcome."""

    rank: int
    host: str
    device: str
    measured: dict[str, int]


class CellOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at one workload: bytes by part and times, or the failure that ended it; `ranks` for a divided model."""

    measured: dict[str, int] = {}
    timing: Timing = Timing()
    failure: TrialFailure | None = None
    ranks: tuple[RankOutcome, ...] = ()


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the child measured. `measured` holds bytes by part; a part that can't be known on this machine is absent.

    `output_error` says why there is no output although memory and times were measured.

    `further` has one outcome for each workload of the request's `further`, `ranks` one for each process of a divided model;
    `measured` is then this process's own.
    """

    engine: EngineVersion
    task: str
    device: str
    measured: dict[str, int]
    load_s: float
    timing: Timing
    output: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()
    limit_means: tuple[str, ...] = ()
    asked: str = ""
    inputs: InputsSummary | None = None
    output_error: str | None = None
    further: tuple[CellOutcome, ...] = ()
    ranks: tuple[RankOutcome, ...] = ()


class ChildResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the child writes at its end: an outcome, or the failure."""

    outcome: TrialOutcome | None = None
    failure: TrialFailure | None = None
