"""WAV files of every rate, width and number of channels give the same sound."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from fmkit.errors import UnsafeInputError
from fmkit.trial.sound import read_wav

TONE_HZ = 440


def tone(rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(round(rate_hz * seconds)) / rate_hz)


def write(path: Path, samples: np.ndarray, rate_hz: int, width: int = 2, channels: int = 1) -> Path:
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64) + (128 if width == 1 else 0)
    one = b"".join(int(number).to_bytes(width, "little", signed=width > 1) * channels for number in whole)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate_hz)
        sound.writeframes(one)
    return path


@pytest.mark.parametrize(("width", "close"), [(1, 0.01), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_every_width(tmp_path: Path, width: int, close: float) -> None:
    found = read_wav(write(tmp_path / "a.wav", tone(16_000), 16_000, width), 16_000)
    assert found.dtype == np.float32
    assert np.abs(found - tone(16_000)).max() < close


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_every_rate_is_the_same_tone(tmp_path: Path, rate_hz: int) -> None:
    found = read_wav(write(tmp_path / "a.wav", tone(rate_hz), rate_hz), 16_000)
    assert len(found) == 8_000
    assert np.abs(found - tone(16_000))[200:-200].max() < 5e-3


def test_what_is_above_half_the_rate_goes(tmp_path: Path) -> None:
    high = 0.5 * np.sin(2 * np.pi * 12_000 * np.arange(22_050) / 44_100)
    assert (
        np.abs(read_wav(write(tmp_path / "a.wav", high, 44_100), 16_000)).max() < 0.02
    )  # else it were a tone of 4 kHz


def test_channels_are_averaged(tmp_path: Path) -> None:
    found = read_wav(write(tmp_path / "a.wav", tone(16_000), 16_000, channels=2), 16_000)
    assert np.abs(found - tone(16_000)).max() < 1e-4


def test_what_is_no_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(UnsafeInputError, match="no WAV file"):
        read_wav(tmp_path / "text.wav", 16_000)
    with pytest.raises(UnsafeInputError, match="holds no sound"):
        read_wav(write(tmp_path / "empty.wav", np.zeros(0), 16_000), 16_000)
    from fmkit.trial import sound  # noqa: PLC0415

    monkeypatch.setattr(sound, "LONGEST_S", 0)
    with pytest.raises(UnsafeInputError, match="longer than an hour"):
        read_wav(write(tmp_path / "long.wav", tone(16_000), 16_000), 16_000)
