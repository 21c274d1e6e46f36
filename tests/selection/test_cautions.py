from __future__ import annotations

from typing import Any

from fmkit.selection.cautions import cautions
from fmkit.selection.ranking import select
from fmkit.selection.request import Request
from fmkit.selection.task_units import task_units

LOSSES = {"int4": "one point"}


def said(build: Any, candidate: Any, request: Request | None = None, **pool: Any) -> str:
    asked = request or Request(task="chat")
    chosen = build.pool(candidate, **pool)
    (standing,) = select(asked, chosen).standings
    return "\n".join(cautions(standing, asked, chosen, LOSSES))


def test_nothing_is_said_of_a_model_without_a_catch(build: Any) -> None:
    assert said(build, build.candidate("plain", params=2_000_000_000)) == ""


def test_thinking_and_its_slowness_are_said(build: Any) -> None:
    found = said(build, build.candidate("thinker", thinks=True))
    assert "2,000 hidden tokens" in found
    assert "slow here" in found


def test_the_fine_tune_a_pretrained_encoder_needs_is_named(build: Any) -> None:
    task = build.task(id="ner", kinds=("encoder",), tunings=("base",))
    encoder = build.candidate("bert", spec_kind="encoder", tuning="base", needs_fine_tune=True, tasks=("ner",))
    assert "needs a fine-tune" in said(build, encoder, Request(task="ner"), task=task)


def test_a_measured_context_shorter_than_the_need_is_said(build: Any) -> None:
    short = build.candidate("short", scores=(build.score("ruler-effective-context", 4096, unit="tokens"),))
    assert "4k tokens only" in said(build, short)
    assert "RULER" not in said(build, short, Request(task="chat", context_tokens=4096))


def test_conditions_of_a_licence_are_said_when_they_bind(build: Any) -> None:
    llama = build.candidate("llama", licence="llama3.1")
    assert "say Llama" in said(build, llama, Request(task="chat", use="commercial"))
    assert "say Llama" not in said(build, llama)
    assert "was not read" in said(build, build.candidate("odd", licence="nobody-knows"))


def test_the_loss_of_a_lower_precision_is_said(build: Any) -> None:
    scored = build.candidate("large", params=40_000_000_000, scores=(build.score("A", 1),))
    others = [build.candidate(f"other-{n}", scores=(build.score("A", n),)) for n in (2, 3)]
    pool = build.pool(scored, *others)
    standing = next(s for s in select(Request(task="chat"), pool).ranked if s.id == "large")
    assert "loss at int4: one point" in "\n".join(cautions(standing, Request(task="chat"), pool, LOSSES))


def test_units_are_those_of_the_task_and_unknown_ones_are_left_out(build: Any) -> None:
    pool = build.pool(build.candidate("model", embedding_dim=384))
    (standing,) = select(Request(task="chat"), pool).standings
    found = task_units(
        standing, ("embedding_dim", "max_input_tokens", "wer_percent", "texts_per_s", "real_time_factor")
    )
    assert found == {"embedding_dim": 384, "max_input_tokens": 131072}


def test_speech_has_a_word_error_rate_and_a_real_time_factor(build: Any) -> None:
    task = build.task(
        id="transcription", kinds=("speech",), inputs=("audio",), output_tokens=200,
        benchmarks=build.task().benchmarks[:1],
    )  # fmt: skip
    models = [
        build.candidate(name, spec_kind="speech", inputs=("audio",), tasks=("transcription",), scores=(build.score("A", wer, unit="WER %"),))
        for name, wer in (("one", 7.4), ("two", 9.0), ("three", 12.0))
    ]  # fmt: skip
    standing = next(
        s for s in select(Request(task="transcription"), build.pool(*models, task=task)).ranked if s.id == "one"
    )
    found = task_units(standing, ("wer_percent", "real_time_factor"))
    assert found["wer_percent"] == 7.4
    # 16 GB at 1 TB/s are 62.5 tokens/s: 1024 / 1250 s to read and 200 / 62.5 s to write, per 30 s of sound
    assert found["real_time_factor"] == 0.134


def test_a_quality_near_the_worst_of_the_catalog_is_said(build: Any) -> None:
    models = [build.candidate(f"m-{n}", scores=(build.score("A", n),)) for n in (0, 50, 100)]
    pool = build.pool(*models)
    by_id = {s.id: s for s in select(Request(task="chat"), pool).ranked}
    assert "near the worst" in "\n".join(cautions(by_id["m-0"], Request(task="chat"), pool, LOSSES))
    assert "near the worst" not in "\n".join(cautions(by_id["m-100"], Request(task="chat"), pool, LOSSES))
