"""The catalog's parameters, context and licences held against the models' own config.json and a published table of facts.

    python benchmarks/catalog_facts.py            prints the table and every difference
    python benchmarks/catalog_facts.py --write    also writes benchmarks/results/catalog_facts.json

Three witnesses: the count of the model that transformers instantiates and the publisher's total (both in catalog/configs/INDEX.csv), the
limit that stands in config.json, and the table in catalog/published. A fact that the catalog took from the table is counted apart: that
it agrees is no evidence. Each difference has a reason of a named class with its evidence: arithmetic that comes out equal, a publisher's
text that writes the figure, a file of another model, or what is known to be wrong in the table. Any other is open, and fails a test.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that `python benchmarks/catalog_facts.py` finds its parts

from benchmarks.facts.context import context_cases
from benchmarks.facts.licence import licence_cases
from benchmarks.facts.parameters import parameter_cases
from benchmarks.facts.witnesses import Case, Witnessed, witnessed
from fmkit.catalog.load import load_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULT = Path(__file__).parent / "results" / "catalog_facts.json"
STATES = ("equal", "taken", "explained", "doubtful", "open")


def open_models() -> tuple[str, ...]:
    """The models with open weights."""
    return tuple(candidate.id for candidate in load_catalog().candidates() if candidate.api is None)


def cases() -> Iterator[Case]:
    """Every fact that a witness knows, model after model."""
    for model_id in open_models():
        model = load_catalog().model(model_id)
        yield from parameter_cases(model)
        yield from context_cases(model)
        yield from licence_cases(model)


def main() -> int:
    """Print the table; 1 where a difference has no reason."""
    found = list(cases())
    counts = Counter((case.fact, case.witness, case.state) for case in found)
    held = witnessed(found, open_models())
    show(found, counts, held)
    if "--write" in sys.argv[1:]:
        write(found, counts, held)
    return int(any(case.state == "open" for case in found))


def show(found: Sequence[Case], counts: Counter[tuple[str, str, str]], held: Sequence[Witnessed]) -> None:
    """Print what each witness says, what the table says of all models, and every difference with its reason."""
    print(
        f"{'fact':12}{'held against':34}{'models':>8}{'equal':>8}{'taken':>8}{'explained':>11}{'doubtful':>10}{'open':>6}"
    )
    for fact, witness in dict.fromkeys((case.fact, case.witness) for case in found):
        states = [counts[fact, witness, state] for state in STATES]
        print(
            f"{fact:12}{witness:34}{sum(states):8}{states[0]:8}{states[1]:8}{states[2]:11}{states[3]:10}{states[4]:6}"
        )
    print(
        f"\n{'published table':14}{'agrees':>8}{'taken from it':>15}{'differs, explained':>20}{'table at fault':>16}{'no witness':>12}"
    )
    for one in held:
        print(
            f"{one.fact:14}{one.agrees:8}{one.taken:15}{one.differs_explained:20}{one.doubtful:16}{len(one.without):12}"
        )
    for one in held:
        print(f"no witness of {one.fact} in the table: {', '.join(one.without)}")
    for case in found:
        if case.reason:
            print(f"{case.model}: {case.fact} {case.catalog}, {case.witness} {case.witnessed}: {case.reason}")


def write(found: Sequence[Case], counts: Counter[tuple[str, str, str]], held: Sequence[Witnessed]) -> None:
    """Keep the result in benchmarks/results/catalog_facts.json."""
    summary = [
        {"fact": fact, "witness": witness, "state": state, "models": n} for (fact, witness, state), n in counts.items()
    ]
    result = {
        "catalog": load_catalog().date,
        "summary": summary,
        "published_table": msgspec.to_builtins(held),
        "differences": [{**msgspec.to_builtins(case), "state": case.state} for case in found if case.reason],
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
