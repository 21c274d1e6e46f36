"""What a trial will do, worked out before a process is started: the model, the workloads, what is predicted, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.api.asked import precision_id
from fmkit.api.layouts import layout_for
from fmkit.api.resolve import ResolvedModel, resolve_model
from fmkit.api.sizing import estimate_for
from fmkit.api.trial_agreement import check_against
from fmkit.api.trial_devices import machine_for
from fmkit.api.trial_gguf import gguf_facts, require_gguf, settings_of, stored_only
from fmkit.api.trial_inputs import check_inputs
from fmkit.api.trial_memory import limit_of, limited
from fmkit.api.trial_offload import off_loading, refuse_placement
from fmkit.api.trial_options import TrialOptions, check_options
from fmkit.api.trial_ranks import check_ranks, ranks_for, shared, without_speed
from fmkit.api.trial_request import config_of, default_precision, quantiser_for, workload_for
from fmkit.api.vram_request import engine_of_file
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.model.architectures import read
from fmkit.trial.checks import check_names
from fmkit.trial.embedded import EMBEDDED
from fmkit.trial.request import Quantiser, Ranks, TorchDevice
from fmkit.trial.shorten import with_layers

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.results.vram import Estimate
    from fmkit.sizing.estimate import Workload

DECODE_STEPS = 16

_NOT_RUN = {"diffusers": "a diffusers pipeline of several models", "weights-only": "weights without a config.json"}
"""What has weights and can't be run, by the layout of its files."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A model at one precision on one device, with the workloads to run and what is predicted for each."""

    resolved: ResolvedModel
    catalog: Catalog
    engine: str
    config: dict[str, Any]
    spec: ModelSpec
    machine: Machine
    torch_device: TorchDevice
    ranks: Ranks | None = None
    precision: str
    layout: Layout
    quantiser: Quantiser | None
    workloads: tuple[Workload, ...]
    estimates: tuple[Estimate, ...]


def plan_trial(
    model: str | None,
    precision: str | None,
    contexts: Sequence[str | int | None],
    sequences: Sequence[int],
    options: TrialOptions,
) -> Plan:
    """Everything that is known before a process is started.

    Raises UsageError for what can't be, MissingExtraError where a library for the precision is not installed. Whether it fits is in
    the estimates, and decided when the plan is run.
    """
    checks = check_names(options.checks)
    check_options(options, model)
    catalog = load_catalog()
    subject = _subject(model, options, catalog)
    engine, spec = subject.engine, subject.spec
    device, torch_device = machine_for(options.device, catalog)
    ranks = ranks_for(options, engine, catalog)
    machine = shared(limited(device, limit_of(options.limit_memory)), ranks, torch_device)
    machine = msgspec.structs.replace(machine, uses_trials=options.trials)
    asked = stored_only(precision) if engine == "llama.cpp" else precision
    chosen = precision_id(asked, catalog) if asked else default_precision(engine, spec, torch_device, machine, catalog)
    layout = layout_for(engine, chosen, catalog, spec)
    placed = off_loading(options, engine) or {"options": settings_of(options, engine, torch_device, catalog)}
    shares = {"tensor_parallel": 1 if ranks is None else ranks.count, **placed}
    workloads = _distinct(
        msgspec.structs.replace(workload_for(spec, subject.resolved, context, count), **shares)
        for count in sequences
        for context in contexts
    )
    check_ranks(ranks, layout, workloads)
    check_inputs(spec.kind, options, checks)
    check_against(options, engine, checks)
    estimates = tuple(
        without_speed(_estimate(subject, chosen, workload, machine, catalog), ranks, torch_device)
        for workload in workloads
    )
    refuse_placement(estimates[0], offload=options.offload)
    quantiser = None if engine == "llama.cpp" else quantiser_for(layout, torch_device)
    return Plan(
        resolved=subject.resolved,
        catalog=catalog,
        engine=engine,
        config=subject.config,
        spec=spec,
        machine=machine,
        torch_device=torch_device,
        ranks=ranks,
        precision=chosen,
        layout=layout,
        quantiser=quantiser,
        workloads=workloads,
        estimates=estimates,
    )


class _Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The model to run, as it is cut: what the engine needs of it is in `config`."""

    resolved: ResolvedModel
    engine: str
    config: dict[str, Any]
    spec: ModelSpec


def _subject(model: str | None, options: TrialOptions, catalog: Catalog) -> _Subject:
    resolved = resolve_model(model or EMBEDDED, catalog, offline=options.offline)
    _require_weights(resolved)
    engine = options.engine if resolved.engine is None else engine_of_file(resolved.engine, options.engine)
    if engine == "llama.cpp":
        require_gguf(resolved, random_weights=options.random_weights)
        assert resolved.spec is not None
        return _Subject(resolved=resolved, engine=engine, config=gguf_facts(resolved), spec=resolved.spec)
    config, spec = config_of(resolved, catalog), resolved.spec
    if options.layers is not None:
        _check_layers(options.layers, resolved)
        config, spec = with_layers(config, options.layers), None
    return _Subject(resolved=resolved, engine=engine, config=config, spec=spec or read(config, where=resolved.ref))


def _estimate(subject: _Subject, precision: str, workload: Workload, machine: Machine, catalog: Catalog) -> Estimate:
    prompt_tokens = max(1, workload.context_tokens - decode_steps(workload))
    return estimate_for(
        subject.spec, precision, workload, machine, catalog, engine=subject.engine, prompt_tokens=prompt_tokens
    )


def decode_steps(workload: Workload) -> int:
    """Tokens decoded while times are taken: at most 16, and no more than half of the context."""
    return min(DECODE_STEPS, max(1, workload.context_tokens // 2))


def _distinct(workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """Without repetitions, the first of each kept: a length past the model's default may be asked for twice."""
    kept: list[Workload] = []
    for workload in workloads:
        if workload not in kept:
            kept.append(workload)
    return tuple(kept)


def _check_layers(layers: int, resolved: ResolvedModel) -> None:
    """Refuse more layers than the model has: the trial would be said to have run them."""
    there = 0 if resolved.spec is None else max((stack.layers for stack in resolved.spec.stacks), default=0)
    if there and layers > there:
        raise UsageError(f"{resolved.ref} has {there} layers, not {layers:,}", where="--layers")


def _require_weights(resolved: ResolvedModel) -> None:
    if resolved.spec is None:
        why = "has no weights to load: it is offered as an API only"
        if resolved.files is not None:
            why = (
                f"can be sized by its files, but this version runs none of its kind: {_NOT_RUN[resolved.files.layout]}"
            )
        raise UsageError(f"{resolved.id} {why}", where=resolved.ref, next_command=f"fmkit vram {resolved.ref}")
