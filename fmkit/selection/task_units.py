"""The figures a task is judged by in its own unit: dimensions of an embedding, words misheard, texts per second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.selection.evidence import effective_context
from fmkit.selection.sized import first_token_s
from fmkit.speed.speech import real_time_factor

if TYPE_CHECKING:
    from fmkit.selection.standing import Standing

Figure = float | int | str


def task_units(standing: Standing, units: tuple[str, ...]) -> dict[str, Figure]:
    """Those of the task's `units` that are known of the model, in the task's order; unknown ones are left out."""
    known: dict[str, Figure | None] = {
        "embedding_dim": standing.candidate.embedding_dim,
        "max_input_tokens": standing.candidate.context_tokens,
        "max_context_tokens": standing.candidate.context_tokens,
        "wer_percent": _error_rate(standing),
        "texts_per_s": _inputs_per_s(standing),
        "pairs_per_s": _inputs_per_s(standing),
        "images_per_s": _images_per_s(standing),
        "real_time_factor": _real_time_factor(standing),
        "effective_context_tokens": effective_context_tokens(standing),
    }
    return {unit: figure for unit in units if (figure := known.get(unit)) is not None}


def effective_context_tokens(standing: Standing) -> int | None:
    """The longest context at which RULER found the model still good, where somebody measured it."""
    found = effective_context(standing.candidate.scores)
    return None if found is None else round(found.score)


def _error_rate(standing: Standing) -> float | None:
    """The word error rate among the scores used: the average over data sets where there is one."""
    rates = [score for score in standing.quality.used if "wer" in score.unit.lower()]
    averages = [score for score in rates if score.benchmark.endswith("-avg")]
    return (averages or rates)[0].score if rates else None


def _inputs_per_s(standing: Standing) -> float | None:
    """Inputs of the task's length read per second: sequences / time to read them. Only where nothing is written."""
    sized = standing.sized
    if sized is None or sized.speed is None or sized.speed.decode_tokens_per_s is not None or not standing.request_s:
        return None
    return _three_digits(sized.memory.sequences / standing.request_s)


def _images_per_s(standing: Standing) -> float | None:
    """Images embedded per second: what the image tower takes in, the text tower left out (labels are embedded once)."""
    sized = standing.sized
    if sized is None or sized.speed is None or sized.speed.images_per_s is None:
        return None
    return _three_digits(sized.speed.images_per_s.median)


def _real_time_factor(standing: Standing) -> float | None:
    """Seconds of work per second of sound: (the encoder's pass + decoding what is said in one window) / `SPEECH_WINDOW_S`."""
    sized = standing.sized
    if standing.candidate.spec_kind != "speech" or sized is None or sized.speed is None:
        return None
    heard_s, rate = first_token_s(sized, standing.load), sized.speed.decode_tokens_per_s
    if heard_s is None or rate is None:
        return None
    return _three_digits(real_time_factor(heard_s, rate.median))


def _three_digits(figure: float) -> float:
    return float(f"{figure:.3g}")
