"""Kill -9 and interrupts in the middle of a download, and of a write to the cache of what the Hub answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmkit.hub.unfinished import remove_unfinished
from tests.killing import all_end, children, kill, moments, started
from tests.stand_in.content import Repository, folder
from tests.stand_in.samples import EMBEDDED
from tests.stand_in.server import Fault, StandIn, stand_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

DOWNLOAD = """
from fmkit.hub.download import fetch, plan_download
plan = plan_download("acme/real", None)
print("planned", plan.missing_bytes, flush=True)
print(fetch(plan, say=lambda line: print(line, flush=True)), flush=True)
"""
FILE = "model.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: None) -> Iterator[StandIn]:
    """A Hub with the embedded model, whose weights come a byte at a time; its cache is empty."""
    del network
    files = folder(EMBEDDED / "model")
    with stand_in([Repository("acme/real", files)]) as state:
        state.faults.append(Fault(rf"{FILE}", "trickle", only_on="cdn"))
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        yield state


def downloading(tmp_path: Path) -> subprocess.Popen[str]:
    """A download that has begun with the weights."""
    process = started(["-c", DOWNLOAD])
    until = time.monotonic() + 30
    while not came_bytes(tmp_path):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    return process


def parts(tmp_path: Path) -> list[Path]:
    """Files of a download that are not whole; folders may come and go meanwhile, which rglob does not bear."""
    walked = os.walk(tmp_path / "cache")
    return [Path(parent) / name for parent, _, names in walked for name in names if name.endswith(".incomplete")]


def came_bytes(tmp_path: Path) -> int:
    """What came of the weights, whose digest is the only one of 64 digits."""
    found = [part.stat().st_size for part in parts(tmp_path) if len(part.name.partition(".")[0]) == 64]
    return found[0] if found else 0


def check_it_goes_on(hub: StandIn, tmp_path: Path) -> None:
    """The next download is whole, and fetches nothing that had come before: no whole file, no byte of a part."""
    hub.faults.clear()
    hub.seen.clear()
    whole = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}
    came = came_bytes(tmp_path)
    process = started(["-c", DOWNLOAD])
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    place = Path(out.splitlines()[-1])
    assert (place / FILE).read_bytes() == (EMBEDDED / "model" / FILE).read_bytes()
    assert parts(tmp_path) == []
    fetched = {seen.path.rpartition("/")[2].partition("?")[0] for seen in hub.seen if seen.path.startswith("/acme/")}
    assert not whole & fetched
    asked = [seen.range for seen in hub.seen if seen.origin == "cdn"]
    assert asked == ([] if FILE in whole else [f"bytes={came}-" if came else None])


def test_kill_9_in_a_download(hub: StandIn, tmp_path: Path) -> None:
    process = downloading(tmp_path)
    pids = children(process)
    assert remove_unfinished("acme/real") is None  # somebody is at it
    time.sleep(moments(1, 0.0, 0.5)[0])
    kill(process)
    assert all_end(pids)
    assert came_bytes(tmp_path) > 0
    check_it_goes_on(hub, tmp_path)


@pytest.mark.usefixtures("hub")
def test_what_nobody_goes_on_with_is_removed(tmp_path: Path) -> None:
    kill(downloading(tmp_path))
    until = time.monotonic() + 5
    while (left := remove_unfinished("acme/real")) is None and time.monotonic() < until:
        time.sleep(0.02)  # threads of the killed process still hold its locks for a moment
    assert left is not None
    assert "an earlier download of acme/real did not end" in left.told()
    assert parts(tmp_path) == []


def test_an_interrupt_ends_a_download_at_once_and_keeps_what_came(hub: StandIn, tmp_path: Path) -> None:
    process = downloading(tmp_path)
    pids = children(process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)  # the trickle would take an hour
    assert all_end(pids)
    check_it_goes_on(hub, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("after_s", moments(10, 0.0, 3.0, seed=5))
def test_kill_9_in_a_download_at_many_moments(after_s: float, hub: StandIn, tmp_path: Path) -> None:
    assert hub.faults
    process = started(["-c", DOWNLOAD])
    time.sleep(after_s)
    kill(process)
    time.sleep(0.2)
    check_it_goes_on(hub, tmp_path)


@pytest.mark.usefixtures("hub")
def test_how_far_a_download_is() -> None:
    code = "import fmkit.hub.download as d; d.FIRST_RATE_S = d.NEXT_RATE_S = 1.0\n" + DOWNLOAD
    process = started(["-c", code])
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    kill(process)
    assert lines[1].startswith("downloaded ")
    assert "MiB" in lines[1] or "KiB" in lines[1]
