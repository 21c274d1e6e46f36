"""What is asked of a server, and what came of it."""

from __future__ import annotations

import msgspec

from fmkit.results.trial import Check, EndpointServer, InputsSummary
from fmkit.trial.items import Item
from fmkit.trial.request import Timing, TrialFailure


class EndpointCell(msgspec.Struct, frozen=True, kw_only=True):
    """One workload: so many streams at once, each of a prompt and the tokens decoded after it."""

    context_tokens: int
    sequences: int
    decode_tokens: int


class EndpointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask of a server. `instruction_tuned` is what the catalog knows of the model; None: whether it takes chat decides.

    `vocabulary` is its number of tokens, where the catalog knows it; `reference_path` a text to score instead of the one that ships.
    `items` are asked one after the other instead of `prompt`, their answers written to `output_path`.
    """

    prompt: str
    cells: tuple[EndpointCell, ...]
    repeat: int = 3
    checks: tuple[str, ...] = ()
    instruction_tuned: bool | None = None
    held_out_path: str | None = None
    reference_path: str | None = None
    vocabulary: int | None = None
    items: tuple[Item, ...] = ()
    output_path: str | None = None
    output_tokens: int | None = None


class EndpointMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """What one workload took; token counts are means over all streams, `prompt_tokens` None where the server does not count.

    `cached_tokens` of the prompt were not computed but found by the server, as far as it says.
    """

    timing: Timing
    throughput_tokens_per_s: tuple[float, ...]
    prompt_tokens: float | None
    cached_tokens: float
    output_tokens: float
    counted_by: str
    cache_usage_peak: float | None


class EndpointOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that was learnt of a server and a model; one answer for each workload asked for."""

    server: EndpointServer
    cells: tuple[EndpointMeasured | TrialFailure, ...]
    output: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    asked: str = ""
    inputs: InputsSummary | None = None
