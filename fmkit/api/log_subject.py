"""What a start-up log is of, in fmkit's own terms: model, layout of the weights, devices and workload."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.accuracy.subject import NotScored, gguf_subject, layout_of, named_spec
from fmkit.api.accuracy.vllm import release_defaults
from fmkit.api.asked import precision_id
from fmkit.api.layouts import layout_for, stores_quantised
from fmkit.api.machines import resolve_machine
from fmkit.api.resolve import resolve_model
from fmkit.errors import UsageError
from fmkit.machine import Machine, memory_machine
from fmkit.model.precision import Layout
from fmkit.sizing.estimate import Workload
from fmkit.sizing.logs.llama_cpp import file_type_id, is_host
from fmkit.units import GIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.load import Catalog
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.logs.log import StartupLog

ASSUMED_CONTEXT = 4096
SIZED_AS = {"sglang": "vllm"}
"""The engine whose rules stand for one that fmkit has none for: weights are loaded alike; only they and the tokens are compared."""


def model_of(log: StartupLog, model: str | None, catalog: Catalog, *, offline: bool) -> tuple[str, ModelSpec]:
    """The name and architecture: as the caller says, else as the log does."""
    if model is not None:
        resolved = resolve_model(model, catalog, offline=offline)
        if resolved.spec is None:
            raise UsageError(f"{resolved.ref} has no weights: its provider's API is all there is", where="MODEL")
        return resolved.ref, resolved.spec
    again = "fmkit vram MODEL --paste-log FILE"
    names = _names(log)
    if not names:
        raise UsageError("the log does not name the model: say which it is", where="MODEL", next_command=again)
    spec = named_spec(names, catalog)
    if spec is None:
        raise UsageError(
            f"the log names {names[0]!r}, which the catalog does not have: say which model it is",
            where="MODEL",
            next_command=again,
        )
    return names[0], spec


def contradictions(
    log: StartupLog, name: str, spec: ModelSpec, named: Machine | None, catalog: Catalog
) -> Iterator[str]:
    """Where the log is of another model than the one asked for, or of a larger card than the one that was named."""
    names = _names(log)
    own = named_spec(names, catalog) if names else None
    if own is not None and own.tensors != spec.tensors:
        yield f"the log is of {names[0]}, another model than {name}: the figures don't belong together"
    loaded = [each.bytes for each in log.parts("weights") if not is_host(each.device)]
    if named is not None and loaded and max(loaded) > named.usable_bytes:
        yield (
            f"the log's weights, {format_bytes(max(loaded))} on one device, are more than {named.name} has for them "
            f"({format_bytes(named.usable_bytes)}): it was started on another card"
        )


def _names(log: StartupLog) -> list[str]:
    """What the log calls the model: a Hub id, the Hub id in a cache folder's path, the last folder, the name in a file's header."""
    names = []
    path = log.model or ""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    cached = next((part for part in parts if part.startswith("models--")), None)
    if cached is not None:
        names.append(cached.removeprefix("models--").replace("--", "/"))
    elif path.count("/") == 1 and not path.startswith((".", "/", "~")):
        names.append(path)
    if parts:
        names.append(parts[-1].removesuffix(".gguf"))
    if title := log.facts.get("name"):
        names.append("-".join(title.split()))
    return names


def layout_in(
    log: StartupLog, engine: str, spec: ModelSpec, precision: str | None, catalog: Catalog, assumed: list[str]
) -> tuple[str, Layout, bool]:
    """Precision, layout, and whether the layout is the very one (a GGUF mix of its own is not)."""
    if precision is not None:
        label = precision_id(precision, catalog)
        return label, layout_for(engine, label, catalog, spec), True
    if engine == "llama.cpp":
        if log.weights is None:
            raise UsageError("the log does not say how the weights are stored", where="--precision")
        found = gguf_subject(spec, file_type_id(log.weights), catalog)
        if found.layout is None:
            return found.precision, catalog.layouts["gguf-f16"], False
        return found.precision, found.layout, found.exact and not _is_own_mix(log)
    if log.weights is None and stores_quantised(engine, catalog, spec):
        assumed.append("weights as the repository stores them: the log does not say (--precision)")
        return "stored", layout_for(engine, "stored", catalog, spec), True
    if log.weights is None:
        assumed.append("weights in 16 bit: the log does not say (--precision)")
    stored = f"{log.weights or 'bf16'} {'int8' if 'int8' in (log.model or '').casefold() else ''}".strip()
    try:
        label, layout = layout_of(_quantisation(stored), engine, spec, catalog)
    except NotScored as reason:
        raise UsageError(
            f"weights stored as {log.weights!r}: say which precision that is", where="--precision"
        ) from reason
    return label, layout, True


def _is_own_mix(log: StartupLog) -> bool:
    """A mix whose maker chose types tensor by tensor names itself so in the file's name."""
    return "-ud-" in (log.model or "").casefold()


