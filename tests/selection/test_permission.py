"""What licences say to a use: each answer by a licence whose text is known, inherited ones included."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.selection.facts import Candidate, Licence
from fmkit.selection.licences import bound_licence
from fmkit.selection.permission import Intent, findings, overall

CAPPED: dict[str, Any] = {"user_cap": 700_000_000, "commercial": "conditional", "trains_on_outputs": "conditional"}


def terms(licence_class: str = "community-restricted", **changes: Any) -> Licence:
    facts: dict[str, Any] = {
        "id": "terms", "name": "Terms", "licence_class": licence_class, "commercial": "yes", "conditions": (),
        "verification": "text-read", "source": "example", "trains_on_outputs": "yes",
    }  # fmt: skip
    return Licence(**(facts | changes))


def model(name: str = "one", **changes: Any) -> Candidate:
    facts: dict[str, Any] = {
        "name": name, "hub_id": None, "family": "f", "publisher": "p", "spec_kind": "decoder", "tuning": "instruct",
        "licence": "terms", "tasks": (), "not_for": (), "languages": (), "inputs": ("text",), "outputs": ("text",),
        "context_tokens": None, "params": None, "active_params": None, "released": None, "scores": (),
    }  # fmt: skip
    return Candidate(id=name, **(facts | changes))


def answer(licence: Licence, intent: Intent, inputs: tuple[str, ...] | None = ("text",)) -> str:
    bound = bound_licence(model(), {}, {"terms": licence})
    return overall(findings(bound, intent, inputs))


@pytest.mark.parametrize(
    ("licence", "intent", "expected"),
    [
        (terms(), Intent(use="commercial"), "yes"),
        (terms(commercial="no"), Intent(use="commercial"), "no"),
        (terms(commercial="no"), Intent(use="research"), "yes"),
        (terms(commercial="conditional"), Intent(use="commercial"), "conditional"),
        (terms(commercial="unknown"), Intent(use="commercial"), "unknown"),
        (terms(commercial="unknown"), Intent(use="research"), "yes"),
        (terms("unknown"), Intent(use="research"), "unknown"),
        # a cap on revenue, which nobody asks for, makes a yes conditional
        (terms(revenue_cap_usd_per_year=1_000_000), Intent(use="commercial"), "conditional"),
        (terms(**CAPPED), Intent(monthly_users=700_000_000), "yes"),
        (terms(**CAPPED), Intent(monthly_users=700_000_001), "no"),
        # a cap that counts users by a day says nothing of those of today (Llama: the month before its release)
        (terms(**CAPPED, user_cap_on="2024-07-23"), Intent(monthly_users=700_000_001), "conditional"),
        (terms(**CAPPED, user_cap_on="2024-07-23"), Intent(monthly_users=700_000_000), "yes"),
        # a duty above the cap (Kimi K2: display its name) is a condition, no refusal
        (terms(**CAPPED, above_caps="duty"), Intent(monthly_users=700_000_001), "conditional"),
        (terms(), Intent(monthly_users=10**9), "yes"),
        (terms("unknown"), Intent(monthly_users=1), "unknown"),
        (terms(excluded_regions=("EU",)), Intent(region="DE"), "no"),
        (terms(excluded_regions=("EU",)), Intent(region="US"), "yes"),
        (terms("unknown"), Intent(region="US"), "unknown"),
        (terms(trains_on_outputs="no"), Intent(train_on_outputs=True), "no"),
        (terms(trains_on_outputs="unknown"), Intent(train_on_outputs=True), "unknown"),
        (terms(**CAPPED), Intent(train_on_outputs=True), "conditional"),
        # the most severe answer is the answer to all
        (terms(**CAPPED), Intent(use="commercial", monthly_users=10**9), "no"),
        (terms(), Intent(), "yes"),
    ],
)
def test_each_question_has_its_answer(licence: Licence, intent: Intent, expected: str) -> None:
    assert answer(licence, intent) == expected


def test_a_region_clause_about_pictures_binds_models_that_read_them() -> None:
    llama = terms(excluded_regions=("EU",), excluded_regions_modalities=("image",))
    assert answer(llama, Intent(region="FR"), ("text", "image")) == "no"
    assert answer(llama, Intent(region="FR"), ("text",)) == "yes"
    assert answer(llama, Intent(region="FR"), None) == "conditional"  # the licence by itself: it depends on the model


def test_the_licence_of_the_base_answers_too_and_is_named() -> None:
    base = model("base", licence="strict")
    child = model("child", base_model="base")
    licences = {
        "terms": terms(),
        "strict": terms(id="strict", commercial="no", clauses={"use": ("Research only.",)}, verification="recalled"),
    }
    found = findings(bound_licence(child, {"base": base}, licences), Intent(use="commercial"), ("text",))
    assert overall(found) == "no"
    strict = next(finding for finding in found if finding.licence == "strict")
    assert (strict.inherited_from, strict.clauses, strict.verified) == ("base", ("Research only.",), False)


def test_a_licence_that_the_catalog_has_not_is_unknown() -> None:
    bound = bound_licence(model(licence="nobody-knows"), {}, {})
    assert overall(findings(bound, Intent(use="commercial", region="DE", monthly_users=1), ("text",))) == "unknown"
