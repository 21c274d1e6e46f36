"""The options of a trial that do not change from one workload to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fmkit.api.trial_request import Confirm
from fmkit.errors import UsageError

ENGINES = ("transformers", "llama.cpp")
SERVERS = ("vllm", "sglang", "tgi", "ollama")
"""What fmkit measures at its address, and does not start."""
MOST_REPEATS = 100


class TrialOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The long options of `fmkit try`, but for those that a sweep takes several of."""

    engine: str = "transformers"
    device: str | None = None
    input: str | None = None
    prompt: str | None = None
    output: str | None = None
    output_tokens: int | None = None
    transcript: str | None = None
    reference: str | None = None
    against: str | None = None
    random_weights: bool = False
    layers: int | None = None
    checks: Sequence[str] | None = None
    repeat: int = 3
    yes: bool = False
    keep: bool = True
    trials: bool = True
    offline: bool = False
    timeout_s: float | None = None
    limit_memory: str | int | None = None
    offload: bool = False
    max_memory: str | int | None = None
    engine_option: str | Sequence[str] | None = None
    tensor_parallel: int = 1
    hosts: int = 1
    host_rank: int = 0
    rendezvous: str | None = None
    confirm: Confirm | None = None
    progress: Callable[[str], None] | None = None


def check_options(options: TrialOptions, model: str | None) -> None:
    """Refuse what makes no sense whatever the model is."""
    engine, layers, repeat = options.engine, options.layers, options.repeat
    if engine not in ENGINES:
        if engine in SERVERS:
            raise UsageError(
                f"{engine} is measured as a server: start it, and give its address",
                where="--engine",
                next_command="fmkit try --engine http://localhost:8000/v1",
            )
        raise UsageError.unknown("engine", engine, ENGINES, where="--engine")
    if layers is not None and not options.random_weights:
        raise UsageError(
            "--layers cuts the model short, which makes sense with --random-weights only", where="--layers"
        )
    if layers is not None and layers < 1:
        raise UsageError(f"can't build {layers} layers: write a whole number of at least 1", where="--layers")
    fewest = 0 if engine == "transformers" else 1  # 0: memory alone
    if not fewest <= repeat <= MOST_REPEATS:
        raise UsageError(
            f"can't repeat {repeat} times: write a whole number from {fewest} to {MOST_REPEATS}", where="--repeat"
        )
    if model is None and options.random_weights:
        raise UsageError("name a model for --random-weights", where="MODEL", next_command="fmkit catalog list")
