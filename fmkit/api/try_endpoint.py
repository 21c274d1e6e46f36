"""`fmkit try --engine http://host:port/v1`: a model behind a server, measured from outside, held against the estimate where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmkit.api.asked import precision_id, whole
from fmkit.api.asked import tokens as tokens_of
from fmkit.api.endpoint_prediction import known_model, machine_behind, prediction_for
from fmkit.api.endpoint_result import EndpointTrial, endpoint_result
from fmkit.api.trial_inputs import check_inputs, check_resumption, many_items, reference_of
from fmkit.api.trial_options import MOST_REPEATS
from fmkit.api.trial_request import DEFAULT_CONTEXT_TOKENS
from fmkit.api.trial_run import kept
from fmkit.catalog.load import load_catalog
from fmkit.errors import NetworkNeededError, UnsafeInputError, UsageError
from fmkit.results.trial import TrialResult, Unmeasured
from fmkit.results.trial_setting import UNKNOWN
from fmkit.trial.checks import check_names
from fmkit.trial.embedded import HELD_OUT_PATH
from fmkit.trial.endpoint.address import parse_address
from fmkit.trial.endpoint.client import Deadlines, EndpointClient
from fmkit.trial.endpoint.measure import measure
from fmkit.trial.endpoint.models import choose, served_models
from fmkit.trial.endpoint.request import EndpointCell, EndpointRequest
from fmkit.trial.endpoint.server import identify
from fmkit.trial.items import is_many, packaged_text
from fmkit.trial.request import TrialFailure
from fmkit.units import KIB

if TYPE_CHECKING:
    from fmkit.api.trial_options import TrialOptions
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.records import CatalogModel
    from fmkit.trial.endpoint.models import Served
    from fmkit.trial.endpoint.request import EndpointOutcome

MOST_STREAMS = 256
MOST_DECODE_TOKENS = 64
MOST_INPUT_BYTES = 256 * KIB
LISTS_SOME = ("transformers",)
"""Servers that serve more than they list: `transformers serve` loads what it is asked for."""

TUNED = ("instruct", "reasoning")
"""Tunings of models that answer instead of continuing."""


def try_endpoint(
    model: str | None,
    precision: Sequence[str | None],
    context: Sequence[str | int | None],
    sequences: Sequence[int],
    options: TrialOptions,
) -> list[TrialResult | Unmeasured]:
    """Every combination of contexts and sequences at one server; raises FmkitError where the first one fails."""
    catalog = load_catalog()
    _check_options(options, precision)
    cells = tuple(_cell(length, count) for count in sequences for length in context)
    asked_precision = None if precision[0] is None else precision_id(precision[0], catalog)
    prompt = _prompt(options)
    client = _client(options)
    machine = machine_behind(options.device, catalog, is_local=client.address.is_local)
    try:
        served, known, outcome = _measured(client, model, prompt, cells, options, catalog)
    finally:
        client.cancel()
    prediction, why_none = prediction_for(known, asked_precision, outcome.server, machine, catalog)
    about_all = [*outcome.warnings, *([why_none] if why_none else [])]
    if prediction is not None and machine is not None and options.device is None:
        about_all.append(
            f"predicted for this machine, {machine.name}, for the address is its own; --device names another"
        )
    trial = EndpointTrial(
        ref=model or served.id,
        known=known,
        outcome=outcome,
        machine=machine,
        prediction=prediction,
        precision=asked_precision,
        catalog=catalog,
        notes=tuple(about_all),
    )
    answers: list[TrialResult | Unmeasured] = []
    for cell, found in zip(cells, outcome.cells, strict=True):
        if isinstance(found, TrialFailure):
            answers.append(_unmeasured(cell, asked_precision, found))
        else:
            result = endpoint_result(trial, cell, found)
            answers.append(kept(result) if options.keep else result)
    return answers


def _measured(
    client: EndpointClient,
    model: str | None,
    prompt: str,
    cells: tuple[EndpointCell, ...],
    options: TrialOptions,
    catalog: Catalog,
) -> tuple[Served, CatalogModel | None, EndpointOutcome]:
    """Which of the server's models it is, the catalog's model for it, and what was measured."""
    models = served_models(client)
    kind = identify(client, models)
    served = choose(model, models, _other_names(model, catalog), lists_all=kind not in LISTS_SOME)
    known = known_model(model, served, catalog)
    request = EndpointRequest(
        prompt=prompt,
        cells=cells,
        repeat=options.repeat,
        checks=check_names(options.checks),
        instruction_tuned=None if known is None else known.candidate.tuning in TUNED,
        held_out_path=str(HELD_OUT_PATH),
        reference_path=reference_of(options),
        vocabulary=None if known is None or known.spec is None else known.spec.vocab_size,
        items=many_items(options),
        output_path=options.output,
        output_tokens=options.output_tokens,
    )
    check_resumption(options, "decoder", served.id, client.address.origin)
    return served, known, measure(client, kind, served, request, options.progress)


def _unmeasured(cell: EndpointCell, precision: str | None, failure: TrialFailure) -> Unmeasured:
    return Unmeasured(
        precision=precision or UNKNOWN,
        context_tokens=cell.context_tokens,
        sequences=cell.sequences,
        reason=failure.message,
    )


def _check_options(options: TrialOptions, precision: Sequence[str | None]) -> None:
    """Refuse what only makes sense where fmkit loads the model itself."""
    if options.random_weights or options.layers is not None:
        raise UsageError("a server has loaded its own weights", where="--random-weights")
    if options.tensor_parallel != 1 or options.hosts != 1 or options.host_rank or options.rendezvous is not None:
        raise UsageError("the server has divided its model itself, or not", where="--tensor-parallel")
    if options.limit_memory is not None:
        raise UsageError("the memory is the server's, which fmkit did not start", where="--limit-memory")
    if options.offload or options.max_memory is not None:
        raise UsageError("the server has placed its weights itself", where="--offload")
    if options.against is not None:
        raise UsageError("a server has one model loaded: there is nothing to compare it with", where="--against")
    if options.engine_option is not None:
        raise UsageError("the server was started with its own settings", where="--engine-option")
    if len(precision) > 1:
        raise UsageError(
            "a server has one precision: name the one it runs, for the prediction beside it", where="--precision"
        )
    if not 1 <= options.repeat <= MOST_REPEATS:
        raise UsageError(
            f"can't repeat {options.repeat} times: write a whole number from 1 to {MOST_REPEATS}", where="--repeat"
        )
    check_inputs("decoder", options, check_names(options.checks))


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
    if options.input is None or is_many(options.input):
        return packaged_text("text.txt")
    try:
        with Path(options.input).open("rb") as file:
            content = file.read(MOST_INPUT_BYTES + 1)
        if len(content) > MOST_INPUT_BYTES:
            raise UsageError(f"the text is longer than {MOST_INPUT_BYTES:,} bytes", where="--input")
        text = content.decode("utf-8").strip()
    except OSError as error:
        raise UsageError(f"can't read the file: {error.strerror}", where="--input") from error
    except UnicodeDecodeError as error:
        raise UsageError("the file is no UTF-8 text", where="--input") from error
    if not text:
        raise UnsafeInputError("the file holds no text to ask", where=options.input)
    return text


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
