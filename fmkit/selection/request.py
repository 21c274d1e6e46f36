"""The typed question: what the user asked for, after parsing and before any model is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.errors import UsageError
from fmkit.selection.facts import LicenceClass, Modality

if TYPE_CHECKING:
    from fmkit.selection.facts import Candidate, Task

SCORE_PARTS = ("quality", "latency", "memory", "licence", "cost")

DEFAULT_WEIGHTS = {"quality": 0.55, "latency": 0.25, "memory": 0.1, "licence": 0.05, "cost": 0.05}
"""Weights of the score for a task that states none: being good at the task counts for more than all the rest. Latency comes
next, so that a model that answers after minutes does not win by a few points."""

DEFAULT_PRECISIONS = ("fp16", "int8", "int4")

THINKING_TOKENS = 2000
"""Hidden tokens a reasoning model is assumed to write before each answer. An assumption, said wherever it is used:
DeepSeek's model card of R1-0528 reports averages of 12,000 and 23,000 on AIME, and easy questions take some hundreds."""


USABLE_TOKENS_PER_S = 5.0
"""Slower than this even at the fast end of its range, a model is not proposed unless `--min-tokens-per-s` asks for less. It is
about the pace at which people read: 238 words a minute (Brysbaert 2019, doi:10.1016/j.jml.2019.104047) are 4 words a second."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the user asked for; a field at its default asks for nothing.

    `licences` holds licence ids, `licence_classes` classes: a model passes with either. `languages` are lower-case BCP 47
    codes, `region` an ISO code or EU/UK. `hardware_named` says that the user named the machine to run on, which leaves
    models that run at a provider out. `domain` (legal, biomedical) is a preference: among equals, models trained for it come
    first. `memory_share` scales the machine's budget: 0.5 asks what half of it would hold.
    """

    task: str
    context_tokens: int | None = None
    sequences: int = 1
    licence_classes: tuple[LicenceClass, ...] = ()
    licences: tuple[str, ...] = ()
    use: Literal["commercial", "research"] | None = None
    region: str | None = None
    monthly_users: int | None = None
    train_on_outputs: bool = False
    languages: tuple[str, ...] = ()
    modalities: tuple[Modality, ...] = ()
    min_tokens_per_s: float | None = None
    max_ttft_s: float | None = None
    min_quality: float | None = None
    engine: str = "transformers"
    precisions: tuple[str, ...] = DEFAULT_PRECISIONS
    open_only: bool = False
    api_only: bool = False
    data_stays_here: bool = False
    hardware_named: bool = False
    memory_share: float = 1.0
    released_after: str | None = None
    exclude_families: tuple[str, ...] = ()
    only_families: tuple[str, ...] = ()
    domain: str | None = None
    requests_per_day: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    weights: dict[str, float] = {}


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the task, in tokens: what cost and latency are counted for."""

    prompt_tokens: int
    output_tokens: int
    thinking_tokens: int


def context_need(request: Request, task: Task) -> int:
    """Tokens of context the answer must hold: as asked, else what the task needs, never a model's maximum."""
    return request.context_tokens or task.context_tokens


def load_of(request: Request, task: Task, candidate: Candidate) -> Load:
    """The tokens of one request; a reasoning model also writes its thoughts, unless the task does without and the model can."""
    return Load(
        prompt_tokens=request.prompt_tokens or task.prompt_tokens,
        output_tokens=task.output_tokens if request.output_tokens is None else request.output_tokens,
        thinking_tokens=THINKING_TOKENS if candidate.thinks and not task.is_answered_directly(candidate) else 0,
    )


def weights_of(request: Request, task: Task) -> dict[str, float]:
    """Weights of the parts, summing to 1: the task's (or the defaults), with those the user gave put in their place."""
    merged = plain_weights(request, task)
    total = sum(merged.values())
    if total <= 0:
        raise UsageError("all weights are zero: at least one part must count", where="--weight")
    return {part: weight / total for part, weight in merged.items()}


def plain_weights(request: Request, task: Task) -> dict[str, float]:
    """The weights before they are made to sum to 1."""
    given = task.weights or DEFAULT_WEIGHTS
    return {part: float(request.weights.get(part, given.get(part, 0.0))) for part in SCORE_PARTS}


def raised_parts(request: Request, task: Task) -> frozenset[str]:
    """The parts to which the user gave more weight than the task does."""
    given = task.weights or DEFAULT_WEIGHTS
    return frozenset(part for part, weight in request.weights.items() if weight > given.get(part, 0.0))


def parse_weights(text: str) -> dict[str, float]:
    """Weights typed as `quality=0.5,latency=0.3`; a part left out keeps its default.

    >>> parse_weights("quality=0.5,latency=0.3")
    {'quality': 0.5, 'latency': 0.3}
    """
    weights: dict[str, float] = {}
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        part, _, number = item.partition("=")
        part = part.strip().lower()
        if part not in SCORE_PARTS:
            raise UsageError.unknown("part of the score", part, SCORE_PARTS, where="--weight")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not 0 <= weight < float("inf"):
            raise UsageError(f"can't read the weight in {item!r}: write for example quality=0.5", where="--weight")
        weights[part] = weight
    return weights
