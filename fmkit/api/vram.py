"""`fmkit vram`: what hardware a model needs, and the most that fits on given hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.api.asked import one_or_many, precision_id, text, tokens, whole
from fmkit.api.resolve import ResolvedModel, resolve_machine, resolve_model
from fmkit.api.sizing import ModelSizer, estimate_for, find_inverse, layout_for, stores_quantised
from fmkit.api.verdict import verdict
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.model.precision import DTYPE_BYTES
from fmkit.results.vram import ApiFacts, Estimate, MachineSummary, ModelSummary, VramResult
from fmkit.sizing.estimate import Workload
from fmkit.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec
    from fmkit.sizing.estimate import Attention

DEFAULT_PRECISIONS = ("fp16", "int8", "int4")
DEFAULT_CONTEXTS = (4 * KIB, 32 * KIB, 128 * KIB)
ATTENTIONS: tuple[Attention, ...] = ("sdpa", "eager", "flash")
MOST_SEQUENCES = 65_536


def vram(
    model: str,
    *,
    precision: str | Sequence[str] | None = None,
    context: str | int | Sequence[str | int] | None = None,
    sequences: int | Sequence[int] | None = None,
    encoder_tokens: int | str | None = None,
    images: int | None = None,
    engine: str = "transformers",
    engine_option: str | Sequence[str] | None = None,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    attention: str = "sdpa",
    gpu: str | None = None,
    memory: str | None = None,
    free: bool = False,
    fit: bool = False,
    offline: bool = False,
) -> VramResult:
    """The memory that `model` needs, per precision, context and number of sequences, and whether it fits.

    Parameters are the long options of `fmkit vram`; those that may be repeated take one value or a list. Lengths take
    `32k`; sizes `24GiB`. Raises FmkitError subclasses for unknown names and values, unreadable files and models that
    can't be understood.
    """
    catalog = load_catalog()
    resolved = resolve_model(model, catalog, offline=offline)
    machine = resolve_machine(gpu, memory, catalog, free=free)
    if resolved.spec is None:
        return _api_answer(resolved, catalog)
    spec = resolved.spec
    engine, precisions = text(engine, "--engine"), one_or_many(precision, "--precision")
    if resolved.engine is not None:
        engine, precisions = _engine_of_file(resolved.engine, engine), precisions or ("stored",)
    precisions = _precisions(precisions, engine, catalog, spec)
    contexts = _contexts(one_or_many(context, "--context"), spec, resolved)
    counts = _counts(one_or_many(sequences, "--sequences"))
    shape = Workload(
        context_tokens=contexts[0],
        encoder_tokens=tokens(encoder_tokens, "--encoder-tokens") if encoder_tokens is not None else None,
        images=None if images is None else whole(images, "--images", at_least=0),
        attention=_attention(attention),
        options=engine_options(catalog.engines[engine], one_or_many(engine_option, "--engine-option"), kv_dtype),
        tensor_parallel=_ranks(tensor_parallel, catalog.engines[engine]),
    )
    estimates = tuple(
        estimate_for(spec, name, _at(shape, length, count), machine, catalog, engine=engine)
        for length in contexts
        for count in counts
        for name in precisions
    )
    sizer = ModelSizer(spec, catalog, engine, shape)
    answer = find_inverse(sizer, precisions, contexts[0], counts[0], machine) if fit else None
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=_model_summary(resolved, spec),
        machine=_machine_summary(machine),
        verdict=verdict(resolved.id, sizer, estimates, machine),
        estimates=estimates,
        fit=answer,
        warnings=(
            *_warnings(spec, resolved),
            *_untouched(spec, {name: layout_for(engine, name, catalog, spec) for name in precisions}),
        ),
        next=_next(resolved, estimates, fit=fit),
    )


def _at(workload: Workload, context_tokens: int, sequences: int) -> Workload:
    return msgspec.structs.replace(workload, context_tokens=context_tokens, sequences=sequences)


def _engine_of_file(needed: str, asked: str) -> str:
    """The engine that a file is made for; the default is not taken as a wish."""
    if asked not in {needed, "transformers"}:
        raise UsageError(f"a GGUF file is run by {needed}, not by {asked}", where="--engine")
    return needed


def _precisions(asked: Sequence[str], engine: str, catalog: Catalog, spec: ModelSpec) -> tuple[str, ...]:
    """What was asked, else the default precisions, before them `stored` for weights that the repository keeps quantised."""
    layout_for(engine, "fp16", catalog)
    default = ("stored", *DEFAULT_PRECISIONS) if stores_quantised(engine, catalog, spec) else DEFAULT_PRECISIONS
    names = tuple(dict.fromkeys(precision_id(name, catalog) for name in asked or default))
    for name in names:
        layout_for(engine, name, catalog, spec)
    return names


def _contexts(asked: Sequence[str | int], spec: ModelSpec, resolved: ResolvedModel) -> tuple[int, ...]:
    if asked:
        return tuple(dict.fromkeys(tokens(length, "--context") for length in asked))
    limit = context_limit(spec, resolved)
    if limit is None:
        return DEFAULT_CONTEXTS
    shorter = tuple(length for length in DEFAULT_CONTEXTS if length < limit) if spec.cached_stack is not None else ()
    return (*shorter, limit)


def context_limit(spec: ModelSpec, resolved: ResolvedModel) -> int | None:
    """The publisher's limit where the catalog has one, else what config.json says."""
    stated = resolved.candidate.context_tokens if resolved.candidate is not None else None
    return stated or spec.max_context_tokens


def _counts(asked: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(whole(count, "--sequences", at_most=MOST_SEQUENCES) for count in asked or (1,)))


