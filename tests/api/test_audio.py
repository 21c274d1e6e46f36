"""--audio-seconds: Whisper reads windows of 30 seconds, whatever the length."""

from __future__ import annotations

import pytest

import fmkit
from fmkit.errors import UsageError


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(12, "padded to the window of 30 s"), ("30s", "padded"), ("45.5", "2 windows"), ("2m", "4 windows of 30 s")],
)
def test_length_of_a_recording(seconds: str | float, said: str) -> None:
    result = fmkit.vram("whisper-small", memory="24GiB", audio_seconds=seconds, precision="fp16")
    assert any(said in text for text in result.warnings)
    assert (
        result.estimates[0].peak_bytes
        == fmkit.vram("whisper-small", memory="24GiB", precision="fp16").estimates[0].peak_bytes
    )


@pytest.mark.parametrize(
    ("model", "seconds", "message"),
    [
        ("llama-3.1-8b", 10, "reads no sound"),
        ("whisper-small", 0, "can't read duration"),
        ("whisper-small", -3, "can't read duration"),
        ("whisper-small", "long", "can't read"),
    ],
)
def test_what_makes_no_sense(model: str, seconds: str | float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fmkit.vram(model, memory="24GiB", audio_seconds=seconds)
