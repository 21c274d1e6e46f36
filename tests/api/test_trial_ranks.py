"""`--tensor-parallel` of a trial: what is refused before a process is started, and what becomes of the figures of each rank."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fmkit.api import trial_plan, trial_ranks
from fmkit.api.trial_options import TrialOptions
from fmkit.api.trial_plan import plan_trial
from fmkit.api.trial_ranks import ranks_for, shared
from fmkit.api.try_model import try_model, try_sweep
from fmkit.catalog.load import Catalog, load_catalog
from fmkit.errors import FmkitError, TrialFailedError, UsageError
from fmkit.machine import Machine, memory_machine
from fmkit.results.trial import EngineVersion
from fmkit.trial.request import RankOutcome, Ranks, Timing, TrialOutcome, TrialRequest
from fmkit.trial.store import TrialStore
from fmkit.units import GIB

MODEL = "llama-3.2-1b"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def measured(weights: int) -> dict[str, int]:
    return {"weights": weights, "cache": 10, "activations": 5, "allocated_peak_bytes": weights + 15}


class Started:
    """Stands in for the processes: answers with figures of its own, and fails where it is told to."""

    def __init__(self) -> None:
        self.requests: list[TrialRequest] = []
        self.failing_tokens: int | None = None

    def __call__(self, request: TrialRequest, **_: Any) -> TrialOutcome:
        self.requests.append(request)
        if request.context_tokens == self.failing_tokens:
            raise TrialFailedError("rank 1: it died")
        return TrialOutcome(
            engine=EngineVersion(name="transformers", version="0"),
            task="text generation",
            device="CPU",
            measured=measured(100),
            load_s=1.0,
            timing=Timing(ttft_s=(1.0,)),
            output="out",
            checks=(),
            ranks=tuple(
                RankOutcome(rank=rank, host="here", device="CPU", measured=measured(100 - rank)) for rank in range(2)
            ),
        )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """No process is started; the machine has 24 GiB free."""
    stand_in = Started()
    monkeypatch.setattr(trial_ranks, "run_ranks", stand_in)
    monkeypatch.setattr(trial_plan, "machine_for", lambda *_: (memory_machine(24 * GIB), "cpu"))
    return stand_in


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tensor_parallel": 3}, "32 attention heads do not divide by 3.*possible: 1, 2, 4, 8"),
        ({"tensor_parallel": 0}, "whole number from 1"),
        ({"tensor_parallel": 2, "hosts": 2}, "several hosts have to meet"),
        ({"tensor_parallel": 4, "hosts": 3, "rendezvous": "a:1"}, "4 ranks do not divide by 3 hosts"),
        ({"tensor_parallel": 2, "hosts": 2, "host_rank": 2, "rendezvous": "a:1"}, "numbered from 0 to 1"),
        ({"tensor_parallel": 2, "hosts": 2, "rendezvous": "10.0.0.1"}, "write host:port"),
        ({"tensor_parallel": 2, "hosts": 2, "rendezvous": "a:99999"}, "write host:port"),
        ({"tensor_parallel": 2, "hosts": 2, "rendezvous": "fd00::1:29500"}, "write host:port"),
        ({"tensor_parallel": 2, "hosts": 2, "rendezvous": "http://a:29500"}, "write host:port"),
        ({"tensor_parallel": 2, "rendezvous": "a:1"}, "one host meets nobody"),
        ({"tensor_parallel": 2, "host_rank": 1}, "one host meets nobody"),
        ({"tensor_parallel": 2, "input": "many.jsonl"}, "many inputs is answered in one process"),
        ({"tensor_parallel": 2, "precision": "int8"}, "runs 16 and 32 bit weights"),
    ],
)
def test_refused_before_anything_is_started(started: Started, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        try_model(MODEL, random_weights=True, keep=False, **asked)
    assert started.requests == []


def test_a_model_without_a_plan_is_refused(started: Started) -> None:
    with pytest.raises(UsageError, match="no plan for gpt2 is known; possible: 1"):
        try_model("gpt2", random_weights=True, tensor_parallel=2)
    assert started.requests == []


def test_a_server_divides_its_model_itself() -> None:
    with pytest.raises(UsageError, match="the server has divided its model itself"):
        try_model(MODEL, engine="http://127.0.0.1:9/v1", tensor_parallel=2)


def test_one_rank_is_a_trial_like_any(catalog: Catalog) -> None:
    assert ranks_for(TrialOptions(tensor_parallel=1), "transformers", catalog) is None
    assert plan_trial(MODEL, None, ("512",), (1,), TrialOptions(random_weights=True, layers=1)).ranks is None


def accelerated(count: int) -> Machine:
    return msgspec.structs.replace(memory_machine(80 * GIB), origin="detected", count=count)


def test_an_accelerator_for_each_rank() -> None:
    assert shared(accelerated(8), Ranks(count=4), "cuda").count == 4
    over_hosts = Ranks(count=4, hosts=2, rendezvous="10.0.0.1:29500")
    assert shared(accelerated(2), over_hosts, "cuda").count == 4
    with pytest.raises(UsageError, match="4 ranks need 4 accelerators here, and there are 2"):
        shared(accelerated(2), Ranks(count=4), "cuda")
    with pytest.raises(UsageError, match="not over mps"):
        shared(accelerated(2), Ranks(count=2), "mps")


def test_ranks_share_the_memory_of_the_processors_of_a_host() -> None:
    machine = memory_machine(24 * GIB)
    assert shared(machine, Ranks(count=4), "cpu").usable_bytes == 6 * GIB
    assert shared(machine, Ranks(count=4, hosts=2, rendezvous="a:1"), "cpu").usable_bytes == 12 * GIB


def test_figures_are_the_sum_and_each_ranks_own(started: Started) -> None:
    result = try_model(MODEL, random_weights=True, layers=1, tensor_parallel=2)
    assert result.measured["weights"] == 199
    assert [rank.measured["weights"] for rank in result.ranks] == [100, 99]
    assert result.workload.tensor_parallel == 2
    each = result.ranks[0].predicted
    assert {part: 2 * bytes_ for part, bytes_ in each.items()} == result.predicted
    assert result.ranks[1].error["weights"] == pytest.approx((each["weights"] - 99) / 99)
    assert TrialStore().all() == [result]
    assert started.requests[0].ranks == Ranks(count=2)


def test_only_the_first_host_keeps_the_trial(started: Started) -> None:
    over_hosts: dict[str, Any] = {"tensor_parallel": 2, "hosts": 2, "rendezvous": "10.0.0.1:29500", "layers": 1}
    try_model(MODEL, random_weights=True, host_rank=1, **over_hosts)
    assert TrialStore().all() == []
    try_model(MODEL, random_weights=True, host_rank=0, **over_hosts)
    assert len(TrialStore().all()) == len(started.requests) - 1 == 1


def test_a_sweep_starts_the_ranks_for_each_workload(started: Started) -> None:
    started.failing_tokens = 256
    options = TrialOptions(random_weights=True, layers=1, tensor_parallel=2, keep=False)
    swept = try_sweep(MODEL, context=("128", "256", "512"), options=options)
    assert [one.context_tokens for one in started.requests] == [128, 256, 512]
    assert [one.workload.context_tokens for one in swept.trials] == [128, 512]
    assert [one.context_tokens for one in swept.failed] == [256]
    assert "rank 1: it died" in swept.failed[0].reason


def test_hosts_try_one_workload_at_a_time(started: Started) -> None:
    options = TrialOptions(random_weights=True, layers=1, tensor_parallel=2, hosts=2, rendezvous="a:1", keep=False)
    with pytest.raises(FmkitError, match="several hosts try one workload at a time, not 2"):
        try_sweep(MODEL, context=("128", "256"), options=options)
    assert started.requests == []
