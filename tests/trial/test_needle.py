"""The needle is found by a reader that reads, and not by one that forgets: stubs that count words as tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fmkit.trial.checks import run_checks
from fmkit.trial.embedded import HELD_OUT_PATH
from fmkit.trial.evidence import Evidence
from fmkit.trial.observe.needle import DEPTHS, look_for_needles
from fmkit.trial.observe.speaker import Answer, CannotAskError


class Copier:
    """Finds the number in the last `sees` words of a prompt, and copies it."""

    tool_form = ""

    def __init__(self, sees: int, *, chat: bool = False, wrong: bool = False) -> None:
        self.chat = chat
        self.sees = sees
        self.wrong = wrong
        self.longest = 0

    def ask(self, prompt: str, most_tokens: int, *, tools: Sequence[Any] = (), json: bool = False) -> Answer:
        del tools, json
        words = prompt.split()
        self.longest = max(self.longest, len(words) + most_tokens)
        places = re.findall(r"access code of the (\w+) office", prompt)
        found = re.search(rf"access code of the {places[-1]} office is (\d+)", " ".join(words[-self.sees :]))
        if found is None:
            return Answer(text="I do not know 42.")
        return Answer(text=f" {int(found[1]) + self.wrong:,}." if self.chat else f" {int(found[1]) + self.wrong}.")

    def count(self, prompt: str) -> int | None:
        return len(prompt.split())


def tried(speaker: Copier, *contexts: int) -> Evidence:
    seen = Evidence(task="text generation", random_weights=False)
    look_for_needles(speaker, seen, contexts, HELD_OUT_PATH, lambda _: None)
    return seen


@pytest.mark.parametrize("chat", [False, True])
def test_a_reader_passes(chat: bool) -> None:
    speaker = Copier(10**6, chat=chat)
    seen = tried(speaker, 2048)
    (check,) = run_checks(["needle"], seen)
    assert (check.passed, check.value, check.threshold) == (True, 2048.0, 2048.0)
    assert {point.depth for point in seen.needle} == set(DEPTHS)
    assert 1800 < speaker.longest <= 2048  # the context is filled, and never more than filled
    assert len(check.data["points"]) == len(seen.needle) == 15
    for point in seen.needle:
        assert point.prompt_tokens is not None
        room = point.context_tokens - 64
        assert point.prompt_tokens <= room
        assert point.prompt_tokens > 0.9 * room - 8 or room < 448  # shorter ones go by whole sentences


def test_a_short_memory_is_measured() -> None:
    seen = tried(Copier(600), 256, 512, 1024, 4096)
    (check,) = run_checks(["needle"], seen)
    assert (check.passed, check.value, check.threshold) == (False, 512.0, 4096.0)
    found = {(point.context_tokens, point.depth): point.retrieved for point in seen.needle}
    assert (found[1024, 0.1], found[1024, 0.5], found[1024, 0.9]) == (False, True, True)
    assert not found[4096, 0.5]
    assert found[4096, 0.9]


def test_another_number_is_not_the_needle() -> None:
    seen = tried(Copier(10**6, wrong=True), 1024)
    (check,) = run_checks(["needle"], seen)
    assert (check.passed, check.value, check.threshold) == (False, 0.0, 1024.0)
    assert "longer ones not tried" in check.detail


def test_a_length_that_is_refused_is_not_found() -> None:
    class Refuses(Copier):
        def ask(self, prompt: str, most_tokens: int, **options: Any) -> Answer:
            if len(prompt.split()) > 300:
                raise CannotAskError("too long")
            return super().ask(prompt, most_tokens, **options)

    seen = tried(Refuses(10**6), 256, 512)
    (check,) = run_checks(["needle"], seen)
    assert (check.passed, check.value) == (False, 256.0)
    assert seen.needle[-1].answer == "(not asked: too long)"


def test_too_short_for_the_needle() -> None:
    (check,) = run_checks(["needle"], tried(Copier(10**6), 70))
    assert check.passed is None


def test_the_same_text_gives_the_same_points(tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text("It rained. The sun came out! Who knew?", encoding="utf-8")
    assert tried(Copier(10**6), 512).needle == tried(Copier(10**6), 512).needle
