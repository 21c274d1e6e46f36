"""`fmkit try --engine http://host:port/v1`: a model behind a server, measured from outside, held against the estimate where there is one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit import __version__
from fmkit.api.asked import precision_id, whole
from fmkit.api.asked import tokens as tokens_of
from fmkit.api.resolve import resolve_machine, this_machine
from fmkit.api.sizing import estimate_for, has_stored
from fmkit.api.trial_request import DEFAULT_CONTEXT_TOKENS, check_input
from fmkit.api.trial_result import predicted_parts, sample
from fmkit.api.trial_run import MOST_REPEATS, kept
from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError, NetworkNeededError, UsageError
from fmkit.results.trial import EngineVersion, TrialResult, TrialSpeed, Unmeasured
from fmkit.sizing.estimate import Workload
from fmkit.trial.checks import check_names
from fmkit.trial.engines.endpoint import EndpointCell, EndpointRequest, measure
from fmkit.trial.engines.endpoint_client import Deadlines, EndpointClient, is_address, parse_address
from fmkit.trial.engines.endpoint_server import choose, identify, name_stem, served_models
from fmkit.trial.given_text import INPUTS
from fmkit.trial.request import TrialFailure
from fmkit.units import KIB

if TYPE_CHECKING:
    from fmkit.api.trial_run import TrialOptions
    from fmkit.catalog.load import Catalog, CatalogModel
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.results.trial import EndpointServer
    from fmkit.results.vram import Estimate
    from fmkit.trial.engines.endpoint import EndpointMeasured, EndpointOutcome
    from fmkit.trial.engines.endpoint_server import Served

__all__ = ["is_address", "try_endpoint"]

MOST_STREAMS = 256
MOST_DECODE_TOKENS = 64
MOST_INPUT_BYTES = 256 * KIB
MOST_CACHED = 0.2
"""A chat template is the same in every prompt, and may come from the server's cache; a larger share is said."""

UNKNOWN = "unknown"
LISTS_SOME = ("transformers", UNKNOWN)
"""Servers that may serve more than they list: `transformers serve` loads what it is asked for."""

TUNED = ("instruct", "reasoning")
"""Tunings of models that answer instead of continuing."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What is predicted for a server: in which engine, at which precision, on which machine."""

    spec: ModelSpec
    engine: str
    precision: str
    machine: Machine | None


def try_endpoint(
    model: str | None,
    precision: Sequence[str | None],
    context: Sequence[str | int | None],
    sequences: Sequence[int],
    options: TrialOptions,
) -> list[TrialResult | Unmeasured]:
    """Every combination of contexts and sequences at one server; raises FmkitError where the first one fails."""
    catalog = load_catalog()
    names = check_names(options.checks)
    _check_options(options, precision)
    cells = tuple(_cell(length, count) for count in sequences for length in context)
    asked_precision = None if precision[0] is None else precision_id(precision[0], catalog)
    prompt = _prompt(options)
    client = _client(options)
    try:
        models = served_models(client)
        kind = identify(client, models)
        served = choose(model, models, _other_names(model, catalog), lists_all=kind not in LISTS_SOME)
        known = _known(model, served, catalog)
        tuned = None if known is None else known.candidate.tuning in TUNED
        request = EndpointRequest(
            prompt=prompt, cells=cells, repeat=options.repeat, checks=names, instruction_tuned=tuned
        )
        outcome = measure(client, kind, served, request, options.progress)
    finally:
        client.cancel()
    machine = _machine(options.device, catalog, is_local=client.address.is_local)
    prediction, why_none = _prediction(known, asked_precision, outcome.server, machine, catalog)
    answers: list[TrialResult | Unmeasured] = []
    for cell, found in zip(cells, outcome.cells, strict=True):
        if isinstance(found, TrialFailure):
            answers.append(
                Unmeasured(
                    precision=asked_precision or UNKNOWN,
                    context_tokens=cell.context_tokens,
                    sequences=cell.sequences,
                    reason=found.message,
                )
            )
            continue
        estimate, note = _estimate(prediction, cell, found, catalog)
        notes = [*outcome.warnings, *_notes(cell, found, outcome.server), *filter(None, (why_none, note))]
        result = _result(model or served.id, known, outcome, cell, found, machine, prediction, estimate, catalog, notes)
        if asked_precision is not None and prediction is None:
            result = msgspec.structs.replace(result, precision=asked_precision)
        answers.append(kept(result) if options.keep else result)
    return answers


