"""The child's side of a divided model: meeting the other ranks, and telling each other what was measured.

Ranks meet in a store: a file on one host, a port of the first rank over several. What is told goes through it too, for it takes
bytes whatever the devices are.
"""

from __future__ import annotations

import hashlib
import os
import socket
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import msgspec
from torch import distributed

from fmkit import __version__
from fmkit.errors import TrialFailedError, UsageError
from fmkit.trial.request import RankOutcome, Ranks, TrialOutcome, TrialRequest

MEETING_WAIT = timedelta(seconds=300)
"""So long a rank waits for the others to come."""

EXCHANGE_WAIT = timedelta(minutes=30)
"""So long a rank waits for another one during the trial: reading the weights may take one host much longer than the next."""

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


class Group:
    """The ranks of this trial, of which this process is one."""

    def __init__(self, request: TrialRequest) -> None:
        assert request.ranks is not None
        self._request = request
        self._ranks: Ranks = request.ranks
        self.rank = int(os.environ["RANK"])
        self._store = self._meet()

    def join(self) -> None:
        """Check that all were asked the same, and connect to them; UsageError, or TrialFailedError where they don't come."""
        self._check_same()
        distributed.init_process_group(
            BACKENDS[self._request.device],
            store=distributed.PrefixStore("group", self._store),
            rank=self.rank,
            world_size=self._ranks.count,
            timeout=EXCHANGE_WAIT,
        )

    def share(self, outcome: TrialOutcome) -> TrialOutcome:
        """The outcome with what every rank measured; leaves the group, so that it is the last thing to do."""
        own = RankOutcome(rank=self.rank, host=socket.gethostname(), device=outcome.device, measured=outcome.measured)
        told = [
            msgspec.json.decode(each, type=RankOutcome) for each in self._exchange("outcome", msgspec.json.encode(own))
        ]
        self.leave()
        return msgspec.structs.replace(outcome, ranks=tuple(told))

    def leave(self) -> None:
        """Wait for the others and take leave, so that nobody loses a connection."""
        distributed.barrier()
        distributed.destroy_process_group()

    def _meet(self) -> distributed.Store:
        place = self._ranks.rendezvous
        assert place is not None
        if place.startswith("file://"):
            return distributed.FileStore(place.removeprefix("file://"), self._ranks.count)
        host, _, port = place.rpartition(":")
        try:
            return distributed.TCPStore(
                host.strip("[]"), int(port), self._ranks.count, is_master=self.rank == 0, timeout=MEETING_WAIT
            )
        except (distributed.DistStoreError, distributed.DistNetworkError) as error:
            reason = (
                "the port is in use"
                if "EADDRINUSE" in str(error)
                else "not all hosts came in time, or the port is closed"
            )
            raise TrialFailedError(
                f"the {self._ranks.count} ranks did not meet at {place} within {MEETING_WAIT.seconds} s: {reason}",
                next_command="start the same command on every host, each with its own --host-rank",
            ) from error

    def _exchange(self, name: str, value: bytes) -> list[bytes]:
        """What each rank says under `name`, in their order. The first, whose store it is, stays until all have read it."""
        everyone = range(self._ranks.count)
        self._store.set(f"{name}/{self.rank}", value)
        told = [self._store.get(f"{name}/{rank}") for rank in everyone]
        self._store.set(f"{name}/{self.rank}/read", b"yes")
        if self.rank == 0:
            self._store.wait([f"{name}/{rank}/read" for rank in everyone])
        return told

    def _check_same(self) -> None:
        told = self._exchange("asked", msgspec.json.encode(asked(self._request)))
        first = msgspec.json.decode(told[0])
        for rank, each in enumerate(told):
            other = msgspec.json.decode(each)
            differing = [name for name, value in first.items() if other.get(name) != value]
            if differing:
                raise UsageError(
                    f"rank 0 and rank {rank} were started for different trials: {', '.join(differing)} differ",
                    where="--host-rank",
                    next_command="start the same command on every host, each with its own --host-rank",
                )


PLACES = ("folder", "held_out_path", "input_path", "output_path", "reference_path", "ranks", "model")
"""Fields of a request that may differ from host to host: where things are there."""


def asked(request: TrialRequest) -> dict[str, object]:
    """What has to be the same for all ranks: they would wait for each other for ever, or add up numbers that don't belong together."""
    same = {name: value for name, value in msgspec.to_builtins(request).items() if name not in PLACES}
    return {
        **same,
        "ranks": [request.ranks.count, request.ranks.hosts] if request.ranks is not None else None,
        "random weights": request.random_weights,
        "input": _digest(request.input_path),
        "reference": _digest(request.reference_path),
        "fmkit": __version__,
        "torch": version("torch"),
        "transformers": version("transformers"),
    }


def _digest(path: str | None) -> str | None:
    """What tells one file's content from another's."""
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
