"""The order of a trial: warm up, measure a baseline, load, count memory, take times, look at the output, check, and sweep on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError
from fmkit.results.trial import InputsSummary
from fmkit.trial import device_memory, process_memory
from fmkit.trial.checks import run_checks
from fmkit.trial.engines import open_engine
from fmkit.trial.engines.base import Engine
from fmkit.trial.evidence import Evidence, WordErrors
from fmkit.trial.failure import failure_of
from fmkit.trial.items import is_many, read_items
from fmkit.trial.many import answer_all
from fmkit.trial.memory_limit import hold
from fmkit.trial.notes import say
from fmkit.trial.others import Others
from fmkit.trial.ranks.place import own_device
from fmkit.trial.request import CellOutcome, Phase, Timing, TrialOutcome, TrialRequest

Enter = Callable[[Phase], None]
"""Called when a phase begins."""

PEAKS = ("prefill_peak_bytes", "decode_peak_bytes")


def run_trial(
    request: TrialRequest, enter: Enter, keep: Callable[[TrialOutcome], None] = lambda _: None
) -> TrialOutcome:
    """Run one trial in this process, and after it the further workloads of its sweep with the same loaded model.

    A workload of the sweep that fails does not stop the next one. Before each of them `keep` gets what is known so far, for one that takes
    too much memory may take this process with it.
    """
    on_device_before = _used_on_device(request)
    engine = open_engine(request)
    enter("warm-up")
    engine.warm_up()
    means = () if request.limit_bytes is None else hold(request.limit_bytes, request.device)
    process_memory.settle()
    meter = _Meter(engine, request, process_memory.resident_bytes(), on_device_before)
    enter("load")
    started = time.perf_counter()
    engine.load()
    load_s = time.perf_counter() - started
    if request.predictions_to is not None:
        return _predictions(engine, request.predictions_to, load_s)
    measured = meter.measure(enter)
    enter("timing")
    timing = _timing(engine, request)
    enter("output")
    answered = _answer_or_why_not(engine, request)
    enter("checks")
    seen = _evidence(engine, request, answered)
    outcome = TrialOutcome(
        engine=engine.version(),
        task=engine.task,
        device=engine.device,
        measured=measured,
        load_s=load_s,
        timing=timing,
        output=answered.output,
        checks=run_checks(request.checks, seen),
        warnings=(*engine.warnings, *answered.notes),
        limit_means=means,
        asked=answered.asked,
        inputs=answered.inputs,
        output_error=answered.error,
    )
    for cell in request.further:
        keep(outcome)
        found = _further(engine, request.at(cell), meter, enter)
        outcome = msgspec.structs.replace(outcome, further=(*outcome.further, found))
    return outcome


def _predictions(engine: Engine, path: str, load_s: float) -> TrialOutcome:
    """Only write what the model predicts for a text, for another to be compared with."""
    engine.record_predictions(Path(path))
    return TrialOutcome(
        engine=engine.version(), task=engine.task, device=engine.device, measured={}, load_s=load_s, timing=Timing(), output="",
        checks=(),
    )  # fmt: skip


class _Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The output of one input, or of many with their summary."""

    output: str
    asked: str = ""
    notes: tuple[str, ...] = ()
    inputs: InputsSummary | None = None
    word_errors: WordErrors | None = None
    error: str | None = None


def _answer_or_why_not(engine: Engine, request: TrialRequest) -> _Answered:
    """The answer, or what the engine's own failure said: what was measured before does not get lost by it.

    Bad input still ends the trial; so does memory that runs out, for the model does not fit then, and a rank that others wait for.
    """
    try:
        return _answer(engine, request)
    except FmkitError:
        raise
    except Exception as error:
        failure = failure_of(error, "output")
        if failure.kind != "failed" or request.ranks is not None:
            raise
    engine.recover()
    return _Answered(output="", error=failure.message)


def _evidence(engine: Engine, request: TrialRequest, answered: _Answered) -> Evidence:
    """What the checks judge; nothing where the engine could not answer, for it can't be asked more."""
    if answered.error is not None:
        unseen = dict.fromkeys(request.checks, "the output failed")
        return Evidence(task=engine.task, random_weights=request.random_weights, unseen=unseen)
    seen = engine.evidence(request.checks)
    seen.word_errors = answered.word_errors or seen.word_errors
    seen.unseen = {**request.unseen, **seen.unseen}
    return seen


def _answer(engine: Engine, request: TrialRequest) -> _Answered:
    """The answer to the one input, or to every line of the file of inputs."""
    path = request.input_path
    if path is None or not is_many(path):
        reply = engine.answer()
        return _Answered(output=reply.text, asked=reply.asked, notes=reply.notes)
    precision = request.quantiser or request.dtype
    output = None if request.output_path is None else Path(request.output_path)
    items = read_items(Path(path), request.kind)
    many = answer_all(items, engine.reply, request.model, precision, output, say)
    asked = f"{len(items):,} inputs of {Path(path).name}"
    return _Answered(
        output=many.shown, asked=asked, notes=many.notes, inputs=many.summary, word_errors=many.word_errors
    )


