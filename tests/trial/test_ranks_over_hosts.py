"""Two hosts, made of two network namespaces with a cable between them: the same answer as on one, each rank's memory as predicted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmkit.api.try_model import try_model

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29517

pytestmark = pytest.mark.full


def ip(*arguments: str) -> None:
    """Run iproute2's `ip`; the test is skipped, with its reason, where it is not there or not allowed."""
    found = shutil.which("ip")
    if found is None:
        pytest.skip("no network namespaces here: there is no ip command")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespaces here: ip {' '.join(arguments)}: {done.stderr.strip()}")


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The names of two namespaces, each with one end of a cable."""
    names = [f"fmkit-{os.getpid()}-{number}" for number in range(2)]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1", "netns", names[1])
        for number, (name, address) in enumerate(zip(names, ADDRESSES, strict=True)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", f"cable{number}")
            ip("-n", name, "link", "set", f"cable{number}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            subprocess.run([str(shutil.which("ip")), "netns", "del", name], check=False)


def start(host: str, rank: int, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """`fmkit try` of the embedded model on one of the hosts."""
    meeting = ("--hosts", "2", "--host-rank", str(rank), "--rendezvous", f"{ADDRESSES[0]}:{PORT}")
    fmkit = (sys.executable, "-m", "fmkit", "try", "--tensor-parallel", "2", "--json", "--quiet", "--repeat", "1")
    with (folder / f"{rank}.json").open("wb") as answer:
        return subprocess.Popen(
            [str(shutil.which("ip")), "netns", "exec", host, *fmkit, *meeting, *more],
            stdout=answer,
            env={**os.environ, "XDG_DATA_HOME": str(folder / f"data-{rank}")},
        )


def both(hosts: list[str], folder: Path, *second: str) -> list[dict[str, Any]]:
    """What both hosts answer; `second` are more arguments of the second one."""
    running = [start(host, rank, folder, *(second if rank else ())) for rank, host in enumerate(hosts)]
    try:
        for process in running:
            process.wait(240)
    finally:
        for process in running:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(len(hosts))]


def sent_bytes(host: str) -> int:
    """What went over the cable from that host."""
    told = subprocess.run(
        [str(shutil.which("ip")), "-n", host, "-s", "-j", "link", "show", "cable0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(json.loads(told.stdout)[0]["stats64"]["tx"]["bytes"])


def test_two_hosts_answer_as_one(hosts: list[str], tmp_path: Path) -> None:
    alone = try_model(repeat=1, keep=False)
    answers = both(hosts, tmp_path)
    for answer in answers:
        assert answer["output"] == alone.output
        assert [rank["rank"] for rank in answer["ranks"]] == [0, 1]
        for rank in answer["ranks"]:
            for part in ("weights", "cache", "allocated_peak_bytes"):
                assert rank["measured"][part] == rank["predicted"][part], part
    assert sent_bytes(hosts[0]) > 1_000_000
    assert (tmp_path / "data-0" / "fmkit" / "trials.sqlite3").exists()
    assert not (tmp_path / "data-1" / "fmkit" / "trials.sqlite3").exists()


def test_hosts_started_for_different_trials_are_told(hosts: list[str], tmp_path: Path) -> None:
    answers = both(hosts, tmp_path, "--context", "256")
    for answer in answers:
        assert answer["exit"] == 2
        assert "started for different trials: context_tokens" in answer["message"]
