"""`fmkit vram`: what hardware a model needs, and the most that fits on given hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.asked import one_or_many
from fmkit.api.attention_shares import attention_shares
from fmkit.api.audio import audio_note
from fmkit.api.division import possible_degrees
from fmkit.api.inverse import find_inverse
from fmkit.api.model_sizer import ModelSizer
from fmkit.api.next_commands import next_commands
from fmkit.api.resolve import resolve_model
from fmkit.api.summaries import context_limit, machine_summary, model_summary
from fmkit.api.training_options import TrainingOptions
from fmkit.api.verdict import runs_instead, verdict
from fmkit.api.vram_closed import closed_answer
from fmkit.api.vram_files import VariantSizer, files_answer, stored_files
from fmkit.api.vram_options import VramOptions
from fmkit.api.vram_precisions import precision_notes, quality_losses
from fmkit.api.vram_request import (
    attention_kind,
    check_backend,
    check_encoder,
    encoder_length,
    machine_for,
    read_request,
)
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results.vram import VramResult
from fmkit.sizing.estimate import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmkit.api.resolve import ResolvedModel
    from fmkit.api.throughput import Sweep
    from fmkit.api.vram_request import VramRequest
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.results.vram import Estimate


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
    files too. Raises FmkitError subclasses for unknown names and values, unreadable files and models that can't be
    understood.
    """
    training = TrainingOptions(
        train=train, optimizer=optimizer, lora_rank=lora_rank, lora_targets=lora_targets, checkpointing=checkpointing,
        train_batch=train_batch,
    )  # fmt: skip
    options = VramOptions(
        gpu=gpu, memory=memory, free=free, engine=engine, engine_option=engine_option, kv_dtype=kv_dtype, precision=precision,
        context=context, sequences=sequences, encoder_tokens=encoder_tokens, images=images, audio_seconds=audio_seconds,
        attention=attention, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel,
        expert_parallel=expert_parallel, offload=offload, trace=trace, no_trials=not trials, throughput=throughput,
        electricity=electricity, training=training, fit=fit, offline=offline, progress=progress,
    )  # fmt: skip
    catalog = load_catalog()
    sweep = _sweep(options, catalog)
    resolved = resolve_model(model, catalog, offline=offline, say=progress, text_files=detail)
    machine = machine_for(options, catalog)
    spec = resolved.spec
    if spec is None:
        if resolved.files is None:
            return closed_answer(resolved, catalog)
        return files_answer(resolved, catalog, machine_summary(machine))
    notes = () if audio_seconds is None else (audio_note(spec, resolved.id, audio_seconds),)
    if encoder_tokens is not None:
        check_encoder(spec, resolved.id)
    if train is not None:
        return _trained(resolved, spec, catalog, machine, options)
    training.check_unused()
    return _sized(resolved, spec, catalog, machine, options, sweep, notes)


def _sized(
    resolved: ResolvedModel,
    spec: ModelSpec,
    catalog: Catalog,
    machine: Machine,
    options: VramOptions,
    sweep: Sweep | None,
    notes: tuple[str, ...],
) -> VramResult:
    """The answer about running a model; `notes` go behind all other warnings."""
    request = read_request(options, resolved, spec, catalog)
    check_backend(request, machine, resolved.ref, options)
    engine, precisions, layouts, shape = request.engine, request.precisions, request.layouts, request.shape
    sizer = (
        VariantSizer(resolved.variants, catalog, engine, shape)
        if resolved.variants
        else ModelSizer(spec, catalog, engine, shape)
    )
    estimates = _estimates(sizer, request, resolved, spec, catalog, machine, options)
    fit = find_inverse(sizer, precisions, shape.context_tokens, request.sequences[0], machine) if options.fit else None
    first = next(iter(layouts.values()), None)
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=model_summary(resolved, spec),
        machine=machine_summary(machine),
        verdict=verdict(resolved.id, sizer, estimates, machine),
        estimates=estimates,
        fit=fit,
        warnings=(*_warnings(spec, resolved), *precision_notes(spec, engine, layouts, catalog), *notes),
        stored=stored_files(resolved.files, spec) if resolved.files is not None else None,
        text=resolved.text,
        quality_loss=quality_losses(layouts, catalog),
        attention=attention_shares(spec, engine, first, request.workloads()) if first is not None else (),
        degrees=possible_degrees(spec, engine, shape, machine),
        throughput=sweep(sizer, precisions, shape, machine) if sweep is not None else None,
        next=next_commands(
            resolved.ref,
            estimates,
            options.as_typed(),
            fit=options.fit,
            in_file=resolved.engine is not None,
            instead=runs_instead(sizer, estimates, machine),
        ),
    )


def _estimates(
    sizer: ModelSizer,
    request: VramRequest,
    resolved: ResolvedModel,
    spec: ModelSpec,
    catalog: Catalog,
    machine: Machine,
    options: VramOptions,
) -> tuple[Estimate, ...]:
    """One for each workload and precision; with `--trace` with the activations of the real implementation."""
    workloads = request.workloads()
    if options.trace:
        from fmkit.api.trace import trace_all  # noqa: PLC0415  only where it is asked for

        traced = trace_all(
            resolved, spec, catalog, workloads, request.layouts, machine, engine=request.engine, progress=options.progress
        )  # fmt: skip
    return tuple(
        sizer.estimate(name, traced(workload, name) if options.trace else workload, machine)
        for workload in workloads
        for name in request.precisions
    )


def _sweep(options: VramOptions, catalog: Catalog) -> Sweep | None:
    """What sweeps the batch, where that is asked for; only it uses the price of electricity."""
    if not options.throughput:
        if options.electricity is not None:
            raise UsageError(
                "a price of electricity is for the swept batch", where="--electricity", next_command="--throughput"
            )
        return None
    from fmkit.api.throughput import Sweep  # noqa: PLC0415  only where it is asked for

    return Sweep(catalog, options.electricity, options.progress)


def _trained(
    resolved: ResolvedModel, spec: ModelSpec, catalog: Catalog, machine: Machine, options: VramOptions
) -> VramResult:
    """The answer about fine-tuning, in the same form."""
    options.refuse_beside_training()
    from fmkit.api.train import training_answer  # noqa: PLC0415  most calls are not about training

    workload = Workload(
        context_tokens=1, encoder_tokens=encoder_length(options), attention=attention_kind(options.attention)
    )
    answer = training_answer(
        resolved,
        catalog,
        machine,
        workload,
        options.training,
        precisions=one_or_many(options.precision, "--precision"),
        contexts=one_or_many(options.context, "--context"),
        limit=context_limit(spec, resolved),
        fit=options.fit,
        given=options.as_typed(),
    )
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=model_summary(resolved, spec),
        machine=machine_summary(machine),
        verdict=answer.verdict,
        estimates=answer.estimates,
        fit=answer.fit,
        warnings=(*_warnings(spec, resolved), *answer.warnings),
        next=answer.next,
    )


def _warnings(spec: ModelSpec, resolved: ResolvedModel) -> tuple[str, ...]:
    warnings = []
    if resolved.confidence == "derived":
        warnings.append("config.json was assembled from published facts, not copied: see `fmkit catalog show`")
    return (*warnings, *spec.notes)