def engine_options(engine: EngineSpec, given: Sequence[str] | None, kv_dtype: str | None) -> dict[str, str]:
    """`KEY=VALUE` texts and the cache type as the engine's own options; the engine's rules judge names and values."""
    options = {}
    for setting in given or ():
        key, equals, value = text(setting, "--engine-option").partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(
                f"can't read {setting!r}: write KEY=VALUE, such as max_num_batched_tokens=2048", where="--engine-option"
            )
        options[key.strip()] = value.strip()
    if kv_dtype is not None:
        if not engine.kv_dtype_options:
            raise UsageError(f"{engine.id} is sized with a cache in the model's type only", where="--kv-dtype")
        options |= dict.fromkeys(engine.kv_dtype_options, text(kv_dtype, "--kv-dtype"))
    return options


def _ranks(count: int, engine: EngineSpec) -> int:
    """The degree of tensor parallel, for an engine whose rules divide a model."""
    if whole(count, "--tensor-parallel") > 1 and not engine.tensor_parallel:
        raise UsageError(f"{engine.id} is not sized in tensor parallel by this version", where="--tensor-parallel")
    return count


def _attention(name: str) -> Attention:
    for known in ATTENTIONS:
        if known == name:
            return known
    raise UsageError.unknown("attention", text(name, "--attention"), ATTENTIONS, where="--attention")


def _model_summary(resolved: ResolvedModel, spec: ModelSpec) -> ModelSummary:
    return ModelSummary(
        ref=resolved.ref,
        hub_id=resolved.hub_id,
        revision=resolved.revision,
        architecture=spec.architecture,
        kind=spec.kind,
        params=spec.params,
        active_params=spec.active_params,
        max_context_tokens=context_limit(spec, resolved),
        licence=resolved.candidate.licence if resolved.candidate is not None else None,
        config_confidence=resolved.confidence,
        config_source=resolved.source,
        notes=spec.notes,
    )


def _machine_summary(machine: Machine) -> MachineSummary:
    source = machine.device.sources.get("memory") if machine.device is not None else None
    return MachineSummary(
        name=machine.name,
        origin=machine.origin,
        device=machine.device.id if machine.device is not None else None,
        count=machine.count,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        free_bytes=machine.free_bytes,
        source=source or machine.reserve_reason or None,
    )


def _warnings(spec: ModelSpec, resolved: ResolvedModel) -> tuple[str, ...]:
    warnings = []
    if resolved.confidence == "derived":
        warnings.append("config.json was assembled from published facts, not copied: see `fmkit catalog show`")
    return (*warnings, *spec.notes)


def _untouched(spec: ModelSpec, layouts: Mapping[str, Layout]) -> Iterator[str]:
    """A word where a layout leaves most of the model as it was: its column looks like a mistake otherwise."""
    for precision, layout in layouts.items():
        if layout.weight_bits is None or layout.file_type is not None:
            continue
        rest = layout.rest_dtype_for(spec.config_dtype)
        total = sum(group.elements for group in spec.tensors)
        wide = sum(
            group.elements
            for group in spec.tensors
            if not layout.touches(group) and DTYPE_BYTES.get(group.dtype or rest, 0) >= 2
        )
        if wide > total / 2:
            share = wide / total
            yield (
                f"{precision.upper()}: {layout.name} leaves {share:.0%} of the weights in {rest}; "
                f"it quantises {', '.join(layout.modules)} only"
            )


def _next(resolved: ResolvedModel, estimates: Sequence[Estimate], *, fit: bool) -> tuple[str, ...]:
    best = next((estimate for estimate in estimates if estimate.fits and estimate.valid), None)
    if resolved.engine is None and best is not None:
        return (f"fmkit try {resolved.ref} --random-weights --precision {best.precision}",)
    return () if fit else (f"fmkit vram {resolved.ref} --fit",)


def _api_answer(resolved: ResolvedModel, catalog: Catalog) -> VramResult:
    """The plain answer for a model that only an API offers: no weights to size, with price and context."""
    candidate = resolved.candidate
    if candidate is None or candidate.api is None:  # pragma: no cover  resolve_model never returns this
        raise UsageError(f"{resolved.ref} has no weights and no API terms")
    terms = candidate.api
    price = (
        f"USD {terms.input_usd_per_1m:g} in and {terms.output_usd_per_1m:g} out per 1M tokens ({terms.price_date})"
        if terms.input_usd_per_1m is not None and terms.output_usd_per_1m is not None
        else "price unknown"
    )
    context = f"{candidate.context_tokens:,} tokens of context" if candidate.context_tokens else "context unknown"
    status = "" if terms.status == "current" else f" It is {terms.status}"
    successor = f"; its successor is {terms.successor}" if terms.successor else ""
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=ModelSummary(
            ref=resolved.ref,
            hub_id=None,
            revision=None,
            architecture="closed",
            kind="api",
            params=None,
            active_params=None,
            max_context_tokens=candidate.context_tokens,
            licence=candidate.licence,
        ),
        machine=None,
        verdict=f"{resolved.id} has no weights to size: {terms.provider} offers it as an API only; {price}, {context}."
        + (f"{status}{successor}." if status else ""),
        estimates=(),
        api=ApiFacts(
            provider=terms.provider,
            input_usd_per_1m=terms.input_usd_per_1m,
            output_usd_per_1m=terms.output_usd_per_1m,
            cached_input_usd_per_1m=terms.cached_input_usd_per_1m,
            context_tokens=candidate.context_tokens,
            max_output_tokens=terms.max_output_tokens,
            status=terms.status,
            source=candidate.sources.get("prices", "unknown"),
            price_date=terms.price_date,
        ),
    )