def _quantisation(stored: str) -> str:
    """Names that vLLM and SGLang have for what is loaded, as layouts are asked for.

    >>> _quantisation("gptq_marlin"), _quantisation("awq_marlin"), _quantisation("bitsandbytes"), _quantisation("bfloat16")
    ('gptq', 'awq', 'nf4', 'bfloat16')
    """
    plain = stored.replace("_marlin", "").replace("bitsandbytes", "nf4").replace("modelopt_fp4", "nvfp4")
    return {"auto": "bf16", "half": "fp16"}.get(plain, plain)


def machine_in(log: StartupLog, gpu: str | None, memory: str | None, catalog: Catalog, assumed: list[str]) -> Machine:
    """The devices of the log, as far as it tells: as many as hold buffers, with the memory it prints."""
    if gpu is not None or memory is not None:
        return resolve_machine(gpu, memory, catalog)
    bare = memory_machine(log.total_bytes or 80 * GIB)
    if log.engine == "llama.cpp":
        devices = {each.device for each in log.figures if not is_host(each.device) and each.part != "outputs"}
        if not devices:
            return msgspec.structs.replace(bare, origin="detected")
        return msgspec.structs.replace(
            bare, count=len({name.partition("-")[0].removesuffix("_REPACK") for name in devices})
        )
    ranks = log.tensor_parallel * log.pipeline_parallel
    if log.total_bytes is None and log.engine == "vllm":
        assumed.append("a card of 80 GiB, which decides vLLM's default settings: the log does not say (--gpu)")
    return msgspec.structs.replace(bare, count=ranks)


def workload_in(log: StartupLog, engine: str, assumed: list[str]) -> Workload:
    """The workload that was started, with the defaults of the release for what the log does not say."""
    options = dict(log.options)
    if log.context_tokens is None and log.engine != "sglang":
        assumed.append(f"a context of {ASSUMED_CONTEXT:,} tokens: the log does not say")
    if log.engine == "vllm" and any(re.search(r"EP\d", each.device) for each in log.figures):
        assumed.append(
            "experts divided over the ranks seen: the log does not say over how many copies of the attention"
        )
    if engine == "vllm":
        options = release_defaults(log.version or _old_style(log), log.context_tokens) | options
        unsaid = [name for name in ("max_num_batched_tokens", "max_num_seqs") if name not in log.options]
        assumed.extend(
            f"{name}: {options.get(name, 'the default of the current release')}, the log does not say"
            for name in (unsaid if log.engine == "vllm" else ())
        )
    elif log.engine == "llama.cpp":
        assumed.extend(
            f"{name}: the default, the log does not say"
            for name in ("ubatch", "flash_attention")
            if name not in options
        )
    if log.engine == "llama.cpp" and options.get("outputs") == "all":
        assumed.append("logits of a whole micro-batch are reserved, as before 2026: the log has no n_ctx_seq")
    return Workload(
        context_tokens=log.context_tokens or ASSUMED_CONTEXT,
        sequences=log.sequences,
        options=options,
        tensor_parallel=log.tensor_parallel if engine == "vllm" else 1,
        pipeline_parallel=log.pipeline_parallel if engine == "vllm" else 1,
    )


def _old_style(log: StartupLog) -> str:
    """A version that stands for a log without one: lines of the engine before 0.8 read `the current vLLM instance can use`."""
    old = any(
        "memory reserved for KV Cache" in each.line or "Loading model weights took" in each.line for each in log.figures
    )
    return "0.7" if old else ""
