"""Abilities against the same joint normal distribution written out whole, and against what made-up models really are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.abilities.cells import table, vendor_offsets
from benchmarks.abilities.hiding import fit_of, left
from fmkit.selection.abilities import abilities
from fmkit.selection.capability import NO_FIT, CapabilityFit, Item, Prior, VendorOffset, Widths
from fmkit.selection.covariates import answering
from fmkit.selection.estimated_scores import estimated_score, predictive, task_estimates
from fmkit.selection.facts import TaskBenchmark
from fmkit.selection.logits import logit

LOADINGS = {"A": (1.0, 0.3), "B": (0.4, 1.1), "C": (0.8, -0.5)}
SDS = {"A": 0.3, "B": 0.5, "C": 0.4}
MEANS = {"A": 0.2, "B": -0.4, "C": 0.0}
SHARED = np.array([[0.4, 0.1], [0.1, 0.3]])
OWN = np.array([[0.2, -0.05], [-0.05, 0.25]])
SLOPE = np.array([0.6, 0.2])


def made_up_fit(**changes: Any) -> CapabilityFit:
    facts: dict[str, Any] = {
        "items": tuple(
            Item(area="language", benchmark=b, variant="5-shot", mean=MEANS[b], sd=SDS[b], scores=30, loadings=LOADINGS[b])
            for b in LOADINGS
        ),
        "priors": {
            "language": Prior(
                centres={"log10 parameters": 9.5},
                sds={"log10 parameters": 0.7},
                coefficients={"log10 parameters": tuple(SLOPE)},
                family_covariance=tuple(map(tuple, SHARED)),
                own_covariance=tuple(map(tuple, OWN)),
            )
        },
    }  # fmt: skip
    base: dict[str, Any] = {"date": "", "scores": 90, "models": 30, "offsets": {}}
    return CapabilityFit(**(base | facts | changes))


def test_scores_with_and_without_thoughts_are_of_siblings(build: Any) -> None:
    thinking, off, unsaid = (
        build.score("A", v, variant=mode)
        for v, mode in ((80, "thinking, 5-shot"), (20, "thinking off, 5-shot"), (60, "5-shot"))
    )
    one = build.candidate("x-1", thinks=True, scores=(thinking, off, unsaid))
    assert [(m.thinks, [s.score for s in m.scores]) for m in answering(one)] == [(True, [80, 60]), (False, [20])]
    asked = build.candidate("x-1", may_think=True, scores=(unsaid, thinking))
    assert [(m.thinks, [s.score for s in m.scores]) for m in answering(asked)] == [(None, [60]), (True, [80])]

    # a score without thoughts counts as the model's, says less of it with thoughts than one with them, but something
    fit = made_up_fit()
    able = {
        name: abilities([build.candidate("x-1", thinks=True, scores=scores)], fit)["x-1"]
        for name, scores in {
            "none": (),
            "off": (off,),
            "on": (build.score("A", 20, variant="thinking, 5-shot"),),
        }.items()
    }
    assert [able[name].scores for name in ("none", "off", "on")] == [0, 1, 1]
    expected = {name: predictive(found, fit.items[0])[0] for name, found in able.items()}
    assert expected["on"] < expected["off"] < expected["none"]


def test_abilities_are_those_of_the_joint_distribution(build: Any) -> None:
    scores = {"x-1": {"A": 70, "B": 40}, "x-2": {"C": 55}, "x-3": {}, "x-4": {"A": 30, "C": 20}}
    params: dict[str, int | None] = {"x-1": 8 * 10**9, "x-2": 70 * 10**9, "x-3": 10**9, "x-4": None}
    models = [
        build.candidate(
            name, params=params[name], active_params=None, scores=tuple(build.score(b, v) for b, v in rows.items())
        )
        for name, rows in scores.items()
    ]
    found = abilities(models, made_up_fit())

    # all four abilities at once: covariance of siblings is the shared part; an unknown size widens the own part
    names = list(scores)
    prior_mean = np.concatenate(
        [SLOPE * (np.log10(p) - 9.5) if (p := params[name]) is not None else np.zeros(2) for name in names]
    )
    blind = np.outer(SLOPE, SLOPE) * 0.7**2
    covariance = np.kron(np.ones((4, 4)), SHARED)
    for n, name in enumerate(names):
        covariance[2 * n : 2 * n + 2, 2 * n : 2 * n + 2] += OWN + (blind if params[name] is None else 0)
    seen = [(n, b, v) for n, name in enumerate(names) for b, v in scores[name].items()]
    maps = np.zeros((len(seen), 8))
    for row, (n, b, _) in enumerate(seen):
        maps[row, 2 * n : 2 * n + 2] = LOADINGS[b]
    values = np.array([logit(v / 100) - MEANS[b] for _, b, v in seen])
    noise = np.diag([SDS[b] ** 2 for _, b, _ in seen])
    gain = covariance @ maps.T @ np.linalg.inv(maps @ covariance @ maps.T + noise)
    mean = prior_mean + gain @ (values - maps @ prior_mean)
    after = covariance - gain @ maps @ covariance
    for n, name in enumerate(names):
        part = slice(2 * n, 2 * n + 2)
        assert found[name].mean == pytest.approx(mean[part], abs=1e-9)
        assert np.array(found[name].covariance) == pytest.approx(after[part, part], abs=1e-9)
        assert found[name].scores == len(scores[name])


def test_a_vendors_report_is_lessened_and_says_less(build: Any) -> None:
    fit = made_up_fit(offsets={"": VendorOffset(offset=0.2, sd=0.4, pairs=20)})
    item = fit.items[0]
    independent, vendor = (
        predictive(
            abilities([build.candidate("x-1", scores=(build.score("A", 90, reported_by=who),))], fit)["x-1"], item
        )
        for who in ("independent", "vendor")
    )
    assert vendor[0] < independent[0]
    assert vendor[1] > independent[1]


def test_a_model_without_a_score_gets_no_estimate(build: Any) -> None:
    fit = made_up_fit()
    models = [build.candidate("x-1", scores=(build.score("A", 90),)), build.candidate("x-2")]
    task = build.task(benchmarks=(TaskBenchmark(benchmark="C", weight=1, reason="", variants=("5-shot",)),))
    found = task_estimates(task, models, fit, abilities(models, fit))
    assert list(found) == ["x-1"]
    assert found["x-1"]["C"].scores == 1
    assert 0 < found["x-1"]["C"].low < found["x-1"]["C"].value < found["x-1"]["C"].high < 100
    assert task_estimates(task, models, NO_FIT, {}) == {}


def test_wider_widths_give_wider_intervals(build: Any) -> None:
    models = [build.candidate("x-1", scores=(build.score("A", 90),))]
    usual = made_up_fit()
    able = abilities(models, usual)["x-1"]
    narrow = estimated_score(able, usual.items[1], usual)
    assert narrow.basis == "1 to 4 scores"
    for widths in (Widths(every=1.5), Widths(items={"B, 5-shot": 1.5}), Widths(publishers={"Example": 1.5})):
        of_this, of_others = (
            made_up_fit(widths={f"language {basis}": widths}) for basis in ("1 to 4 scores", "no scores")
        )
        wide = estimated_score(able, of_this.items[1], of_this)
        assert logit(wide.high / 100) - logit(wide.value / 100) == pytest.approx(
            1.5 * (logit(narrow.high / 100) - logit(narrow.value / 100)), rel=5e-3
        )
        assert estimated_score(able, of_others.items[1], of_others) == narrow


def test_what_an_estimate_rests_on(build: Any) -> None:
    thinking = tuple(build.score(b, 50, variant="thinking, 5-shot") for b in "ABC")
    models = [
        build.candidate("x-1", may_think=True, scores=(*thinking, build.score("A", 50), build.score("B", 50))),
        build.candidate("x-2"),
        build.candidate("y-1", family="y"),
        build.candidate("z-1", family="z", scores=(build.score("A", 50), build.score("of no item", 50))),
    ]
    found = abilities(models, made_up_fit())
    assert {name: (one.basis, one.scores, one.family_scores) for name, one in found.items()} == {
        "x-1": ("5 or more scores", 5, 0),  # in both of its modes
        "x-2": ("scores of its family", 0, 5),
        "y-1": ("no scores", 0, 0),
        "z-1": ("1 to 4 scores", 1, 0),
    }


def test_the_fit_finds_what_made_up_models_are(build: Any) -> None:
    """Scores drawn from known abilities: half of each model's are hidden, and predicted about as well as the noise allows."""
    random = np.random.default_rng(3)
    benchmarks = {f"B{n}": (random.normal(), random.uniform(0.6, 1.2), 0.25) for n in range(10)}
    every, hidden = [], {}
    for family in range(20):
        shared = random.normal(0, 0.6)
        for n in range(4):
            able = shared + random.normal(0, 0.4)
            logits = {b: m + a * able + random.normal(0, s) for b, (m, a, s) in benchmarks.items()}
            names = list(random.permutation(list(benchmarks)))
            model = f"f{family}-{n}"
            shown = tuple(build.score(b, 100 / (1 + np.exp(-logits[b]))) for b in names[:5])
            every.append(build.candidate(model, scores=shown))
            hidden[model] = {b: logits[b] for b in names[5:]}
    cells = table("language", every, {})
    fit = fit_of(cells, cells.cells, {}, factors=1)
    able_by = abilities(every, fit)
    items = {item.benchmark: item for item in fit.items}
    rows = [(*predictive(able_by[m], items[b]), value) for m, found in hidden.items() for b, value in found.items()]
    errors = np.array([value - centre for centre, _, value in rows])
    assert np.std(errors) < 0.25 * 1.35
    assert 0.72 < np.mean([abs(value - centre) < 1.2816 * sd for centre, sd, value in rows]) < 0.88


