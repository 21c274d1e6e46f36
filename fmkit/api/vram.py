"""`fmkit vram`: what hardware a model needs, and the most that fits on given hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.api.asked import one_or_many, precision_id, text, tokens, whole
from fmkit.api.attention_shares import attention_shares
from fmkit.api.audio import audio_note
from fmkit.api.cache_types import cache_type
from fmkit.api.division import degree, offload_target, possible_degrees
from fmkit.api.next_commands import given, next_commands
from fmkit.api.resolve import ResolvedModel, resolve_machine, resolve_model
from fmkit.api.sizing import ModelSizer, find_inverse, has_stored, layout_for
from fmkit.api.training_options import TrainingOptions
from fmkit.api.verdict import verdict
from fmkit.api.vram_files import VariantSizer, chosen_labels, files_answer, stored_files
from fmkit.api.vram_precisions import kept_as, precision_notes, quality_losses
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results.vram import ApiFacts, MachineSummary, ModelSummary, VramResult
from fmkit.sizing.estimate import Workload
from fmkit.sizing.forward import encoder_of
from fmkit.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.api.throughput import Sweep
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec
    from fmkit.sizing.estimate import Attention

DEFAULT_PRECISIONS = ("fp16", "int8", "int4")
DEFAULT_CONTEXTS = (4 * KIB, 32 * KIB, 128 * KIB)
ATTENTIONS: tuple[Attention, ...] = ("sdpa", "eager", "flash")
MOST_SEQUENCES = 65_536
NOT_FOR_TRAINING = (
    "--engine", "--sequences", "--kv-dtype", "--engine-option", "--images", "--audio-seconds", "--trace", "--offload", "--tensor-parallel",
    "--pipeline-parallel", "--expert-parallel", "--throughput",
)  # fmt: skip


def vram(
    model: str,
    *,
    precision: str | Sequence[str] | None = None,
    context: str | int | Sequence[str | int] | None = None,
    sequences: int | Sequence[int] | None = None,
    encoder_tokens: int | str | None = None,
    images: int | None = None,
    audio_seconds: str | float | None = None,
    engine: str = "transformers",
    engine_option: str | Sequence[str] | None = None,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    expert_parallel: int = 1,
    offload: str | bool | None = None,
    attention: str = "sdpa",
    gpu: str | None = None,
    memory: str | None = None,
    free: bool = False,
    fit: bool = False,
    throughput: bool = False,
    electricity: float | str | None = None,
    trace: bool = False,
    trials: bool = True,
    train: str | None = None,
    optimizer: str | None = None,
    lora_rank: int | None = None,
    lora_targets: str | Sequence[str] | None = None,
    checkpointing: bool = False,
    train_batch: int | Sequence[int] | None = None,
    detail: bool = False,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> VramResult:
    """The memory that `model` needs, per precision, context and number of sequences, and whether it fits.

    Parameters are the long options of `fmkit vram`; those that may be repeated take one value or a list. Lengths take
    `32k`; sizes `24GiB`. `progress` is told what takes long; `detail` reads a Hub model's tokenizer and generation
    files too. Raises FmkitError subclasses for unknown names and values,
    unreadable files and models that can't be understood.
    """
    catalog = load_catalog()
    swept = _sweep(catalog, electricity, progress, throughput=throughput)
    resolved = resolve_model(model, catalog, offline=offline, say=progress, text_files=detail)
    away = offload_target(offload)
    settings = one_or_many(engine_option, "--engine-option")
    beside = away is not None or any(str(setting).startswith("gpu_layers") for setting in settings)
    machine = resolve_machine(gpu, memory, catalog, free=free, memory_beside=beside)
    machine = msgspec.structs.replace(machine, uses_trials=trials)
    if resolved.spec is None and resolved.files is not None:
        return files_answer(resolved, catalog, _machine_summary(machine))
    if resolved.spec is None:
        return _api_answer(resolved, catalog)
    spec = resolved.spec
    training = TrainingOptions(
        train=train, optimizer=optimizer, lora_rank=lora_rank, lora_targets=lora_targets, checkpointing=checkpointing,
        train_batch=train_batch,
    )  # fmt: skip
    heard = () if audio_seconds is None else (audio_note(spec, resolved.id, audio_seconds),)
    if encoder_tokens is not None:
        _check_encoder(spec, resolved)
    options = given({
        "--gpu": gpu, "--memory": memory, "--free": free, "--engine": engine, "--engine-option": engine_option, "--kv-dtype": kv_dtype,
        "--precision": precision, "--context": context, "--sequences": sequences, "--encoder-tokens": encoder_tokens,
        "--images": images, "--audio-seconds": audio_seconds, "--attention": attention, "--tensor-parallel": tensor_parallel,
        "--pipeline-parallel": pipeline_parallel, "--expert-parallel": expert_parallel, "--offload": offload, "--trace": trace,
        "--no-trials": not trials, "--throughput": throughput, "--electricity": electricity,
        "--optimizer": optimizer, "--lora-rank": lora_rank, "--lora-targets": lora_targets, "--checkpointing": checkpointing,
        "--train-batch": train_batch, "--offline": offline,
    })  # fmt: skip
    if train is not None:
        for option in NOT_FOR_TRAINING:
            if option in options:
                raise UsageError(
                    f"{option} is not for training, which is sized in transformers on one device", where=option,
                    next_command="--train-batch N" if option == "--sequences" else f"leave out {option}",
                )  # fmt: skip
        return _training_result(
            resolved, spec, catalog, machine, training, precision=precision, context=context, encoder_tokens=encoder_tokens,
            attention=attention, fit=fit, given_options=options,
        )  # fmt: skip
    training.check_unused()
    engine, precisions = text(engine, "--engine"), one_or_many(precision, "--precision")
    if resolved.engine is not None:
        engine, precisions = engine_of_file(resolved.engine, engine), precisions or ("stored",)
    if resolved.variants:
        precisions = chosen_labels(one_or_many(precision, "--precision"), resolved.variants)
    else:
        precisions = _precisions(precisions, engine, catalog, spec)
    contexts = _contexts(one_or_many(context, "--context"), spec, resolved)
    counts = _counts(one_or_many(sequences, "--sequences"))
    shape = Workload(
        context_tokens=contexts[0],
        encoder_tokens=tokens(encoder_tokens, "--encoder-tokens") if encoder_tokens is not None else None,
        images=None if images is None else whole(images, "--images", at_least=0),
        attention=_attention(attention),
        options=engine_options(catalog.engines[engine], settings, kv_dtype),
        tensor_parallel=degree(tensor_parallel, "tensor", catalog.engines, engine),
        pipeline_parallel=degree(pipeline_parallel, "pipeline", catalog.engines, engine),
        expert_parallel=degree(expert_parallel, "expert", catalog.engines, engine),
        offload=away,
    )
    sizer = (
        VariantSizer(resolved.variants, catalog, engine, shape)
        if resolved.variants
        else ModelSizer(spec, catalog, engine, shape)
    )
    layouts = {} if resolved.variants else {name: layout_for(engine, name, catalog, spec) for name in precisions}
    workloads = [_at(shape, length, count) for length in contexts for count in counts]
    if trace:
        from fmkit.api.trace import trace_all  # noqa: PLC0415  only where it is asked for

        traced = trace_all(resolved, spec, catalog, workloads, layouts, machine, engine=engine, progress=progress)
    estimates = tuple(
        sizer.estimate(name, traced(workload, name) if trace else workload, machine)
        for workload in workloads
        for name in precisions
    )
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
            *precision_notes(spec, engine, layouts, catalog),
            *heard,
        ),
        stored=stored_files(resolved.files, spec) if resolved.files is not None else None,
        text=resolved.text,
        quality_loss=quality_losses(layouts, catalog),
        attention=attention_shares(spec, engine, next(iter(layouts.values())), workloads) if layouts else (),
        degrees=possible_degrees(spec, engine, shape, machine),
        throughput=swept(sizer, precisions, shape, machine) if swept is not None else None,
        next=next_commands(resolved.ref, estimates, options, fit=fit, in_file=resolved.engine is not None),
    )


def _sweep(
    catalog: Catalog, electricity: float | str | None, say: Callable[[str], None] | None, *, throughput: bool
) -> Sweep | None:
    """What sweeps the batch, where that is asked for; only it uses the price of electricity."""
    if not throughput:
        if electricity is not None:
            raise UsageError(
                "a price of electricity is for the swept batch", where="--electricity", next_command="--throughput"
            )
        return None
    from fmkit.api.throughput import Sweep  # noqa: PLC0415  only where it is asked for

    return Sweep(catalog, electricity, say)


def _training_result(
    resolved: ResolvedModel,
    spec: ModelSpec,
    catalog: Catalog,
    machine: Machine,
    options: TrainingOptions,
    *,
    precision: str | Sequence[str] | None,
    context: str | int | Sequence[str | int] | None,
    encoder_tokens: int | str | None,
    attention: str,
    fit: bool,
    given_options: Mapping[str, object],
) -> VramResult:
    """The answer about fine-tuning, in the same form."""
    workload = Workload(
        context_tokens=1,
        encoder_tokens=tokens(encoder_tokens, "--encoder-tokens") if encoder_tokens is not None else None,
        attention=_attention(attention),
    )
    from fmkit.api.train import training_answer  # noqa: PLC0415  most calls are not about training

    answer = training_answer(
        resolved,
        catalog,
        machine,
        workload,
        options,
        precisions=one_or_many(precision, "--precision"),
        contexts=one_or_many(context, "--context"),
        limit=context_limit(spec, resolved),
        fit=fit,
        given=given_options,
    )
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=_model_summary(resolved, spec),
        machine=_machine_summary(machine),
        verdict=answer.verdict,
        estimates=answer.estimates,
        fit=answer.fit,
        warnings=(*_warnings(spec, resolved), *answer.warnings),
        next=answer.next,
    )


def _check_encoder(spec: ModelSpec, resolved: ResolvedModel) -> None:
    """UsageError where there is nothing whose length `--encoder-tokens` could say."""
    encoder = encoder_of(spec) if spec.cached_stack is not None else None
    if encoder is None:
        raise UsageError(f"{resolved.id} has no encoder beside a decoder", where="--encoder-tokens")
    if encoder.fixed_tokens is not None:
        raise UsageError(
            f"the encoder of {resolved.id} always makes {encoder.fixed_tokens:,} tokens", where="--encoder-tokens"
        )


def _at(workload: Workload, context_tokens: int, sequences: int) -> Workload:
    return msgspec.structs.replace(workload, context_tokens=context_tokens, sequences=sequences)


def engine_of_file(needed: str, asked: str) -> str:
    """The engine that a file is made for; the default is not taken as a wish."""
    if asked not in {needed, "transformers"}:
        raise UsageError(f"a GGUF file is run by {needed}, not by {asked}", where="--engine")
    return needed


def _precisions(asked: Sequence[str], engine: str, catalog: Catalog, spec: ModelSpec) -> tuple[str, ...]:
    """What was asked, else the default precisions, before them what the repository's own quantisation is called in the engine."""
    layout_for(engine, "fp16", catalog)
    own = "stored" if has_stored(engine, catalog, spec) else kept_as(engine, catalog, spec)
    default = (own, *DEFAULT_PRECISIONS) if own is not None else DEFAULT_PRECISIONS
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
        options |= dict.fromkeys(engine.kv_dtype_options, cache_type(engine.id, text(kv_dtype, "--kv-dtype")))
    return options


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
