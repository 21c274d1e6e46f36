"""`fmkit try --tensor-parallel N`: which processes share the model, what each of them may take, and what each measured."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.asked import whole
from fmkit.api.division import degree
from fmkit.errors import TrialFailedError, UsageError
from fmkit.trial.items import is_many
from fmkit.trial.out_of_memory import OutOfMemoryError
from fmkit.trial.ranks.launch import run_ranks
from fmkit.trial.request import Cell, CellOutcome, Ranks, TrialFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.api.trial_options import TrialOptions
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.results.vram import Estimate
    from fmkit.sizing.estimate import Workload
    from fmkit.trial.request import TrialOutcome, TrialRequest
    from fmkit.trial.runner import Progress
    from fmkit.trial.workplace import Workplace

MOST_PORT = 65535
OPTION = "--tensor-parallel"


def ranks_for(options: TrialOptions, engine: str, catalog: Catalog) -> Ranks | None:
    """The processes asked for; None for one. UsageError for a number that can't be, or for hosts that don't go together with it."""
    count = degree(options.tensor_parallel, "tensor", catalog.engines, engine)
    hosts = whole(options.hosts, "--hosts", at_most=count)
    if hosts == 1 and (options.host_rank or options.rendezvous is not None):
        raise UsageError("one host meets nobody: say how many there are", where="--hosts", next_command="--hosts 2")
    if count == 1:
        return None
    if sys.platform == "darwin":
        raise UsageError("transformers divides no model on a Mac: its exchange of tensors has no Metal", where=OPTION)
    if options.input is not None and is_many(options.input):
        raise UsageError(
            "a file of many inputs is answered in one process", where="--input", next_command=f"{OPTION} 1"
        )
    if count % hosts:
        raise UsageError(f"{count} ranks do not divide by {hosts} hosts", where="--hosts")
    if not 0 <= options.host_rank < hosts:
        raise UsageError(
            f"host {options.host_rank} of {hosts}: they are numbered from 0 to {hosts - 1}", where="--host-rank"
        )
    return Ranks(
        count=count,
        hosts=hosts,
        host_rank=options.host_rank,
        rendezvous=_meeting_point(options.rendezvous) if hosts > 1 else None,
    )


def _meeting_point(rendezvous: str | None) -> str:
    """An address and a port of the first host, as host:port."""
    if rendezvous is None:
        raise UsageError(
            "several hosts have to meet: give an address of host 0 and a free port of it",
            where="--rendezvous",
            next_command="--rendezvous 10.0.0.1:29500",
        )
    host, _, port = rendezvous.rpartition(":")
    bare = (host.startswith("[") and host.endswith("]")) or ":" not in host
    if (
        not host
        or not bare
        or any(mark in host for mark in "/@? ")
        or not port.isdigit()
        or not 0 < int(port) <= MOST_PORT
    ):
        raise UsageError(
            f"can't read {rendezvous!r}: write host:port, such as 10.0.0.1:29500 or [fd00::1]:29500",
            where="--rendezvous",
        )
    return rendezvous


def check_ranks(ranks: Ranks | None, layout: Layout, workloads: Sequence[Workload]) -> None:
    """Refuse what several ranks don't run: quantised weights, and a sweep over several hosts.

    transformers divides some quantised weights, and which bytes each rank then holds nobody has measured. The hosts of a sweep
    would have to agree on what to do after a failure.
    """
    if ranks is None:
        return
    if layout.weight_bits is not None:
        raise UsageError(
            f"a trial over several ranks runs 16 and 32 bit weights, not {layout.name}",
            where="--precision",
            next_command="--precision fp16",
        )
    if ranks.hosts > 1 and len(workloads) > 1:
        raise UsageError(
            f"several hosts try one workload at a time, not {len(workloads)}", where="--context, --sequences"
        )


def shared(machine: Machine, ranks: Ranks | None, torch_device: str) -> Machine:
    """The machine as the ranks see it: an accelerator for each, or an even share of the processors' memory.

    Other hosts are taken to be like this one. UsageError where this one has fewer accelerators than ranks.
    """
    if ranks is None:
        return machine
    if torch_device not in ("cpu", "cuda"):
        raise UsageError(
            f"a model is divided over CUDA or ROCm cards, or over processors, not over {torch_device}",
            where="--device",
            next_command=f"{OPTION} {ranks.count} --device cpu",
        )
    if torch_device == "cpu":
        here = ranks.here
        return msgspec.structs.replace(
            machine,
            name=f"{ranks.count} ranks on {machine.name}",
            count=ranks.count,
            memory_bytes=machine.memory_bytes // here,
            usable_bytes=machine.usable_bytes // here,
            cpu_cores=None if machine.cpu_cores is None else max(1, machine.cpu_cores // here),
        )
    if machine.count < ranks.here:
        raise UsageError(
            f"{ranks.here} ranks need {ranks.here} accelerators here, and there {'is' if machine.count == 1 else 'are'} {machine.count}",
            where=OPTION,
            next_command=f"{OPTION} {ranks.count} --device cpu",
        )
    return msgspec.structs.replace(machine, count=ranks.count)


def without_speed(estimate: Estimate, ranks: Ranks | None, torch_device: str) -> Estimate:
    """The estimate without the speed of ranks on processors: what an exchange between such processes takes nobody has measured."""
    if ranks is None or torch_device != "cpu":
        return estimate
    note = "no speed for ranks on processors: nobody measured what an exchange between them takes"
    return msgspec.structs.replace(estimate, speed=None, warnings=(*estimate.warnings, note))


def run_divided(
    request: TrialRequest, *, progress: Progress | None, timeout_s: float | None, place: Workplace
) -> TrialOutcome:
    """Run the request, and each of its further workloads, with ranks started anew: after a failure they would be out of step.

    What was measured is the sum over all ranks.
    """
    first, *others = (
        Cell(**{name: getattr(one, name) for name in Cell.__struct_fields__}) for one in (request, *request.further)
    )
    outcome = _summed(run_ranks(request.at(first), progress=progress, timeout_s=timeout_s, place=place))
    further = []
    for cell in others:
        try:
            found = _summed(run_ranks(request.at(cell), progress=progress, timeout_s=timeout_s, place=place))
        except OutOfMemoryError as error:
            further.append(CellOutcome(failure=error.failure))
        except TrialFailedError as error:
            further.append(CellOutcome(failure=TrialFailure(kind="failed", phase="start", message=error.message)))
        else:
            further.append(CellOutcome(measured=found.measured, timing=found.timing, ranks=found.ranks))
    return msgspec.structs.replace(outcome, further=tuple(further))


def _summed(outcome: TrialOutcome) -> TrialOutcome:
    """The outcome with the bytes of all ranks together, of the parts that every rank knows; a peak is the sum of each rank's own."""
    known = [part for part in outcome.measured if all(part in each.measured for each in outcome.ranks)]
    return msgspec.structs.replace(
        outcome, measured={part: sum(each.measured[part] for each in outcome.ranks) for part in known}
    )
