"""From what was measured at a server to the answer of `fmkit try`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.api.endpoint_prediction import Prediction, estimate_beside
from fmkit.api.trial_result import machine_of, predicted_parts
from fmkit.results.trial import EngineVersion, TrialResult, TrialSpeed, sample
from fmkit.results.trial_setting import UNKNOWN, TrialMachine, TrialWorkload

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.records import CatalogModel
    from fmkit.machine import Machine
    from fmkit.results.trial import EndpointServer
    from fmkit.trial.endpoint.request import EndpointCell, EndpointMeasured, EndpointOutcome

MOST_CACHED = 0.2
"""A chat template is the same in every prompt, and may come from the server's cache; a larger share is said."""


def notes_on(cell: EndpointCell, found: EndpointMeasured, server: EndpointServer) -> list[str]:
    """What a reader has to know to read the figures of one workload rightly."""
    notes = []
    wanted = cell.context_tokens - cell.decode_tokens
    if found.prompt_tokens is not None and abs(found.prompt_tokens - wanted) > max(2.0, 0.02 * wanted):
        notes.append(f"the prompts were {found.prompt_tokens:.0f} tokens long instead of {wanted}")
    if found.cached_tokens and found.prompt_tokens and found.cached_tokens > MOST_CACHED * found.prompt_tokens:
        notes.append(
            f"the server had {found.cached_tokens:.0f} of the {found.prompt_tokens:.0f} prompt tokens in its cache: the first token is early"
        )
    if found.output_tokens < cell.decode_tokens:
        notes.append(
            f"the answers ended after {found.output_tokens:.0f} of {cell.decode_tokens} tokens: the rate is of few tokens"
        )
    if not found.timing.decode_tokens_per_s:
        notes.append("no decoding rate: the answers came in one piece")
    if server.slots is not None and cell.sequences > server.slots:
        notes.append(f"the server runs {server.slots} sequences at once: the others waited for their first token")
    return notes


class EndpointTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What all workloads at one server share; `precision` is the one asked for, `notes` are about all."""

    ref: str
    known: CatalogModel | None
    outcome: EndpointOutcome
    machine: Machine | None
    prediction: Prediction | None
    precision: str | None
    catalog: Catalog
    notes: tuple[str, ...]


def endpoint_result(trial: EndpointTrial, cell: EndpointCell, found: EndpointMeasured) -> TrialResult:
    """The answer for one workload; memory is only predicted, for a server does not say what it holds."""
    known, outcome, prediction = trial.known, trial.outcome, trial.prediction
    server = msgspec.structs.replace(
        outcome.server, token_count=found.counted_by, cache_usage_peak=found.cache_usage_peak
    )
    estimate, why_none = estimate_beside(prediction, cell, found, trial.catalog)
    notes = [*trial.notes, *notes_on(cell, found, outcome.server), *([why_none] if why_none else [])]
    predicted = {} if estimate is None else predicted_parts(estimate)
    speed = {} if estimate is None or estimate.speed is None else msgspec.to_builtins(estimate.speed)
    return TrialResult(
        fmkit=__version__,
        catalog=trial.catalog.date,
        id=uuid.uuid4().hex[:12],
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=trial.ref,
        hub_id=None if known is None else known.candidate.hub_id,
        engine=EngineVersion(name=server.kind, version=server.version or UNKNOWN),
        machine=_machine(trial.machine, server),
        workload=_workload(cell, found),
        precision=trial.precision or (UNKNOWN if prediction is None else prediction.precision),
        predicted=predicted,
        measured={},  # a server says what its files hold, not what it holds
        error={},
        unaccounted_bytes=None,
        speed=TrialSpeed(
            load_s=None,
            ttft_s=sample(found.timing.ttft_s),
            decode_tokens_per_s=sample(found.timing.decode_tokens_per_s),
            throughput_tokens_per_s=sample(found.throughput_tokens_per_s),
            predicted=speed,
        ),
        output=outcome.output,
        checks=outcome.checks,
        asked=outcome.asked,
        inputs=outcome.inputs,
        random_weights=False,
        warnings=(*notes, *(() if estimate is None else estimate.warnings)),
        next=()
        if known is None or prediction is None
        else (f"fmkit vram {known.candidate.id} --engine {server.kind}",),
        server=server,
    )


def _machine(machine: Machine | None, server: EndpointServer) -> TrialMachine:
    """The machine behind the server; only its address where it is not known."""
    if machine is None:
        return TrialMachine(name=f"behind {server.address}")
    return machine_of(machine, device=machine.name)


def _workload(cell: EndpointCell, found: EndpointMeasured) -> TrialWorkload:
    return TrialWorkload(
        task="text generation",
        kind="decoder",
        context_tokens=cell.context_tokens,
        sequences=cell.sequences,
        timed_prompt_tokens=None if found.prompt_tokens is None else round(found.prompt_tokens),
        timed_decode_tokens=round(found.output_tokens),
    )
