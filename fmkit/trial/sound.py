"""Recordings: WAV files of any rate and number of channels as the samples that a model takes. Needs numpy, which torch brings."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

from fmkit.errors import UnsafeInputError

WANTED = "a WAV file of whole numbers (8, 16, 24 or 32 bit PCM)"
LONGEST_S = 3600


def read_wav(path: Path, rate_hz: int) -> Any:  # noqa: ANN401  a numpy array
    """Samples in [-1, 1] at `rate_hz`, channels averaged; UnsafeInputError for what is no PCM file or longer than an hour."""
    try:
        with wave.open(str(path), "rb") as sound:
            channels, width, from_hz = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            if width not in (1, 2, 3, 4) or from_hz < 1 or channels < 1:
                raise UnsafeInputError(f"{path.name} has {8 * width} bit; {WANTED} is needed", where=str(path))
            if sound.getnframes() > LONGEST_S * from_hz:
                raise UnsafeInputError(f"{path.name} is longer than an hour", where=str(path))
            raw = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError) as error:
        raise UnsafeInputError(f"{path.name} is no WAV file ({error}); {WANTED} is needed", where=str(path)) from error
    samples = _numbers(raw[: len(raw) - len(raw) % (width * channels)], width)
    if not samples.size:
        raise UnsafeInputError(f"{path.name} holds no sound", where=str(path))
    return resampled(samples.reshape(-1, channels).mean(axis=1), from_hz, rate_hz)


def _numbers(raw: bytes, width: int) -> Any:  # noqa: ANN401
    """Little-endian whole numbers of `width` bytes as floats in [-1, 1); those of one byte have no sign."""
    import numpy as np  # noqa: PLC0415

    if width == 1:
        return np.frombuffer(raw, dtype=np.uint8).astype(np.float32) / 128 - 1
    if width == 3:
        wide = np.zeros((len(raw) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3)
        raw, width = wide.tobytes(), 4
    whole = np.frombuffer(raw, dtype=f"<i{width}")
    return whole.astype(np.float32) / 2.0 ** (8 * width - 1)


def resampled(samples: Any, from_hz: int, to_hz: int) -> Any:  # noqa: ANN401
    """The same sound at another rate: its spectrum cut off, or filled with zeros, at half of the lower rate."""
    import numpy as np  # noqa: PLC0415

    if from_hz == to_hz:
        return samples.astype(np.float32)
    count = max(1, round(len(samples) * to_hz / from_hz))
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, dtype=spectrum.dtype)
    common = min(len(kept), len(spectrum))
    kept[:common] = spectrum[:common]
    return (np.fft.irfft(kept, count) * (count / len(samples))).astype(np.float32)
