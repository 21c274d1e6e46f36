"""Transcription: a spoken sentence becomes text."""

from __future__ import annotations

from typing import Any

import msgspec

from fmkit.trial.checks.word_errors import word_errors
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply, packaged_text
from fmkit.trial.loaded import Loaded
from fmkit.trial.sound import read_wav
from fmkit.trial.tasks.text import generate

RATE_HZ = 16_000
START_TOKENS = 8
"""Room for the tokens that a decoder starts from: language, task, whether it gives times."""


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

    def answer(self, loaded: Loaded, seen: Evidence, item: Item) -> Reply:
        """The transcript of the recording, window by window; held against the reference where there is one."""
        path = item.file_or(item.audio, "speech.wav")
        extractor = getattr(loaded.processor, "feature_extractor", loaded.processor)
        rate_hz = int(getattr(extractor, "sampling_rate", RATE_HZ))
        samples = read_wav(path, rate_hz)
        window = int(getattr(extractor, "n_samples", 0)) or len(samples)
        limit = int(getattr(loaded.config, "max_target_positions", 0) or loaded.request.output_tokens + START_TOKENS)
        most = min(loaded.request.output_tokens, limit - START_TOKENS)
        pieces = [samples[start : start + window] for start in range(0, max(1, len(samples)), window)]
        replies = [self._piece(loaded, seen, piece, rate_hz, most) for piece in pieces]
        text = " ".join(reply.text for reply in replies if reply.text)
        reference = item.reference if item.audio is not None else item.reference or packaged_text("speech.txt")
        if reference is not None:
            seen.word_errors = word_errors(reference, text)
        cut = len(pieces) > 1
        return Reply(
            text=text,
            asked=f"{path.name}, {len(samples) / rate_hz:.1f} s",
            data={"audio_s": len(samples) / rate_hz, **(
                {"word_errors": msgspec.to_builtins(seen.word_errors)} if reference is not None else {}
            )},
            output_tokens=sum(reply.output_tokens or 0 for reply in replies),
            notes=(f"read in {len(pieces)} windows: a word at a cut may be lost",) if cut else (),
        )  # fmt: skip

    def _piece(self, loaded: Loaded, seen: Evidence, samples: Any, rate_hz: int, most: int) -> Reply:  # noqa: ANN401
        given = loaded.processor(samples, sampling_rate=rate_hz, return_tensors="pt")
        return generate(loaded, seen, 0, "", max_new_tokens=most, **loaded.to_device(given))
