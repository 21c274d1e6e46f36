"""Smoke checks: does the model behave like one that was loaded rightly? Each judges the evidence of a trial.

A check that does not apply is said not to (`passed` None, with the reason): random weights mean nothing, an encoder generates
nothing. To add one: a function here and its name in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fmkit.errors import UsageError
from fmkit.results.trial import Check
from fmkit.trial.evidence import Evidence

LOOP_TOKENS = 32
LOOP_SHARE = 0.6
LEAST_TOKENS = 16
SYMMETRY_TOLERANCE = 1e-3
CHANCE_SHARE = 0.75
PARAPHRASE_MARGIN = 0.05
TOOL_MARKS = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "get_weather")
"""What a call looks like where nobody parsed it."""


class ToolArguments(msgspec.Struct, forbid_unknown_fields=True):
    """What the tool that is offered takes."""

    city: str


def finite_logits(seen: Evidence) -> Check:
    """No NaN or infinity in the output: a sign of a broken file, or of float16 overflowing."""
    name = "finite-logits"
    if seen.finite_share is None:
        return _not_applicable(name, "there were no two runs to compare, or no logits")
    return _judged(name, seen.finite_share == 1.0, seen.finite_share, 1.0, "share of finite values in the output")


def deterministic(seen: Evidence) -> Check:
    """The same input gives the same output at temperature 0."""
    name = "deterministic"
    if seen.differing_share is not None:
        detail = "share of the output after the first difference between two answers"
        return _judged(name, seen.differing_share == 0, seen.differing_share, 0.0, detail)
    if seen.repeat_difference is None:
        return _not_applicable(name, "there were no two runs to compare, or no logits")
    return _judged(
        name, seen.repeat_difference == 0, seen.repeat_difference, 0.0, "largest difference between two runs"
    )


def no_repetition_loop(seen: Evidence) -> Check:
    """The text does not go round in circles: the largest share that one short cycle of tokens has of the output's end."""
    name = "no-repetition-loop"
    reason = _needs_text(seen)
    if reason is not None or seen.tokens is None:
        return _not_applicable(name, reason or "nothing was generated")
    if len(seen.tokens) < LEAST_TOKENS:
        return _not_applicable(name, f"only {len(seen.tokens)} tokens were generated")
    share = loop_share(seen.tokens)
    if not seen.instruction_tuned and seen.task == "text generation":
        # greedy decoding sends base models round in circles (Holtzman et al. 2020, arXiv:1904.09751)
        reason = "a base model that always takes the likeliest token often loops"
        return Check(name=name, passed=None, value=share, threshold=None, detail=f"does not apply: {reason}")
    return _judged(name, share < LOOP_SHARE, share, LOOP_SHARE, "share of the output that repeats one short cycle")


def loop_share(tokens: Sequence[int]) -> float:
    """The share of `tokens` that belongs to a cycle of at most 32 tokens running to the end, at least two rounds long.

    >>> loop_share([1, 2, 3, 7, 8, 7, 8, 7, 8]), loop_share([1, 2, 3, 4])
    (0.6666666666666666, 0.0)
    """
    best = 0
    for period in range(1, LOOP_TOKENS + 1):
        run = 0
        while run + period < len(tokens) and tokens[-1 - run] == tokens[-1 - run - period]:
            run += 1
        if run >= period:
            best = max(best, run + period)
    return best / len(tokens) if tokens else 0.0


def stop_token(seen: Evidence) -> Check:
    """The model ends by itself; a base model need not, and a short limit may come first."""
    name = "stop-token"
    reason = _needs_text(seen)
    if reason is not None or seen.stopped is None or seen.tokens is None:
        return _not_applicable(name, reason or "nothing was generated")
    count = float(len(seen.tokens))
    if not seen.stopped and not seen.instruction_tuned and seen.task == "text generation":
        return Check(
            name=name,
            passed=None,
            value=count,
            threshold=None,
            detail="does not apply: a base model continues text and need not stop within the tokens asked for",
        )
    detail = f"{'stopped by itself' if seen.stopped else 'ran into the limit'} after {len(seen.tokens)} tokens"
    return Check(name=name, passed=seen.stopped, value=count, threshold=None, detail=detail)


def held_out_text(seen: Evidence) -> Check:
    """The model predicts unseen text far better than chance: at most three quarters of the bits of guessing evenly."""
    name = "held-out-text"
    reason = _needs_text(seen)
    if reason is not None or seen.bits_per_byte is None or seen.uniform_bits_per_byte is None:
        return _not_applicable(name, reason or "the model does not continue text")
    limit = CHANCE_SHARE * seen.uniform_bits_per_byte
    detail = f"bits per byte of unseen text; guessing evenly needs {seen.uniform_bits_per_byte:.2f}"
    return _judged(name, seen.bits_per_byte < limit, seen.bits_per_byte, limit, detail)


