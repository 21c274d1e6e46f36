"""Which engine wrote a log, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import UnsafeInputError
from fmkit.sizing.logs import llama_cpp, sglang, vllm
from fmkit.sizing.logs.log import lines_of, without_negative

if TYPE_CHECKING:
    from fmkit.sizing.logs.log import StartupLog

READERS = (vllm, sglang, llama_cpp)


def read_log(text: str, *, where: str = "the log") -> StartupLog:
    """What a start-up log says, by the engine that most of its lines look like.

    UnsafeInputError for a text that no reader recognises, or in which none finds a figure.
    """
    lines = lines_of(text)
    recognised = {reader: sum(bool(reader.SIGN.search(line)) for line in lines) for reader in READERS}
    best = max(READERS, key=lambda reader: recognised[reader])
    if not recognised[best]:
        raise UnsafeInputError(
            "no start-up log of vLLM, llama.cpp or SGLang: no line looks like one of theirs",
            where=where,
            next_command="fmkit vram --help",
        )
    found: StartupLog = without_negative(best.read(lines))
    if not found.figures and found.kv_tokens is None:
        raise UnsafeInputError(
            f"a log of {found.engine} without a line that says how much memory anything took; missing: "
            f"{'; '.join((*found.missing, *found.refused))}",
            where=where,
        )
    return found
