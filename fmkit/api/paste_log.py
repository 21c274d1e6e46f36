"""`fmkit vram --paste-log`: a start-up log held against the estimate for the same model and settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.log_parts import Predicted, parts_of
from fmkit.api.log_subject import SIZED_AS, contradictions, layout_in, machine_in, model_of, workload_in
from fmkit.catalog.load import load_catalog
from fmkit.errors import UnsafeInputError
from fmkit.results.paste_log import LogPart, PasteLogResult
from fmkit.results.vram import ModelSummary
from fmkit.sizing.estimate import Workload
from fmkit.sizing.logs.read import read_log
from fmkit.sizing.logs.vllm import MISSING_CARD
from fmkit.sizing.memory import estimate
from fmkit.sizing.runtime import vendor_of
from fmkit.units import MIB, format_bytes

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.logs.log import StartupLog

MOST_LOG_BYTES = 32 * MIB
BINARY_SHARE = 0.02


def paste_log(
    source: str,
    model: str | None = None,
    *,
    precision: str | None = None,
    gpu: str | None = None,
    memory: str | None = None,
    offline: bool = False,
) -> PasteLogResult:
    """The start-up log in the file `source` (`-`: standard input) beside fmkit's estimate for what it started, part by part.

    `model` and `precision` are needed only where the log does not name them; `gpu` or `memory` where defaults of the
    engine depend on the card and the log does not say. UnsafeInputError for what is no such log, UsageError where the
    model can't be told.
    """
    catalog = load_catalog()
    log = read_log(_text_of(source), where=source)
    name, spec = model_of(log, model, catalog, offline=offline)
    engine = SIZED_AS.get(log.engine, log.engine)
    assumed: list[str] = []
    label, layout, exact = layout_in(log, engine, spec, precision, catalog, assumed)
    machine_named = gpu is not None or memory is not None
    machine = machine_in(log, gpu, memory, catalog, assumed)
    workload = workload_in(log, engine, assumed)
    found = estimate(spec, catalog.engines[engine], layout, label, workload, machine)
    card_known = log.total_bytes is not None or machine_named
    predicted = parts_of(log, spec, found, workload, exact=exact, card_known=card_known)
    vendor = vendor_of(machine)
    bounds = (
        None if each.bounds_of is None else catalog.engines[engine].bounds_of(each.bounds_of, vendor) or (1.0, 1.0)
        for each in predicted
    )
    parts = tuple(_part(each, stated) for each, stated in zip(predicted, bounds, strict=True))
    missed = _missed_most(parts)
    return PasteLogResult(
        fmkit=__version__,
        catalog=catalog.date,
        source=source,
        engine=log.engine,
        engine_version=log.version,
        model=_summary(name, spec),
        precision=label,
        layout=layout.name if exact else f"{log.weights}: a mix that only the file's header knows",
        verdict=_verdict(name, log, parts, missed),
        parts=parts,
        missed_most=missed.part if missed is not None else None,
        settings=_settings(log, workload),
        assumed=tuple(assumed),
        missing=tuple(words for words in log.missing if not (machine_named and words == MISSING_CARD)),
        not_understood=log.not_understood,
        warnings=(
            *contradictions(log, name, spec, machine if machine_named else None, catalog),
            *log.refused,
            *found.warnings,
        ),
    )


def _text_of(source: str) -> str:
    """The text of a file or of standard input: at most 32 MiB, and no binary."""
    try:
        if source == "-":
            content = sys.stdin.buffer.read(MOST_LOG_BYTES + 1)
        else:
            with Path(source).expanduser().open("rb") as stream:
                content = stream.read(MOST_LOG_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnsafeInputError(f"can't read the log: {reason}", where=source) from error
    if len(content) > MOST_LOG_BYTES:
        raise UnsafeInputError(
            f"the log is larger than {MOST_LOG_BYTES // MIB} MiB: cut it to the start-up", where=source
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # what PowerShell writes with `>`
        return content.decode("utf-16", errors="replace")
    if content.count(0) > BINARY_SHARE * len(content):
        raise UnsafeInputError("the log is a binary file, no text", where=source)
    return content.decode("utf-8-sig", errors="replace")


def _part(found: Predicted, stated: tuple[float, float] | None) -> LogPart:
    """The part with the bounds stated for it; what is not predicted or has none is not judged."""
    actual, size = found.actual, found.bytes
    least = most = within = None
    if size is not None and stated is not None:
        least, most = round(size * stated[0]), round(size * stated[1])
        within = least - actual.rounding_bytes <= actual.bytes <= most + actual.rounding_bytes
    return LogPart(
        part=found.part,
        predicted_bytes=size,
        low_bytes=least,
        high_bytes=most,
        actual_bytes=actual.bytes,
        error=size / actual.bytes - 1 if size is not None and actual.bytes else None,
        within=within,
        reason=found.reason,
        line=actual.line,
    )


def _missed_most(parts: tuple[LogPart, ...]) -> LogPart | None:
    """The part outside its bounds with the largest gap in bytes; None where there is none."""
    outside = [part for part in parts if part.within is False]
    return max(outside, key=lambda part: abs((part.predicted_bytes or 0) - part.actual_bytes), default=None)


def _verdict(name: str, log: StartupLog, parts: tuple[LogPart, ...], missed: LogPart | None) -> str:
    judged = [part for part in parts if part.within is not None]
    if not judged:
        return f"nothing in the log of {name} can be held against an estimate"
    if missed is None and len(judged) == 1:
        return f"{name} in {log.engine}: the one part that can be compared lies within the bounds stated for it"
    if missed is None:
        return f"{name} in {log.engine}: all {len(judged)} parts that can be compared lie within the bounds stated for them"
    predicted, actual = format_bytes(missed.predicted_bytes or 0), format_bytes(missed.actual_bytes)
    inside = sum(part.within is True for part in judged)
    return (
        f"{name} in {log.engine}: {inside} of {len(judged)} parts lie within their bounds; {missed.part} missed most, {predicted} "
        f"predicted and {actual} in the log"
    )


def _summary(name: str, spec: ModelSpec) -> ModelSummary:
    return ModelSummary(
        ref=name,
        hub_id=name if "/" in name else None,
        revision=None,
        architecture=spec.architecture,
        kind=spec.kind,
        params=spec.params,
        active_params=spec.active_params,
        active_params_without_embedding=spec.active_params_without_embedding,
        max_context_tokens=spec.max_context_tokens,
        licence=None,
    )


def _settings(log: StartupLog, workload: Workload) -> dict[str, str]:
    """What the estimate was made for."""
    found = {"context": f"{workload.context_tokens:,}", "sequences": str(workload.sequences), **workload.options}
    if workload.tensor_parallel > 1:
        found["tensor_parallel"] = str(workload.tensor_parallel)
    if log.weights is not None:
        found["weights"] = log.weights
    return found
