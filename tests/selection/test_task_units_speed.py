"""Images per second and the real-time factor, from made-up speeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from fmkit.selection.pool import Pool
from fmkit.selection.ranking import select
from fmkit.selection.request import Request
from fmkit.selection.task_units import task_units
from fmkit.speed.estimate import Range


def with_speed(pool: Pool, **changes: Any) -> Pool:
    """The pool with every speed changed."""
    size = pool.size

    def changed(
        model: str, precision: str, context_tokens: int, share: float = 1.0, sequences: int | None = None
    ) -> Any:
        sized = size(model, precision, context_tokens, share, sequences)
        assert sized is not None
        assert sized.speed is not None
        return msgspec.structs.replace(sized, speed=msgspec.structs.replace(sized.speed, **changes))

    return replace(pool, size=changed)


def at(median: float) -> Range:
    return Range(low=median / 2, median=median, high=median * 2)


def test_images_per_s_is_the_image_towers(build: Any) -> None:
    pool = with_speed(build.pool(build.candidate("one")), images_per_s=at(93.84), decode_tokens_per_s=None)
    (standing,) = select(Request(task="chat"), pool).standings
    assert task_units(standing, ("images_per_s",)) == {"images_per_s": 93.8}


def test_a_model_without_an_image_tower_has_none(build: Any) -> None:
    (standing,) = select(Request(task="chat"), build.pool(build.candidate("one"))).standings
    assert task_units(standing, ("images_per_s",)) == {}


def test_real_time_factor_is_listening_and_writing_per_second_of_sound(build: Any) -> None:
    pool = with_speed(
        build.pool(build.candidate("one", spec_kind="speech")),
        prefill_tokens_per_s=at(2048),
        decode_tokens_per_s=at(100),
    )
    pool = replace(pool, task=build.task(kinds=("speech",)))
    (standing,) = select(Request(task="chat"), pool).standings
    # 1024 tokens at 2048 a second, and 200 tokens per window at 100 a second; whatever the task's own output is
    assert task_units(standing, ("real_time_factor",)) == {"real_time_factor": round((0.5 + 2.0) / 30, 4)}
