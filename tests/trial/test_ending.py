"""How a trial ends from outside: a signal or kill -9 to fmkit itself. Real processes; Linux tells who is whose child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmkit.trial.store import TrialStore
from fmkit.trial.workplace import MARK, PREFIX, remove_leftovers, told, workplace
from tests.killing import all_end, children, kill, moments, read_until, started
from tests.trial.tiny import CONFIGS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with nothing but a config.json."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS["llama"][1]))
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, by this process and those it starts."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def trying(model: Path) -> subprocess.Popen[str]:
    """A trial that runs for some seconds."""
    options = ("--random-weights", "--checks", "none", "--repeat", "2")
    return started(["-m", "fmkit", "try", str(model), *options])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing_behind(name: str, model: Path, temporary: Path) -> None:
    process = trying(model)
    read_until(process, "importing the engine's libraries")
    (child,) = children(process)
    assert list(temporary.iterdir())
    process.send_signal(getattr(signal, name))
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert all_end([child], within_s=1.0)
    assert list(temporary.iterdir()) == []
    assert TrialStore().all() == []


def test_a_signal_that_is_ignored_stays_ignored(model: Path, temporary: Path) -> None:
    code = f"import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); sys.argv = ['fmkit', 'try', {str(model)!r}, '--random-weights']; import fmkit.cli.main as m; m.main()"
    process = started(["-c", code])
    read_until(process, "importing the engine's libraries")
    process.send_signal(signal.SIGHUP)  # as nohup has it
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert list(temporary.iterdir()) == []


def one_kill(model: Path, temporary: Path, after_s: float) -> None:
    """Kill a trial so long after it made its folder: its process dies too, and the next run tells of it and removes the folder."""
    process = trying(model)
    lines = read_until(process, "importing the engine's libraries")
    assert not [line for line in lines if "did not end" in line]
    pids = children(process)
    time.sleep(after_s)
    if process.poll() is not None:
        return  # it was done before
    (folder,) = temporary.glob(f"{PREFIX}*")
    kill(process)
    assert all_end(pids), "the child outlived its parent"
    assert (folder / MARK).exists()
    (sentence,) = told(remove_leftovers())
    assert f"the last trial of {model}, started 20" in sentence
    assert "did not end (it was " in sentence
    assert list(temporary.iterdir()) == []
    assert len(TrialStore().all()) <= 1  # whole, or not there


@pytest.mark.parametrize("after_s", moments(2, 0.0, 4.0))
def test_kill_9_in_a_trial(after_s: float, model: Path, temporary: Path) -> None:
    one_kill(model, temporary, after_s)


@pytest.mark.full
@pytest.mark.parametrize("after_s", moments(12, 0.0, 8.0, seed=7))
def test_kill_9_in_a_trial_at_many_moments(after_s: float, model: Path, temporary: Path) -> None:
    one_kill(model, temporary, after_s)
    again = trying(model)
    _, error = again.communicate(timeout=120)
    assert again.returncode == 0, error
    assert list(temporary.iterdir()) == []


def test_a_folder_in_use_is_left_alone(temporary: Path) -> None:
    with workplace("gpt2") as place:
        place.enter("loading the model")
        assert remove_leftovers() == []
        assert place.path.exists()
    assert list(temporary.iterdir()) == []


def test_a_folder_without_a_mark_is_left_for_an_hour(temporary: Path) -> None:
    folder = temporary / f"{PREFIX}x"
    folder.mkdir()
    (folder / "weights").write_bytes(bytes(5000))
    assert remove_leftovers() == []
    os.utime(folder, (time.time() - 4000, time.time() - 4000))
    assert told(remove_leftovers()) == ["an earlier trial did not end: its temporary folder of 4.9 KiB was removed"]
    assert not folder.exists()


def test_a_mark_cut_short_and_a_link_elsewhere(temporary: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    folder = temporary / f"{PREFIX}y"
    folder.mkdir()
    (folder / MARK).write_bytes(b'{"model": "gp')
    (folder / "link").symlink_to(elsewhere)
    (left,) = remove_leftovers()
    assert left.running is None
    assert not folder.exists()
    assert (elsewhere / "file").read_text() == "mine"


@pytest.mark.parametrize("written", [b"", b'{"line":1}\n'])
def test_answers_that_were_written_are_not_said_to_be_lost(temporary: Path, tmp_path: Path, written: bytes) -> None:
    """A process that is killed while it answers many inputs."""
    output = tmp_path / "answers.jsonl"
    code = (
        "import os, sys\nfrom fmkit.trial.workplace import workplace\n"
        f"with workplace('gpt2', {str(output)!r}):\n open({str(output)!r}, 'wb').write({written!r})\n os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (sentence,) = told(remove_leftovers())
    assert ("nothing of it was kept" in sentence) is (not written)
    assert (f"its answers so far are in {output}" in sentence) is bool(written)
    assert list(temporary.iterdir()) == []
