from __future__ import annotations

from typing import Any

import pytest

from fmkit.selection.ranking import Selection, select
from fmkit.selection.request import Request


def reasons(selection: Selection) -> dict[str, str]:
    return {e.model: e.constraint for e in selection.excluded}


def picks(selection: Selection) -> set[str]:
    return {standing.id for standing in selection.standings}


def test_every_model_is_a_pick_or_has_a_reason(chat_pool: Any) -> None:
    selection = select(Request(task="chat"), chat_pool)
    assert picks(selection) | set(reasons(selection)) == set(chat_pool.by_id)
    assert not picks(selection) & set(reasons(selection))
    assert all(e.reason for e in selection.excluded)


def test_a_base_model_is_never_proposed_for_chat(chat_pool: Any) -> None:
    found = select(Request(task="chat"), chat_pool)
    assert reasons(found)["base-8b"] == "tuning"


def test_a_retired_api_names_its_successor(chat_pool: Any) -> None:
    exclusion = next(e for e in select(Request(task="chat"), chat_pool).excluded if e.model == "old-cloud")
    assert exclusion.constraint == "retired"
    assert "cloud" in exclusion.reason


def test_context_is_what_the_task_needs_and_says_what_is_missing(chat_pool: Any) -> None:
    exclusion = next(e for e in select(Request(task="chat"), chat_pool).excluded if e.model == "short-1b")
    assert (exclusion.constraint, exclusion.missed_by) == ("context", "6k tokens")
    assert "short-1b" in picks(select(Request(task="chat", context_tokens=2048), chat_pool))


@pytest.mark.parametrize(
    ("changes", "out"),
    [
        ({"licence_classes": ("permissive",)}, {"llama-8b": "licence", "cloud": "licence", "gamma-3b": "licence"}),
        ({"licences": ("llama3.1",)}, {"alpha-8b": "licence"}),
        ({"use": "commercial"}, {"gamma-3b": "use"}),
        ({"monthly_users": 800_000_000}, {"llama-8b": "monthly-users"}),
        ({"train_on_outputs": True}, {"gamma-3b": "train-on-outputs", "cloud": "train-on-outputs"}),
        ({"languages": ("de",)}, {"alpha-8b": "language"}),
        ({"modalities": ("image",)}, {"alpha-8b": "modality"}),
        ({"open_only": True}, {"cloud": "open-only"}),
        ({"data_stays_here": True}, {"cloud": "data-stays-here"}),
        ({"hardware_named": True}, {"cloud": "hardware"}),
        ({"api_only": True, "hardware_named": True}, {"alpha-8b": "api-only"}),
        ({"released_after": "2025-06"}, {"alpha-8b": "released-after"}),
        ({"exclude_families": ("alpha",)}, {"alpha-8b": "exclude"}),
        ({"only_families": ("alpha",)}, {"llama-8b": "only"}),
        ({"min_quality": 0.9}, {"gamma-3b": "min-quality", "silent-8b": "min-quality"}),
        ({"min_tokens_per_s": 300.0}, {"alpha-8b": "min-tokens-per-s", "cloud": "min-tokens-per-s"}),
        ({"max_ttft_s": 2.0}, {"thinker-8b": "max-ttft", "cloud": "max-ttft"}),
    ],
)
def test_each_constraint_takes_out_whom_it_should(chat_pool: Any, changes: dict[str, Any], out: dict[str, str]) -> None:
    found = reasons(select(Request(task="chat", **changes), chat_pool))
    assert {model: found.get(model) for model in out} == out


def test_memory_says_by_how_much_it_was_missed(chat_pool: Any) -> None:
    exclusion = next(e for e in select(Request(task="chat"), chat_pool).excluded if e.model == "beta-70b")
    # 70e9 * 4 / 8 bytes and 8192 tokens of 128 KiB are 33.60 GiB; 24 GiB are there
    assert (exclusion.constraint, exclusion.missed_by) == ("memory", "9.60 GiB")


