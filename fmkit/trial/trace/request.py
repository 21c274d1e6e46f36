"""What passes between fmkit and the process that traces a model, both JSON. No torch here."""

from __future__ import annotations

from typing import Any

import msgspec

from fmkit.trial.request import TrialFailure


class TraceCell(msgspec.Struct, frozen=True, kw_only=True):
    """One workload: `dtype` is PyTorch's name of the model's type; the tokens are those of a `TrialRequest`."""

    dtype: str
    context_tokens: int
    encoder_tokens: int
    sequences: int


class TraceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A model by its config.json and kind, and the workloads to trace. `eager` asks for eager attention in place of the default."""

    model: str
    kind: str
    config: dict[str, Any]
    cells: tuple[TraceCell, ...]
    eager: bool = False


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """Most bytes alive beside weights and inputs; `decode_bytes` None where the model does not decode."""

    prefill_bytes: int
    decode_bytes: int | None
    took_s: float


class TraceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the child writes: one `Traced` for each cell and the versions of the libraries, or why there is none."""

    traced: tuple[Traced, ...] = ()
    libraries: dict[str, str] = {}
    failure: TrialFailure | None = None
