"""A model divided over processes: the same answers as from one, each rank's share as predicted, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers

from fmkit.errors import ExitCode, TrialFailedError
from fmkit.model.architectures import read
from fmkit.sizing.transformers_tp import tensor_rank
from fmkit.trial.random_weights import fill
from fmkit.trial.ranks import launch
from fmkit.trial.ranks.group import asked
from fmkit.trial.ranks.interface import interface_towards, loopback
from fmkit.trial.ranks.launch import environment, run_ranks
from fmkit.trial.ranks.place import own_device
from fmkit.trial.ranks.weights import Repeated
from fmkit.trial.request import Ranks, TrialRequest
from fmkit.trial.runner import child_environment
from tests.trial.rank_outputs import outputs
from tests.trial.tiny import TEXT, request

RANKS = 2
FLOAT32_BYTES = 4

ROUNDING = 1e-5
"""Sums in another order, relative to the largest logit: a hundred times the resolution of float32."""


def described(model_type: str, architecture: str, **more: Any) -> dict[str, Any]:
    return {"model_type": model_type, "architectures": [architecture], **TEXT, **more}


CONFIGS = {
    "llama": described("llama", "LlamaForCausalLM"),
    "qwen2, biases": described("qwen2", "Qwen2ForCausalLM"),
    "starcoder2, biases after the sum": described("starcoder2", "Starcoder2ForCausalLM", use_bias=True),
    "mixtral, experts": described("mixtral", "MixtralForCausalLM", num_local_experts=4, num_experts_per_tok=2),
    "gemma2, tied": described("gemma2", "Gemma2ForCausalLM", head_dim=16),
    "phi3, fused and gathered": described("phi3", "Phi3ForCausalLM", pad_token_id=0),
}


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRequest]:
    """Each model with random weights, and from files in which nothing is constant: biases and scales too."""
    found = []
    for name, config in CONFIGS.items():
        folder = tmp_path_factory.mktemp("model")
        torch.manual_seed(0)
        model = getattr(transformers, config["architectures"][0])(transformers.AutoConfig.for_model(**config))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.08)
        model.save_pretrained(folder)
        plain = request("llama", model=name, config=config, checks=())
        found += [plain, msgspec.structs.replace(plain, model=f"{name}, files", folder=str(folder))]
    return found


@pytest.fixture(scope="module")
def divided(requests: list[TrialRequest], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every rank computes for all of them."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks = Ranks(count=RANKS, rendezvous=f"file://{folder / 'meeting'}")
    given = folder / "requests.json"
    asked = [msgspec.structs.replace(one, ranks=ranks) for one in requests]
    given.write_bytes(msgspec.json.encode(asked))
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.trial.rank_outputs", str(given), str(folder / f"{rank}.pt")],
            env={**child_environment(), **environment(asked[0], ranks, rank)},
        )
        for rank in range(RANKS)
    ]
    try:
        assert [process.wait(120) for process in running] == [0] * RANKS
    finally:
        for process in running:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.slow
def test_every_rank_answers_as_one_process_does(requests: list[TrialRequest], divided: list[dict[str, Any]]) -> None:
    for one in requests:
        whole = outputs(one)
        for rank in divided:
            found = rank[one.model]
            assert found["tokens"] == whole["tokens"], one.model
            off = (found["logits"] - whole["logits"]).abs().max() / whole["logits"].abs().max()
            assert off < ROUNDING, one.model


@pytest.mark.slow
def test_a_rank_holds_the_weights_predicted(requests: list[TrialRequest], divided: list[dict[str, Any]]) -> None:
    for one in requests:
        share = tensor_rank(read(one.config, where=one.model), RANKS)
        predicted = sum(group.elements * FLOAT32_BYTES for group in share.tensors)
        assert [rank[one.model]["weights"] for rank in divided] == [predicted] * RANKS, one.model


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((7, 5), (slice(2, 5), slice(0, 5))),
        ((7, 5), (slice(0, 7), slice(1, 4))),
        ((3, 7, 5), (slice(0, 3), slice(2, 6), slice(0, 5))),
        ((3, 4, 40), (slice(0, 3), slice(0, 4), slice(1, 39))),
        ((2, 40, 3), (slice(0, 2), slice(3, 37), slice(0, 3))),
    ],
)
def test_a_share_is_a_part_of_the_whole_matrix(shape: tuple[int, ...], part: tuple[slice, ...]) -> None:
    """Also where a run of elements is longer than the values that are repeated."""
    source = torch.rand(11)
    whole = torch.empty(shape)
    flat = whole.view(-1)
    for start in range(0, flat.numel(), len(source)):
        piece = flat[start : start + len(source)]
        piece.copy_(source[: len(piece)])
    assert torch.equal(Repeated(shape, source)[part], whole[part])


def test_matrices_repeat_as_those_of_one_process() -> None:
    source = torch.rand(1_000_003)
    whole = torch.empty(1100, 1000)
    fill(whole, "layer.weight", source)
    assert torch.equal(Repeated(whole.shape, source)[slice(0, 1100), slice(500, 1000)], whole[:, 500:])


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ({"context_tokens": 65}, ["context_tokens"]),
        ({"dtype": "bfloat16"}, ["dtype"]),
        ({"folder": "/b", "model": "b"}, ["random weights"]),
    ],
)
def test_what_has_to_be_the_same_on_every_host(change: dict[str, Any], differing: list[str]) -> None:
    """Where things lie may differ, what is computed may not."""
    first = asked(request("llama", ranks=Ranks(count=2, hosts=2, rendezvous="a:1")))
    second = asked(request("llama", ranks=Ranks(count=2, hosts=2, host_rank=1, rendezvous="a:1"), **change))
    assert [name for name in first if first[name] != second[name]] == differing


def ended(children: list[launch._Member]) -> bool:
    return all(member.child.status is not None for member in children)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[launch._Member]:
    """Every rank that a test starts."""
    started: list[launch._Member] = []
    original = launch._start

    def start(*arguments: Any) -> launch._Member:
        started.append(original(*arguments))
        return started[-1]

    monkeypatch.setattr(launch, "_start", start)
    return started


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_the_others(children: list[launch._Member], rank: int) -> None:
    def kill() -> None:
        while len(children) < RANKS:
            time.sleep(0.01)
        os.kill(children[rank].child.pid, signal.SIGSEGV)

    threading.Thread(target=kill).start()
    with pytest.raises(TrialFailedError, match=rf"rank {rank}: .*SIGSEGV") as caught:
        run_ranks(request("llama", ranks=Ranks(count=RANKS)))
    assert caught.value.exit_code == ExitCode.TRIAL_FAILED
    assert ended(children)


def test_a_timeout_ends_all_ranks(children: list[launch._Member]) -> None:
    with pytest.raises(TrialFailedError, match=r"took longer than .*, and was stopped"):
        run_ranks(request("llama", ranks=Ranks(count=RANKS)), timeout_s=0.2)
    assert len(children) == RANKS
    assert ended(children)


def test_the_rank_to_blame_is_not_the_one_that_lost_it() -> None:
    killed, lost = TrialFailedError("the process was killed"), TrialFailedError("failed: Connection closed by peer")
    assert (
        launch._blame(-signal.SIGKILL, killed)
        < launch._blame(0, TrialFailedError("any other"))
        < launch._blame(0, lost)
    )


@pytest.mark.full
def test_a_trial_over_ranks_fails_with_the_error_of_its_rank(children: list[launch._Member]) -> None:
    """The others wait in an exchange that never comes, and are ended."""

    def kill() -> None:
        while not children or children[0].child.phase != "timing":
            time.sleep(0.01)
        os.kill(children[1].child.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(TrialFailedError, match=r"rank 1: the process was killed \(signal 9\)"):
        run_ranks(request("llama", ranks=Ranks(count=RANKS), repeat=1000))
    assert ended(children)


def test_a_rank_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ranks = Ranks(count=8, hosts=2, host_rank=1, rendezvous="127.0.0.1:29500")
    found = environment(request("llama", ranks=ranks), ranks, 2)
    place = {"RANK": "6", "LOCAL_RANK": "2", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    assert place.items() <= found.items()
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in environment(request("llama", ranks=ranks, device="cuda"), ranks, 2)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    ranks = Ranks(count=2)
    found = environment(request("llama", ranks=ranks), ranks, 0)
    assert "OMP_NUM_THREADS" not in found
    assert "GLOO_SOCKET_IFNAME" not in found


@pytest.mark.parametrize(("visible", "device"), [(None, 1), ("4,6", 6), ("GPU-1f,GPU-2e", None), ("3", None)])
def test_the_accelerator_of_a_rank(monkeypatch: pytest.MonkeyPatch, visible: str | None, device: int | None) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert own_device() == device


@pytest.mark.skipif(sys.platform != "linux", reason="names of interfaces are read on Linux")
def test_the_interface_that_leads_to_a_host() -> None:
    assert interface_towards("127.0.0.1") == loopback() == "lo"
    assert interface_towards("not a host") is None


def test_nothing_of_a_run_stays(
    children: list[launch._Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(TrialFailedError):
        run_ranks(request("llama", ranks=Ranks(count=RANKS)), timeout_s=0.2)
    assert ended(children)
    assert sorted(tmp_path.iterdir()) == before