def _check_options(options: TrialOptions, precision: Sequence[str | None]) -> None:
    """Refuse what only makes sense where fmkit loads the model itself."""
    if options.random_weights or options.layers is not None:
        raise UsageError("a server has loaded its own weights", where="--random-weights")
    if len(precision) > 1:
        raise UsageError(
            "a server has one precision: name the one it runs, for the prediction beside it", where="--precision"
        )
    if not 1 <= options.repeat <= MOST_REPEATS:
        raise UsageError(
            f"can't repeat {options.repeat} times: write a whole number from 1 to {MOST_REPEATS}", where="--repeat"
        )
    check_input("decoder", options.input, options.prompt)


def _cell(context: str | int | None, sequences: int) -> EndpointCell:
    tokens = DEFAULT_CONTEXT_TOKENS if context is None else tokens_of(context, "--context")
    if tokens < 2:
        raise UsageError("a context of 1 token leaves none for a prompt", where="--context")
    return EndpointCell(
        context_tokens=tokens,
        sequences=whole(sequences, "--sequences", at_most=MOST_STREAMS),
        decode_tokens=min(MOST_DECODE_TOKENS, tokens // 2),
    )


def _prompt(options: TrialOptions) -> str:
    if options.prompt is not None:
        return options.prompt
    if options.input is None:
        return (INPUTS / "text.txt").read_text(encoding="utf-8").strip()
    try:
        with Path(options.input).open("rb") as file:
            content = file.read(MOST_INPUT_BYTES + 1)
        if len(content) > MOST_INPUT_BYTES:
            raise UsageError(f"the text is longer than {MOST_INPUT_BYTES:,} bytes", where="--input")
        return content.decode("utf-8").strip()
    except OSError as error:
        raise UsageError(f"can't read the file: {error.strerror}", where="--input") from error
    except UnicodeDecodeError as error:
        raise UsageError("the file is no UTF-8 text", where="--input") from error


def _client(options: TrialOptions) -> EndpointClient:
    address = parse_address(options.engine)
    if options.offline and not address.is_local:
        raise NetworkNeededError(f"{address.origin} is not on this computer, and the network is off", where="--offline")
    limit_s = options.timeout_s
    deadlines = (
        Deadlines() if limit_s is None else Deadlines(answer_s=limit_s, first_token_s=limit_s, next_token_s=limit_s)
    )
    return EndpointClient(address, deadlines)


def _other_names(model: str | None, catalog: Catalog) -> tuple[str, ...]:
    """What else a server may call the model: its Hub id."""
    found = None if model is None else catalog.resolve(model)
    hub_id = None if found is None else catalog.model(found).candidate.hub_id
    return () if hub_id is None else (hub_id,)


def _known(model: str | None, served: Served, catalog: Catalog) -> CatalogModel | None:
    """The catalog's model that the server runs, by the name asked for or one of the server's names for it."""
    for name in (model, served.id, served.root):
        if not name:
            continue
        for form in (name, name.rpartition("/")[2], name_stem(name)):
            found = catalog.resolve(form)
            if found is not None:
                return catalog.model(found)
    return None


def _machine(device: str | None, catalog: Catalog, *, is_local: bool) -> Machine | None:
    """The machine the server runs on: the one named, this one behind a loopback address, else unknown."""
    if device is not None and device not in ("cpu", "cuda"):
        return resolve_machine(device, None, catalog)
    if device is not None and not is_local:
        raise UsageError("name the device that the server runs on, such as rtx-4090", where="--device")
    return this_machine(catalog) if is_local else None


def _prediction(
    known: CatalogModel | None,
    asked: str | None,
    server: EndpointServer,
    machine: Machine | None,
    catalog: Catalog,
) -> tuple[Prediction | None, str | None]:
    """What can be predicted, or why nothing can."""
    if known is None or known.spec is None:
        return None, "no prediction: the catalog does not know this model"
    engine = catalog.engines.get(server.kind)
    if engine is None:
        return None, f"no prediction: the engine is {server.kind}, for which there is no estimate"
    precision = asked or _own_precision(known.spec, server, catalog)
    if precision is None:
        return None, "no prediction: the server does not say its precision (--precision names it)"
    return Prediction(spec=known.spec, engine=server.kind, precision=precision, machine=machine), None


def _own_precision(spec: ModelSpec, server: EndpointServer, catalog: Catalog) -> str | None:
    """The precision as the server says it, or the one its engine loads a repository in unless told otherwise."""
    if server.kind in ("vllm", "transformers"):
        return "stored" if has_stored(server.kind, catalog, spec) else "fp16"
    layouts = catalog.engines[server.kind].layouts
    said = (server.weights_type or "").casefold()
    return next(
        (name for name, layout in layouts.items() if said and said in catalog.layouts[layout].name.casefold().split()),
        None,
    )


def _estimate(
    prediction: Prediction | None, cell: EndpointCell, found: EndpointMeasured, catalog: Catalog
) -> tuple[Estimate | None, str | None]:
    if prediction is None:
        return None, None
    workload = Workload(context_tokens=cell.context_tokens, sequences=cell.sequences)
    prompt_tokens = round(found.prompt_tokens or max(1, cell.context_tokens - cell.decode_tokens))
    try:
        return estimate_for(
            prediction.spec, prediction.precision, workload, prediction.machine, catalog,
            engine=prediction.engine, prompt_tokens=prompt_tokens,
        ), None  # fmt: skip
    except FmkitError as error:
        return None, f"no prediction: {error.message}"


def _notes(cell: EndpointCell, found: EndpointMeasured, server: EndpointServer) -> list[str]:
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


def _result(
    ref: str,
    known: CatalogModel | None,
    outcome: EndpointOutcome,
    cell: EndpointCell,
    found: EndpointMeasured,
    machine: Machine | None,
    prediction: Prediction | None,
    estimate: Estimate | None,
    catalog: Catalog,
    notes: Sequence[str],
) -> TrialResult:
    server = msgspec.structs.replace(
        outcome.server, token_count=found.counted_by, cache_usage_peak=found.cache_usage_peak
    )
    predicted = {} if estimate is None else predicted_parts(estimate)
    speed = {} if estimate is None or estimate.speed is None else msgspec.to_builtins(estimate.speed)
    return TrialResult(
        fmkit=__version__,
        catalog=catalog.date,
        id=uuid.uuid4().hex[:12],
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        model=ref,
        hub_id=None if known is None else known.candidate.hub_id,
        engine=EngineVersion(name=server.kind, version=server.version or UNKNOWN),
        machine=_machine_facts(machine, server),
        workload=_workload_facts(cell, found),
        precision=UNKNOWN if prediction is None else prediction.precision,
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
        random_weights=False,
        warnings=(*notes, *(() if estimate is None else estimate.warnings)),
        next=()
        if known is None or prediction is None
        else (f"fmkit vram {known.candidate.id} --engine {server.kind}",),
        server=server,
    )


def _machine_facts(machine: Machine | None, server: EndpointServer) -> dict[str, Any]:
    """The machine behind the server; only its address where it is not known."""
    if machine is None:
        return {"name": f"behind {server.address}", "origin": UNKNOWN, "device": UNKNOWN, "device_id": None, "count": 1}
    return {
        "name": machine.name,
        "origin": machine.origin,
        "device": machine.name,
        "device_id": None if machine.device is None else machine.device.id,
        "count": machine.count,
        "memory_bytes": machine.memory_bytes,
        "usable_bytes": machine.usable_bytes,
        "free_bytes": machine.free_bytes,
        "cpu_cores": machine.cpu_cores,
    }


def _workload_facts(cell: EndpointCell, found: EndpointMeasured) -> dict[str, Any]:
    return {
        "task": "text generation",
        "kind": "decoder",
        "context_tokens": cell.context_tokens,
        "encoder_tokens": 0,
        "sequences": cell.sequences,
        "image_tokens": None,
        "timed_prompt_tokens": None if found.prompt_tokens is None else round(found.prompt_tokens),
        "timed_decode_tokens": round(found.output_tokens),
        "dtype": UNKNOWN,
        "quantiser": None,
        "device": UNKNOWN,
        "layers": None,
    }
