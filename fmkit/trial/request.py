"""What passes between fmkit and the child process that runs a model: a request in, a result out, both JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fmkit.results.trial import Check, EngineVersion

Phase = Literal["start", "warm-up", "load", "prefill", "decode", "timing", "output", "checks"]
"""Where a trial is; a failure names the phase it happened in."""

Quantiser = Literal["bnb-int8", "bnb-nf4"]


class TrialRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. Weights come from `folder`, or are random if it is None; `config` is the model's config.json either way.

    `dtype` is PyTorch's name of the type of whatever is not quantised. `context_tokens` are held per sequence in the decoder's
    cache (for an encoder: its input); `encoder_tokens` is the input of an encoder-decoder. `image_tokens` is what one image
    takes of the context. `held_out_path` is text the model has not seen, for the check that asks whether it knows language.
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

    @property
    def random_weights(self) -> bool:
        """Whether the weights are random: memory and speed are true, what the model says is not."""
        return self.folder is None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Single measurements: seconds to the first token, and tokens per second of one sequence while decoding."""

    ttft_s: tuple[float, ...] = ()
    decode_tokens_per_s: tuple[float, ...] = ()


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the child measured. `measured` holds bytes by part; a part that can't be known on this machine is absent."""

    engine: EngineVersion
    task: str
    device: str
    measured: dict[str, int]
    load_s: float
    timing: Timing
    output: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()


class TrialFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why the child gave up, in words for the user; `kind` decides the exit code."""

    kind: Literal["failed", "out-of-memory", "unsafe-input", "usage", "missing-extra"]
    phase: Phase
    message: str
    next_command: str | None = None


class ChildResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the child writes at its end: an outcome, or the failure."""

    outcome: TrialOutcome | None = None
    failure: TrialFailure | None = None
