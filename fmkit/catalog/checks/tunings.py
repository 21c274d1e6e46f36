"""What a model was tuned to, against the name that its publisher gave it and what it is said to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.convert import TUNING_NAMED
from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.selection.facts import Tuning

_MAY_BE: dict[Tuning, set[Tuning]] = {
    "base": {"base"},
    "instruct": {"instruct", "reasoning", "embedding", "task-tuned"},
    "reasoning": {"reasoning", "instruct"},
    "embedding": {"embedding"},
    "task-tuned": {"task-tuned"},
}
"""What a model can be, by the tuning in its name: `e5-mistral-7b-instruct` embeds, a chat model may think too."""

_WITHOUT_THOUGHTS = frozenset({"base", "embedding", "task-tuned"})


def names(facts: Facts) -> Iterator[Fault]:
    """A tuning that the name of the repository rules out: `-Instruct` as base."""
    for model_id, model in facts.links.open_models.items():
        entry, name = model.entry, model.entry.hub_id.rpartition("/")[2]
        named = [tuning for tuning, words in TUNING_NAMED.items() if words.search(name.lower())]
        if named and not any(entry.tuning in _MAY_BE[tuning] for tuning in named):
            message = f"{entry.tuning!r}, but the name {name} says {' and '.join(named)}: correct the one or the other"
            yield Fault(*model.place(model_id, "tuning"), message)


def thoughts(facts: Facts) -> Iterator[Fault]:
    """Thoughts before the answer of a model that gives no answers, or a mode without thoughts of one that has none."""
    for model_id, model in facts.links.open_models.items():
        entry = model.entry
        if entry.thinks and entry.tuning in _WITHOUT_THOUGHTS:
            message = (
                f"a model of tuning {entry.tuning!r} writes no thoughts before an answer: correct the one or the other"
            )
            yield Fault(*model.place(model_id, "thinks"), message)
        if entry.answers_directly and not entry.thinks:
            message = "only a model that `thinks` has a mode without thoughts"
            yield Fault(*model.place(model_id, "answers_directly"), message)


RULES = (names, thoughts)
