"""Transcription: a spoken sentence becomes text."""

from __future__ import annotations

import sys
import wave
from array import array
from pathlib import Path
from typing import Any

from fmkit.errors import UnsafeInputError
from fmkit.trial.evidence import Evidence
from fmkit.trial.loaded import Loaded
from fmkit.trial.tasks.text import generate

RATE_HZ = 16_000


class Transcription:
    """A spectrogram goes in, its transcript comes out; the encoder always reads a full window (30 s for Whisper)."""

    name = "transcription"
    decodes = True
    prompt_is_context = False

    def inputs(self, loaded: Loaded, tokens: int) -> dict[str, Any]:
        """A full window of sound and `tokens` decoder tokens."""
        config = loaded.config
        frames = 2 * config.max_source_positions  # the encoder's convolutions halve the frames
        features = loaded.noise(loaded.request.sequences, config.num_mel_bins, frames)
        return {"input_features": features, "decoder_input_ids": loaded.token_ids(tokens)}

    def answer(self, loaded: Loaded, seen: Evidence) -> str:
        """The transcript of the recording."""
        samples = read_wav(loaded.file("speech.wav", (".wav",)))
        given = loaded.processor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        return generate(loaded, seen, 0, **loaded.to_device(given))


def read_wav(path: Path) -> Any:  # noqa: ANN401  a numpy array
    """Samples in [-1, 1] of a mono, 16-bit, 16 kHz WAV file; UnsafeInputError for any other."""
    import numpy as np  # noqa: PLC0415

    wanted = "a mono 16-bit WAV file at 16 kHz"
    try:
        with wave.open(str(path), "rb") as sound:
            shape = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            if shape != (1, 2, RATE_HZ):
                found = f"{shape[0]} channels, {8 * shape[1]} bit, {shape[2]} Hz"
                raise UnsafeInputError(f"{path.name} has {found}; {wanted} is needed", where=str(path))
            samples = array("h", sound.readframes(sound.getnframes()))
    except (wave.Error, EOFError) as error:
        raise UnsafeInputError(f"{path.name} is no WAV file ({error}); {wanted} is needed", where=str(path)) from error
    if sys.byteorder == "big":
        samples.byteswap()
    return np.asarray(samples, dtype=np.float32) / 32768.0
