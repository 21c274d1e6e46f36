"""What `fmkit vram` is to size, read from its options for a model that is known: engine, precisions, workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.asked import one_or_many, precision_id, text, tokens, whole
from fmkit.api.cache_types import cache_type
from fmkit.api.division import degree, offload_target
from fmkit.api.layouts import has_stored, kept_as, layout_for
from fmkit.api.machines import resolve_machine
from fmkit.api.next_commands import again
from fmkit.api.summaries import context_limit
from fmkit.api.vram_files import chosen_labels
from fmkit.errors import UsageError
from fmkit.sizing.engines.llama_cpp_backends import backends_of, why_no_backend
from fmkit.sizing.engines.llama_cpp_options import settings_from
from fmkit.sizing.estimate import Workload
from fmkit.sizing.forward import encoder_of
from fmkit.units import KIB

if TYPE_CHECKING:
    from fmkit.api.resolve import ResolvedModel
    from fmkit.api.vram_options import VramOptions
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


class VramRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sized: each precision at each length and number of sequences.

    `layouts` are those of the precisions; of a repository of GGUF files, whose precisions are its files, there are none.
    """

    engine: str
    precisions: tuple[str, ...]
    layouts: Mapping[str, Layout]
    context_tokens: tuple[int, ...]
    sequences: tuple[int, ...]
    shape: Workload
    """What all workloads have in common, at the first context."""

    def workloads(self) -> tuple[Workload, ...]:
        """One for each context and number of sequences."""
        return tuple(
            msgspec.structs.replace(self.shape, context_tokens=length, sequences=count)
            for length in self.context_tokens
            for count in self.sequences
        )


def machine_for(options: VramOptions, catalog: Catalog) -> Machine:
    """The machine asked about; `--memory` beside a device is main memory where weights may lie there."""
    settings = one_or_many(options.engine_option, "--engine-option")
    beside = offload_target(options.offload) is not None or any(
        str(one).startswith(("gpu_layers", "n_cpu_moe")) for one in settings
    )
    machine = resolve_machine(options.gpu, options.memory, catalog, free=options.free, memory_beside=beside)
    return msgspec.structs.replace(machine, uses_trials=not options.no_trials)


def read_request(options: VramOptions, resolved: ResolvedModel, spec: ModelSpec, catalog: Catalog) -> VramRequest:
    """The request for a model; UsageError for what can't be read or what the engine does not take."""
    asked = one_or_many(options.precision, "--precision")
    engine = text(options.engine, "--engine")
    if resolved.engine is not None:
        engine = engine_of_file(resolved.engine, engine)
    layouts: dict[str, Layout] = {}
    if resolved.variants:
        precisions = chosen_labels(asked, resolved.variants)
    else:
        default = () if resolved.engine is None else ("stored",)
        layouts = _layouts(asked or default, engine, catalog, spec)
        precisions = tuple(layouts)
    lengths = _contexts(one_or_many(options.context, "--context"), spec, resolved)
    return VramRequest(
        engine=engine,
        precisions=precisions,
        layouts=layouts,
        context_tokens=lengths,
        sequences=_counts(one_or_many(options.sequences, "--sequences")),
        shape=_shape(options, lengths[0], engine, catalog),
    )


def check_backend(request: VramRequest, machine: Machine, ref: str, options: VramOptions) -> None:
    """UsageError where llama.cpp is to be built with what does not compute on the machine; the next command asks for its default."""
    if request.engine != "llama.cpp":
        return
    why = why_no_backend(machine, settings_from(request.shape.options).backend)
    if why is None:
        return
    typed = options.as_typed()
    others = [
        one
        for one in one_or_many(options.engine_option, "--engine-option")
        if one.partition("=")[0].strip() != "backend"
    ]
    instead = [f"backend={name}" for name in backends_of(machine.device)[:1]]
    raise UsageError(
        why,
        where="--engine-option backend",
        next_command=again(ref, {**typed, "--engine-option": [*others, *instead]}) if instead else None,
    )


def _shape(options: VramOptions, context_tokens: int, engine: str, catalog: Catalog) -> Workload:
    images = options.images
    return Workload(
        context_tokens=context_tokens,
        encoder_tokens=encoder_length(options),
        images=None if images is None else whole(images, "--images", at_least=0),
        attention=attention_kind(options.attention),
        options=engine_options(catalog.engines[engine], options.engine_option, options.kv_dtype),
        tensor_parallel=degree(options.tensor_parallel, "tensor", catalog.engines, engine),
        pipeline_parallel=degree(options.pipeline_parallel, "pipeline", catalog.engines, engine),
        expert_parallel=degree(options.expert_parallel, "expert", catalog.engines, engine),
        offload=offload_target(options.offload),
    )


def encoder_length(options: VramOptions) -> int | None:
    """Tokens that the encoder reads; None where that was left to the default."""
    return None if options.encoder_tokens is None else tokens(options.encoder_tokens, "--encoder-tokens")


def check_encoder(spec: ModelSpec, name: str) -> None:
    """UsageError where there is nothing whose length `--encoder-tokens` could say."""
    encoder = encoder_of(spec) if spec.cached_stack is not None else None
    if encoder is None:
        raise UsageError(f"{name} has no encoder beside a decoder", where="--encoder-tokens")
    if encoder.fixed_tokens is not None:
        raise UsageError(
            f"the encoder of {name} always makes {encoder.fixed_tokens:,} tokens", where="--encoder-tokens"
        )


def engine_of_file(needed: str, asked: str) -> str:
    """The engine that a file is made for; the default is not taken as a wish."""
    if asked not in {needed, "transformers"}:
        raise UsageError(f"a GGUF file is run by {needed}, not by {asked}", where="--engine")
    return needed


def _layouts(asked: Sequence[str], engine: str, catalog: Catalog, spec: ModelSpec) -> dict[str, Layout]:
    """The layout of each precision asked for, else of the default ones, the repository's own quantisation before them."""
    layout_for(engine, "fp16", catalog)
    own = "stored" if has_stored(engine, catalog, spec) else kept_as(engine, catalog, spec)
    default = (own, *DEFAULT_PRECISIONS) if own is not None else DEFAULT_PRECISIONS
    names = dict.fromkeys(precision_id(name, catalog) for name in asked or default)
    return {name: layout_for(engine, name, catalog, spec) for name in names}


def _contexts(asked: Sequence[str | int], spec: ModelSpec, resolved: ResolvedModel) -> tuple[int, ...]:
    if asked:
        return tuple(dict.fromkeys(tokens(length, "--context") for length in asked))
    limit = context_limit(spec, resolved)
    if limit is None:
        return DEFAULT_CONTEXTS
    shorter = tuple(length for length in DEFAULT_CONTEXTS if length < limit) if spec.cached_stack is not None else ()
    return (*shorter, limit)


def _counts(asked: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(whole(count, "--sequences", at_most=MOST_SEQUENCES) for count in asked or (1,)))


def engine_options(engine: EngineSpec, given: str | Sequence[str] | None, kv_dtype: str | None) -> dict[str, str]:
    """`KEY=VALUE` texts and the cache type as the engine's own options; the engine's rules judge names and values."""
    options = {}
    for setting in one_or_many(given, "--engine-option"):
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


def attention_kind(name: str) -> Attention:
    """How attention is computed; UsageError for a name that is none."""
    for known in ATTENTIONS:
        if known == name:
            return known
    raise UsageError.unknown("attention", text(name, "--attention"), ATTENTIONS, where="--attention")
