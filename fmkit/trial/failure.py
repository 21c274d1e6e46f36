"""What an exception inside a trial means for the user. No torch here: the parent reads it too."""

from __future__ import annotations

from typing import Literal

from fmkit.errors import FmkitError, MissingExtraError, UnsafeInputError, UsageError
from fmkit.trial import process_memory
from fmkit.trial.out_of_memory import held_bytes, is_out_of_memory, wanted_bytes
from fmkit.trial.request import Phase, TrialFailure

LIBRARIES = {
    **dict.fromkeys(("torch", "transformers", "accelerate", "safetensors", "numpy"), "try"),
    "xllamacpp": "llama-cpp",
}
"""The extra that installs each library: one of these missing is no bug."""

OTHER_SHAPES = ("ignore_mismatched_sizes", "size mismatch")
"""In the message of a load whose tensors don't have the shapes that config.json gives."""


def failure_of(error: Exception, phase: Phase) -> TrialFailure:
    """What an exception means for the user."""
    if isinstance(error, FmkitError):
        return TrialFailure(kind=_kind(error), phase=phase, message=error.message, next_command=error.next_command)
    extra = LIBRARIES.get((error.name or "").split(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    if extra is not None and isinstance(error, ModuleNotFoundError):
        missing = MissingExtraError.for_extra(extra, "fmkit try", str(error.name))
        return TrialFailure(
            kind="missing-extra", phase=phase, message=missing.message, next_command=missing.next_command
        )
    name = type(error).__name__
    text = " ".join(str(error).split())[:400] or name
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or is_out_of_memory(text):
        # the frames that the error came through are still there, and with them what they held
        held = held_bytes(text) if "CUDA" in text or "HIP" in text else process_memory.resident_bytes()
        return TrialFailure(
            kind="out-of-memory", phase=phase, message=text, held_bytes=held, wanted_bytes=wanted_bytes(text)
        )
    if name == "SafetensorError":
        return TrialFailure(kind="unsafe-input", phase=phase, message=f"the weights can't be read: {text}")
    if phase == "load" and any(words in text for words in OTHER_SHAPES):
        message = "the weights have other shapes than config.json says"
        return TrialFailure(kind="unsafe-input", phase=phase, message=message)
    return TrialFailure(kind="failed", phase=phase, message=f"{name}: {text}")


def _kind(error: FmkitError) -> Literal["failed", "unsafe-input", "usage", "missing-extra"]:
    if isinstance(error, UnsafeInputError):
        return "unsafe-input"
    if isinstance(error, MissingExtraError):
        return "missing-extra"
    return "usage" if isinstance(error, UsageError) else "failed"