def embedding_symmetry(seen: Evidence) -> Check:
    """The similarity of two texts does not depend on their order."""
    name = "embedding-symmetry"
    if seen.symmetry_difference is None:
        return _not_applicable(name, "the model gives no text embeddings here")
    passed = seen.symmetry_difference <= SYMMETRY_TOLERANCE
    detail = "difference between similarity(a, b) and similarity(b, a)"
    return _judged(name, passed, seen.symmetry_difference, SYMMETRY_TOLERANCE, detail)


def paraphrase_closer(seen: Evidence) -> Check:
    """A paraphrase is closer than an unrelated sentence."""
    name = "paraphrase-closer"
    if seen.random_weights:
        return _not_applicable(name, "random weights mean nothing")
    if seen.paraphrase_similarity is None or seen.unrelated_similarity is None:
        return _not_applicable(name, "the model gives no text embeddings here")
    margin = seen.paraphrase_similarity - seen.unrelated_similarity
    detail = f"paraphrase {seen.paraphrase_similarity:.2f}, unrelated {seen.unrelated_similarity:.2f}"
    return _judged(name, margin > PARAPHRASE_MARGIN, margin, PARAPHRASE_MARGIN, detail)


def chat_template(seen: Evidence) -> Check:
    """An instruction-tuned model brings the template that its turns are written in."""
    name = "chat-template"
    reason = _needs_text(seen)
    if reason is not None or seen.has_chat_template is None:
        return _not_applicable(name, reason or "the model takes no chat")
    if not seen.has_chat_template and not seen.instruction_tuned:
        return _not_applicable(name, "not known to be tuned for chat, and has no template")
    detail = "the tokenizer has a chat template" if seen.has_chat_template else "the tokenizer has no chat template"
    return Check(name=name, passed=seen.has_chat_template, value=None, threshold=None, detail=detail)


def valid_json(seen: Evidence) -> Check:
    """Asked for a JSON object and told to give nothing else, the model gives one."""
    name = "valid-json"
    if seen.json_text is None:
        return _not_applicable(name, "the trial did not ask for JSON")
    text = seen.json_text.strip()
    try:
        passed = isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, RecursionError):
        passed = False
    detail = "one JSON object, and nothing else" if passed else f"no JSON object, or not alone: {text[:60]!r}"
    return Check(name=name, passed=passed, value=None, threshold=None, detail=detail)


def tool_call(seen: Evidence) -> Check:
    """A call of a tool arrives as one, with arguments that fit the tool; the model need not call it."""
    name = "tool-call"
    if seen.tool_arguments is None:
        if seen.tool_text is not None and any(mark in seen.tool_text for mark in TOOL_MARKS):
            detail = "the model's call came as text: the server does not parse its format"
            return Check(name=name, passed=False, value=None, threshold=None, detail=detail)
        reason = "the trial offered no tool" if seen.tool_text is None else "the model answered in words"
        return _not_applicable(name, reason)
    try:
        msgspec.json.decode(seen.tool_arguments, type=ToolArguments)
    except (msgspec.MsgspecError, RecursionError) as error:
        detail = f"the arguments do not fit the tool: {str(error)[:100]}"
        return Check(name=name, passed=False, value=None, threshold=None, detail=detail)
    return Check(
        name=name, passed=True, value=None, threshold=None, detail="the call was parsed, and its arguments fit the tool"
    )


CHECKS: dict[str, Callable[[Evidence], Check]] = {
    "finite-logits": finite_logits,
    "deterministic": deterministic,
    "no-repetition-loop": no_repetition_loop,
    "stop-token": stop_token,
    "held-out-text": held_out_text,
    "embedding-symmetry": embedding_symmetry,
    "paraphrase-closer": paraphrase_closer,
    "chat-template": chat_template,
    "valid-json": valid_json,
    "tool-call": tool_call,
}
"""Every check by the name that `--checks` takes."""


def check_names(asked: Sequence[str] | None) -> tuple[str, ...]:
    """The checks to run: all by default, none for `none`; UsageError for an unknown name."""
    if asked is None or list(asked) == ["all"]:
        return tuple(CHECKS)
    if list(asked) == ["none"]:
        return ()
    for name in asked:
        if name not in CHECKS:
            raise UsageError.unknown("check", name, [*CHECKS, "all", "none"], where="--checks")
    return tuple(dict.fromkeys(asked))


def run_checks(names: Sequence[str], seen: Evidence) -> tuple[Check, ...]:
    """Judge the evidence by the checks named."""
    return tuple(
        _not_applicable(name, seen.unseen[name]) if name in seen.unseen else CHECKS[name](seen) for name in names
    )


def _needs_text(seen: Evidence) -> str | None:
    """Why a check about generated text does not apply, or None if it does."""
    if seen.random_weights:
        return "random weights mean nothing"
    return None


def _judged(name: str, passed: bool, value: float, threshold: float, detail: str) -> Check:
    return Check(name=name, passed=passed, value=value, threshold=threshold, detail=detail)


def _not_applicable(name: str, reason: str) -> Check:
    return Check(name=name, passed=None, value=None, threshold=None, detail=f"does not apply: {reason}")
