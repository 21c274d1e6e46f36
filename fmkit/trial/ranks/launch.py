"""The parent's side of a divided model: start one child for each rank of this host, and end all of them when one fails.

The children get the variables that torchrun gives (RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE). No torch here.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError
from fmkit.trial.interruption import interruptible
from fmkit.trial.out_of_memory import OutOfMemoryError
from fmkit.trial.ranks.interface import interface_towards, loopback
from fmkit.trial.request import ChildResult, Ranks, TrialOutcome, TrialRequest
from fmkit.trial.runner import Child, Progress, noted, outcome_of
from fmkit.trial.supervision import limit_on_process, supervise
from fmkit.trial.workplace import Workplace, workplace

SETTLE_S = 1.0
"""After the first rank failed the others fail too, for want of it: so long we wait to see which of them is the cause."""


def run_ranks(
    request: TrialRequest,
    *,
    progress: Progress | None = None,
    timeout_s: float | None = None,
    place: Workplace | None = None,
) -> TrialOutcome:
    """Run the request in one process for each rank of this host; the outcome is its first rank's, with those of all ranks in it.

    Raises as `run_in_child` does, for the rank that is to blame; none of the processes outlives this call.
    """
    ranks = request.ranks
    assert ranks is not None
    with ExitStack() as stack:
        if place is None:
            place = stack.enter_context(workplace(request.model))
        folder = Path(tempfile.mkdtemp(prefix="ranks-", dir=place.path))  # a sweep starts ranks more than once
        if ranks.rendezvous is None:
            ranks = msgspec.structs.replace(ranks, rendezvous=f"file://{folder / 'meeting'}")
            request = msgspec.structs.replace(request, ranks=ranks)
        elif progress is not None:
            progress(f"host {ranks.host_rank} of {ranks.hosts}: meeting the others at {ranks.rendezvous} ...")
        stack.enter_context(interruptible())
        members: list[_Member] = []
        for local in range(ranks.here):
            members.append(_start(request, ranks, local, folder, noted(place, progress) if local == 0 else None))
            stack.callback(members[-1].child.end)
        return _outcome(members, request, timeout_s)


class _Member:
    """A running rank."""

    def __init__(self, rank: int, child: Child, result: Path) -> None:
        self.rank = rank
        self.child = child
        self.result = result

    @property
    def succeeded(self) -> bool:
        """Whether it ended with an outcome."""
        if self.child.status is None or not self.result.exists():
            return False
        return msgspec.json.decode(self.result.read_bytes(), type=ChildResult).outcome is not None


def _start(request: TrialRequest, ranks: Ranks, local: int, folder: Path, progress: Progress | None) -> _Member:
    rank = ranks.host_rank * ranks.here + local
    own = folder / f"rank-{rank}"
    own.mkdir()
    (own / "request.json").write_bytes(msgspec.json.encode(request))
    child = Child(own, progress, environment(request, ranks, local), limit_bytes=limit_on_process(request))
    return _Member(rank, child, own / "result.json")


def environment(request: TrialRequest, ranks: Ranks, local: int) -> dict[str, str]:
    """What a rank's environment has beside that of any trial; what the user has set stays, but for the place in the group."""
    place = {
        "RANK": str(ranks.host_rank * ranks.here + local),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(ranks.count),
        "LOCAL_WORLD_SIZE": str(ranks.here),
    }
    if request.device == "cpu":
        place["CUDA_VISIBLE_DEVICES"] = ""  # transformers divides over the accelerators it sees, whatever was asked for
    chosen = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // ranks.here)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the driver's order, by which memory is read
    }
    network = _network(ranks)
    if network is not None:
        chosen |= dict.fromkeys(
            ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if ranks.hosts > 1 else ("GLOO_SOCKET_IFNAME",), network
        )
    return {**{name: value for name, value in chosen.items() if name not in os.environ}, **place}


def _network(ranks: Ranks) -> str | None:
    """The network interface that ranks talk over: they would guess it from the host's name, and that is often 127.0.1.1."""
    if ranks.hosts == 1 or ranks.rendezvous is None:
        return loopback()
    return interface_towards(ranks.rendezvous.rpartition(":")[0])


def _outcome(members: Sequence[_Member], request: TrialRequest, timeout_s: float | None) -> TrialOutcome:
    """Wait for all; the first rank's outcome, or the error of the one to blame."""
    waiting = list(members)
    while waiting:
        supervise([member.child for member in waiting], request, timeout_s)
        ended = [member for member in waiting if member.child.status is not None]
        if not all(member.succeeded for member in ended):
            time.sleep(SETTLE_S)
            raise _error(members, request)
        waiting = [member for member in waiting if member not in ended]
    first = members[0]
    return outcome_of(first.result, first.child.wait(None), first.child, request)


def _error(members: Sequence[_Member], request: TrialRequest) -> FmkitError:
    """What the rank to blame died of: one that was killed before one that ran out of memory before one that lost the others."""
    found: list[tuple[int, FmkitError]] = []
    for member in members:
        status = member.child.status
        if status is None or member.succeeded:
            continue
        try:
            outcome_of(member.result, member.child.wait(None), member.child, request)
        except FmkitError as error:
            found.append((_blame(status, error), _named(error, member)))
    return min(found, key=lambda item: item[0])[1]


LOST = (
    "Connection closed by peer", "Connection reset by peer", "Connection was likely closed", "Broken pipe", "Timed out waiting",
    "NCCL error",
)  # fmt: skip
"""In the words of a rank whose neighbour is gone."""


def _blame(status: int, error: FmkitError) -> int:
    if status < 0:
        return 0
    if isinstance(error, OutOfMemoryError):
        return 1
    return 3 if any(words in error.message for words in LOST) else 2


def _named(error: FmkitError, member: _Member) -> FmkitError:
    """The error with the rank it is of; a lost connection in our words, for the library's say less."""
    text = error.message
    if any(words in text for words in LOST):
        text = f"the connection to another rank broke while {member.child.doing}: look at the other hosts, one of which may say why"
    error.message = f"rank {member.rank}: {text}"
    error.args = (error.message,)
    return error