def test_the_highest_precision_that_fits_is_taken_and_said(chat_pool: Any, build: Any) -> None:
    fitting = next(s for s in select(Request(task="chat"), chat_pool).ranked if s.id == "alpha-8b")
    assert fitting.sized is not None
    assert fitting.sized.precision == "fp16"
    tight = build.pool(*chat_pool.candidates, on=build.machine(10))
    squeezed = next(s for s in select(Request(task="chat"), tight).ranked if s.id == "alpha-8b")
    assert squeezed.sized is not None
    assert squeezed.sized.precision == "int8"
    assert squeezed.reasons[0] == "int8, because fp16 needs 15.90 GiB (there are 10.00 GiB)"


def test_a_speed_that_only_a_lower_precision_reaches_chooses_it(chat_pool: Any) -> None:
    # 1 TB/s over 16 GB is 62 tokens/s, over 8 GB 125
    found = next(s for s in select(Request(task="chat", min_tokens_per_s=100), chat_pool).ranked if s.id == "alpha-8b")
    assert found.sized is not None
    assert found.sized.precision == "int8"


def test_unknown_speed_is_not_a_pass(chat_pool: Any, build: Any) -> None:
    pool = build.pool(*chat_pool.candidates, speed_known=False)
    assert reasons(select(Request(task="chat", min_tokens_per_s=1), pool))["alpha-8b"] == "min-tokens-per-s"


def test_an_unknown_licence_is_not_a_pass(build: Any) -> None:
    pool = build.pool(build.candidate("stranger", licence="nobody-knows"))
    for changes in ({"use": "commercial"}, {"use": "research"}, {"train_on_outputs": True}, {"monthly_users": 1}):
        assert "stranger" in reasons(select(Request(task="chat", **changes), pool))


def test_a_licence_is_inherited_from_the_base(build: Any) -> None:
    pool = build.pool(
        build.candidate("llama-base", licence="llama3.1", tuning="base"),
        build.candidate("distill", licence="mit", base_model="llama-base"),
    )
    exclusion = next(
        e for e in select(Request(task="chat", licence_classes=("permissive",)), pool).excluded if e.model == "distill"
    )
    assert exclusion.constraint == "licence"
    assert "llama-base" in exclusion.reason


def test_a_region_clause_can_be_about_a_modality(build: Any) -> None:
    pool = build.pool(
        build.candidate("sees", licence="vision-licence", inputs=("text", "image")),
        build.candidate("reads", licence="vision-licence"),
    )
    found = select(Request(task="chat", region="DE"), pool)
    assert reasons(found) == {"sees": "region"}
    assert not reasons(select(Request(task="chat", region="US"), pool))


def test_a_pretrained_encoder_is_for_labelling_only(build: Any) -> None:
    encoder = build.candidate(
        "bert", spec_kind="encoder", tuning="base", needs_fine_tune=True, tasks=("classification", "chat")
    )
    labelling = build.task(id="classification", kinds=("encoder",), tunings=("base",))
    assert picks(select(Request(task="classification"), build.pool(encoder, task=labelling))) == {"bert"}
    other = build.task(kinds=("encoder",), tunings=("base",))
    assert reasons(select(Request(task="chat"), build.pool(encoder, task=other))) == {"bert": "tuning"}


def test_a_model_that_cant_be_sized_says_so(build: Any) -> None:
    pool = build.pool(build.candidate("odd", params=None))
    assert reasons(select(Request(task="chat"), pool)) == {"odd": "architecture"}


def test_edge_means_small_and_here(build: Any) -> None:
    edge = build.task(id="edge", max_params=4_000_000_000)
    pool = build.pool(
        build.candidate("large", tasks=("edge",)),
        build.candidate("small", tasks=("edge",), params=2_000_000_000),
        build.api("far", tasks=("edge",)),
        task=edge,
    )
    assert reasons(select(Request(task="edge"), pool)) == {"large": "size", "far": "size"}
