"""`fmkit trials` and `--plot` as they are typed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fmkit.results.trial_setting import TrialMachine
from fmkit.trial.store import TrialStore
from tests.cli.running import here
from tests.report.plots.test_plots import trial


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMKIT_DATA_DIR", str(tmp_path / "data"))
    for context in (128, 256):
        TrialStore().add(
            msgspec.structs.replace(trial(context), machine=TrialMachine(name="CPU", device="CPU, 2 threads"))
        )


def test_a_picture_of_kept_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "kept.svg"
    answer = here(capsys, "trials", "list", "--model", "gpt2", "--plot", str(place), "--json")
    assert answer.code == 0
    assert len(answer.json()["trials"]) == 2
    assert f"picture: {place}" in answer.err
    assert place.read_text().count("<circle") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trials", "list", "--plot", "x.svg"), "name it with --model"),
        (("trials", "list", "--model", "gpt2", "--plot", "x.gif"), "what kind of picture"),
        (("trials", "export", "--latency"), "goes with --csv"),
        (("vram", "gpt2", "--plot", "absent/x.svg"), "is not there"),
        (("try", "gpt2", "--plot", "x"), "what kind of picture"),
    ],
)
def test_refused(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_nothing_to_draw_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "trials", "list", "--model", "nobody/tried", "--plot", str(tmp_path / "x.svg"))
    assert answer.code == 0
    assert "no picture was written" in answer.err
    assert not (tmp_path / "x.svg").exists()


def test_export_as_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    memory, latency = (here(capsys, "trials", "export", "--csv", *more, "-q").out for more in ((), ("--latency",)))
    assert len(memory.splitlines()) == 1 + 2 * 2
    assert "peak_total_bytes" in memory.splitlines()[0]
    assert "decode_tok_s_per_seq" in latency.splitlines()[0]


def test_no_trials_reaches_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("vram", "recommend", "try"):
        assert "--no-trials" in here(capsys, command, "--help").out