def _timing(engine: Engine, request: TrialRequest) -> Timing:
    """The times, with what others used of the processors meanwhile; of a divided model the other ranks would be among them."""
    others = Others()
    timing = engine.timing()
    if request.ranks is not None or not request.repeat:
        return timing
    return msgspec.structs.replace(timing, others_share=others.share())


def _further(engine: Engine, request: TrialRequest, meter: _Meter, enter: Enter) -> CellOutcome:
    """Memory and times of another workload; a failure is part of the answer."""
    phase: list[Phase] = ["prefill"]

    def entered(name: Phase) -> None:
        phase.append(name)
        enter(name)

    try:
        engine.use(request)
        process_memory.settle()
        measured = meter.measure(entered)
        entered("timing")
        return CellOutcome(measured=measured, timing=_timing(engine, request))
    except Exception as error:  # noqa: BLE001  the next workload may well run
        failure = failure_of(error, phase[-1])
    engine.recover()
    return CellOutcome(failure=failure)


class _Meter:
    """Takes the memory of one workload: what the engine counted, and what the process or the device held at most.

    Memory and time are taken in separate passes, because counting slows every operation.
    """

    def __init__(
        self, engine: Engine, request: TrialRequest, resident_before: int | None, on_device_before: int | None
    ) -> None:
        self.engine = engine
        self._request = request
        self.on_device = request.device in ("cuda", "xpu")
        self.resident_before = resident_before
        self.on_device_before = on_device_before
        self.can_reset = process_memory.reset_peak()
        if not self.can_reset and not self.on_device:
            engine.warnings.append(
                "this system does not report a process's peak since a moment: the process peak is unknown"
            )
        if self.on_device and on_device_before is None:
            engine.warnings.append("the driver does not say what is in use on the device: the process peak is unknown")
        self._fresh = True

    def measure(self, enter: Enter) -> dict[str, int]:
        """Bytes by part, as in `fmkit.results.trial.TrialResult.measured`."""
        if not self._fresh:
            self.can_reset = process_memory.reset_peak()
        self._fresh = False  # the first workload's peak includes the load
        enter("prefill")
        measured = self.engine.prefill_memory()
        peaks = [process_memory.peak_bytes()]
        enter("decode")
        measured |= self.engine.decode_memory()  # may forget the peak before its step
        peaks.append(process_memory.peak_bytes())
        anonymous, of_files = process_memory.resident_split()
        return (
            by_part(measured)
            | self._process(measured, max((peak for peak in peaks if peak is not None), default=None))
            | _known({"resident_anonymous_bytes": anonymous, "resident_file_bytes": of_files})
        )

    def _process(self, measured: dict[str, int], seen: int | None) -> dict[str, int]:
        """On a CPU the process's own peak; on a device what the driver holds for it, with what stays in the host beside it."""
        peak = seen if self.can_reset else None
        if not self.on_device:
            return _known({"process_baseline_bytes": self.resident_before, "process_peak_bytes": peak})
        outside = None
        used = _used_on_device(self._request)
        if used is not None and self.on_device_before is not None:
            outside = max(0, used - self.on_device_before - self.engine.reserved_bytes())
        reserved = measured.get("reserved_peak_bytes")
        total = None if outside is None or reserved is None else reserved + outside
        return _known({"process_peak_bytes": total, "device_runtime_bytes": outside, "host_peak_bytes": peak})


def _used_on_device(request: TrialRequest) -> int | None:
    """Bytes in use on the devices of the trial; a rank of a divided model has one of its own, and its neighbours theirs."""
    if request.device != "cuda":
        return None
    if request.ranks is None:
        return device_memory.used_bytes()
    own = own_device()
    return None if own is None else device_memory.used_bytes(own)


def by_part(measured: dict[str, int]) -> dict[str, int]:
    """Weights, cache and activations whose sum is the allocated peak: activations are what the first two do not explain.

    The cache counted is the steady one, after a decode step; what prefill holds beyond it (the prompt behind a sliding
    window) is part of the activations, and stated as `cache_after_prefill_bytes`.
    """
    peak = max(measured.get(name, 0) for name in PEAKS)
    cache = measured.get("cache", measured.get("cache_after_prefill_bytes", 0))
    return {
        "weights": measured["weights"],
        "cache": cache,
        "activations": peak - measured["weights"] - cache,
        "allocated_peak_bytes": peak,
        **{name: value for name, value in measured.items() if name not in ("weights", "cache")},
    }


def _known(figures: dict[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in figures.items() if value is not None}
