from __future__ import annotations

from typing import Any

import pytest

from fmkit.errors import UsageError
from fmkit.trial.checks import CHECKS, QUICK, check_names, run_checks
from fmkit.trial.checks.repetition import loop_share
from fmkit.trial.evidence import Agreement, Evidence, NeedlePoint, TextScore, WordErrors


def judge(name: str, **seen: Any) -> bool | None:
    evidence = Evidence(**{"task": "text generation", "random_weights": False, **seen})
    (check,) = run_checks((name,), evidence)
    assert check.name == name
    assert check.detail
    assert check.reason
    assert check.source
    return check.passed


def point(tokens: int, *, found: bool = True) -> NeedlePoint:
    return NeedlePoint(context_tokens=tokens, prompt_tokens=tokens, depth=0.5, retrieved=found, answer="")


def score(nats: float) -> TextScore:
    """100 tokens of 100 bytes each of which takes xz 3 bits: 208 nats."""
    return TextScore(
        nats=nats, tokens=100, text_bytes=100, compressed_bits_per_byte=3.0, uniform_bits_per_byte=4.0, window_tokens=8, stride_tokens=4, text="x",
    )  # fmt: skip


def agreement(kl: float, top1: float) -> Agreement:
    return Agreement(mean_kl_nats=kl, kl_sd_nats=0.0, top1_share=top1, tokens=8, text="x", against="y")


def errors(count: int) -> WordErrors:
    return WordErrors(substitutions=count, deletions=0, insertions=0, words=10)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("finite-logits", {"finite_share": 1.0}, {"finite_share": 0.99}),
        ("deterministic", {"repeat_difference": 0.0}, {"repeat_difference": 1e-3}),
        (
            "no-repetition-loop",
            {"instruction_tuned": True, "tokens": list(range(40))},
            {"instruction_tuned": True, "tokens": [1, 2] * 20},
        ),
        (
            "stop-token",
            {"tokens": [5, 2], "stopped": True},
            {"tokens": [5] * 48, "stopped": False, "instruction_tuned": True},
        ),
        (
            "held-out-text",
            {"bits_per_byte": 1.8, "uniform_bits_per_byte": 8.0},
            {"bits_per_byte": 7.9, "uniform_bits_per_byte": 8.0},
        ),
        ("embedding-symmetry", {"symmetry_difference": 1e-6}, {"symmetry_difference": 0.1}),
        (
            "paraphrase-closer",
            {"paraphrase_similarity": 0.8, "unrelated_similarity": 0.1},
            {"paraphrase_similarity": 0.2, "unrelated_similarity": 0.3},
        ),
        ("chat-template", {"has_chat_template": True}, {"has_chat_template": False, "instruction_tuned": True}),
        ("valid-json", {"json_text": ' {"a": 1}'}, {"json_text": '```json {"a": 1}```'}),
        (
            "tool-call",
            {"tool_text": "", "tool_arguments": '{"city": "Paris"}'},
            {"tool_text": "", "tool_arguments": '{"city": 1}'},
        ),
        ("needle", {"needle": (point(512),)}, {"needle": (point(512, found=False),)}),
        (
            "needle",
            {"needle": (point(512),), "needle_asked_tokens": 512},
            {"needle": (point(512),), "needle_asked_tokens": 1024},
        ),
        ("perplexity", {"text_score": score(nats=100.0)}, {"text_score": score(nats=300.0)}),
        ("quantised-kl", {"agreement": agreement(0.05, 0.9)}, {"agreement": agreement(0.2, 0.9)}),
        ("quantised-top1", {"agreement": agreement(0.05, 0.9)}, {"agreement": agreement(0.05, 0.7)}),
        ("word-error-rate", {"word_errors": errors(2)}, {"word_errors": errors(3)}),
    ],
)
def test_each_check_passes_fails_and_may_not_apply(name: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    assert judge(name, **good) is True
    assert judge(name, **bad) is False
    assert judge(name) is None


@pytest.mark.parametrize(
    "name", ["no-repetition-loop", "stop-token", "held-out-text", "paraphrase-closer", "chat-template"]
)
def test_meaning_is_not_asked_of_random_weights(name: str) -> None:
    everything = {
        "tokens": [1] * 40,
        "stopped": True,
        "bits_per_byte": 9.0,
        "uniform_bits_per_byte": 8.0,
        "paraphrase_similarity": 0.1,
        "unrelated_similarity": 0.2,
        "has_chat_template": True,
    }
    assert judge(name, random_weights=True, **everything) is None


def test_a_base_model_need_not_stop() -> None:
    assert judge("stop-token", tokens=[5] * 48, stopped=False) is None


def test_loops_of_several_lengths() -> None:
    assert loop_share([3] * 10) == 1.0
    assert loop_share([9, 1, 2, 3, 1, 2, 3]) == pytest.approx(6 / 7)
    assert loop_share([1, 2, 3, 4, 1, 2]) == 0.0
    assert loop_share([]) == 0.0


def test_names() -> None:
    assert check_names(None) == QUICK == check_names(["quick"])
    assert check_names(["all"]) == tuple(CHECKS)
    assert {"needle", "perplexity", "quantised-kl"} <= set(CHECKS) - set(QUICK)
    assert check_names(["quick", "needle"]) == (*QUICK, "needle")
    with pytest.raises(UsageError, match="none, and others"):
        check_names(["none", "needle"])
    assert check_names(["none"]) == ()
    assert check_names(["deterministic", "deterministic"]) == ("deterministic",)
    with pytest.raises(UsageError, match="nearest: deterministic"):
        check_names(["determinstic"])


def test_a_base_model_may_go_round_in_circles() -> None:
    assert judge("no-repetition-loop", tokens=[1, 2] * 20) is None


def test_a_text_of_a_few_tokens_says_nothing_of_the_model() -> None:
    few = TextScore(
        nats=900.0, tokens=2, text_bytes=9, compressed_bits_per_byte=3.0, uniform_bits_per_byte=4.0, window_tokens=8, stride_tokens=4, text="x",
    )  # fmt: skip
    assert judge("perplexity", text_score=few) is None