def test_offsets_are_learnt_from_pairs(build: Any) -> None:
    def both(name: str, gap: float) -> Any:
        vendor = 100 / (1 + np.exp(-gap))
        return build.candidate(name, scores=(build.score("A", 50), build.score("A", vendor, reported_by="vendor")))

    found = vendor_offsets([both(f"m-{n}", gap) for n, gap in enumerate((0.1, 0.2, 0.3) * 4)])
    assert found["A"].offset == pytest.approx(0.2, abs=1e-6)
    assert found["A"].pairs == 12
    assert found[""].pairs == 12


def test_what_is_hidden_tells_nothing_of_vendors_either(build: Any) -> None:
    """A model whose vendor reports far too much moves the offset, and with it every cell: not while it is hidden."""

    def both(name: str, vendor: float) -> Any:
        return build.candidate(name, scores=(build.score("A", 50), build.score("A", vendor, reported_by="vendor")))

    models = [both(f"m-{n}", 55) for n in range(12)]
    odd, alone = both("odd-1", 95), build.candidate("x-1", scores=(build.score("A", 60, reported_by="vendor"),))
    every = vendor_offsets([*models, odd])
    cells = table("language", [*models, odd, alone], every)
    rest = left(cells, lambda model, _: model == "odd-1")
    assert rest is not None
    assert {cell.model for cell in rest.hidden} == {"odd-1"}
    assert (
        rest.fit.offsets["A"].offset
        == pytest.approx(logit(0.55), abs=1e-4)
        != pytest.approx(every["A"].offset, abs=0.1)
    )
    of_alone = next(cell for cell in rest.known if cell.model == "x-1")
    assert of_alone.value == pytest.approx(logit(0.6) - logit(0.55), abs=1e-4)
    assert rest.abilities["odd-1", False].basis == "no scores"
    assert left(cells, lambda _, benchmark: benchmark == "A") is None
