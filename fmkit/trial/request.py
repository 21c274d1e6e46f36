"""What passes between fmkit and the child process that runs a model: a request in, a result out, both JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fmkit.results.trial import Check, EngineVersion

Phase = Literal["start", "warm-up", "load", "prefill", "decode", "timing", "output", "checks"]
"""Where a trial is; a failure names the phase it happened in."""

Quantiser = Literal["bnb-int8", "bnb-nf4"]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One workload of a sweep; the fields are those of a TrialRequest."""

    context_tokens: int
    encoder_tokens: int = 0
    sequences: int = 1
    image_tokens: int | None = None
    decode_steps: int = 16


class TrialRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. Weights come from `folder`, or are random if it is None; `config` is the model's config.json either way.

    For llama.cpp `folder` is a GGUF file, `config` holds `vocab_size` and `chat_template` (whether it has one) from its header, and
    `dtype` is the file's type, such as Q4_K_M.

    `dtype` is PyTorch's name of the type of whatever is not quantised. `context_tokens` are held per sequence in the decoder's
    cache (for an encoder: its input); `encoder_tokens` is the input of an encoder-decoder. `image_tokens` is what one image
    takes of the context. `held_out_path` is text the model has not seen, for the check that asks whether it knows language.
    `further` are workloads measured after this one with the same loaded model.
    """

    model: str
    kind: str
    config: dict[str, Any]
    dtype: str
    context_tokens: int
    folder: str | None = None
    engine: str = "transformers"
    quantiser: Quantiser | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    encoder_tokens: int = 0
    sequences: int = 1
    image_tokens: int | None = None
    decode_steps: int = 16
    output_tokens: int = 48
    repeat: int = 3
    checks: tuple[str, ...] = ()
    prompt: str | None = None
    input_path: str | None = None
    held_out_path: str | None = None
    further: tuple[Cell, ...] = ()

    def at(self, cell: Cell) -> TrialRequest:
        """The same trial with another workload, and nothing after it."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(cell), further=())

    @property
    def random_weights(self) -> bool:
        """Whether the weights are random: memory and speed are true, what the model says is not."""
        return self.folder is None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Single measurements: seconds to the first token, and tokens per second of one sequence while decoding.

    `prefill_tokens_per_s` are prompt tokens of all sequences per second, where the engine says them.
    """

    ttft_s: tuple[float, ...] = ()
    prefill_tokens_per_s: tuple[float, ...] = ()
    decode_tokens_per_s: tuple[float, ...] = ()


class TrialFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why the child gave up, in words for the user; `kind` decides the exit code."""

    kind: Literal["failed", "out-of-memory", "unsafe-input", "usage", "missing-extra", "does-not-fit"]
    phase: Phase
    message: str
    next_command: str | None = None


class CellOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at one workload: bytes by part and times, or the failure that ended it."""

    measured: dict[str, int] = {}
    timing: Timing = Timing()
    failure: TrialFailure | None = None


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the child measured. `measured` holds bytes by part; a part that can't be known on this machine is absent.

    `further` has one outcome for each workload of the request's `further`.
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
    further: tuple[CellOutcome, ...] = ()


class ChildResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the child writes at its end: an outcome, or the failure."""

    outcome: TrialOutcome | None = None
    failure: TrialFailure | None = None
