"""What a selection chooses from: the candidates, their facts, and how to size them on the machine asked about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fmkit.machine import Machine
from fmkit.model.quality import PointsLost
from fmkit.selection.capability import NO_FIT, Ability, CapabilityFit
from fmkit.selection.estimated_scores import task_estimates
from fmkit.selection.facts import Candidate, CloudPrice, Licence, Task
from fmkit.selection.licences import BoundLicence, bound_licence
from fmkit.selection.quality import Judgement, judge
from fmkit.selection.score_items import area_of
from fmkit.selection.sized import Sized, Sizer


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The catalog as one task sees it.

    `capability` and `abilities` estimate scores that nobody published; without them published ones count alone.
    `losses` says what each precision narrower than 16 bit was measured to lose.
    `precision_bits` gives the width of each known precision; `size` answers from the machine, so that a question about
    half its memory needs no new sizing.
    """

    task: Task
    candidates: tuple[Candidate, ...]
    licences: Mapping[str, Licence]
    cloud_prices: tuple[CloudPrice, ...]
    precision_bits: Mapping[str, int]
    machine: Machine
    size: Sizer
    capability: CapabilityFit = NO_FIT
    abilities: Mapping[str, Ability] = field(default_factory=dict)
    losses: Mapping[str, PointsLost] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, Candidate]:
        """Candidates by catalog id."""
        return {candidate.id: candidate for candidate in self.candidates}

    @cached_property
    def qualities(self) -> dict[str, Judgement]:
        """Quality of the models meant for the task, by id: the same whatever else is asked for."""
        meant = [c for c in self.candidates if not task_mismatch(c, self.task)]
        estimates = task_estimates(self.task, meant, self.capability, self.abilities)
        return judge(self.task, meant, estimates, self.capability.offsets)

    def points_lost(self, candidate: Candidate, sized: Sized | None) -> PointsLost | None:
        """What the precision loses: measured on models of language only, so that nothing is known of others."""
        if sized is None or sized.as_published or area_of(candidate) != "language":
            return None  # what was evaluated is what the publisher keeps
        return self.losses.get(sized.precision)

    @cached_property
    def bound_licences(self) -> dict[str, BoundLicence]:
        """Licences by model id, those of its base models included."""
        return {c.id: bound_licence(c, self.by_id, self.licences) for c in self.candidates}


def task_mismatch(candidate: Candidate, task: Task) -> tuple[str, str] | None:
    """Why a model is not meant for the task, as (constraint, reason); None where it is."""
    return next(_mismatches(candidate, task), None)


def _mismatches(candidate: Candidate, task: Task) -> Iterator[tuple[str, str]]:
    at_provider = candidate.api is not None
    if task.id in candidate.not_for:
        yield "task", f"its publisher or the catalog says it is not for {task.id}"
    if candidate.tuning == "base" and "base" not in task.tunings:
        yield "tuning", _tuning_reason(candidate, task)
    if task.id not in candidate.tasks:
        yield "task", f"not a model for {task.id}: it is for {', '.join(candidate.tasks) or 'nothing listed'}"
    if not at_provider and task.kinds and candidate.spec_kind not in task.kinds:
        yield "kind", f"{candidate.spec_kind} models are not proposed for {task.id}"
    if candidate.tuning not in task.tunings:
        yield "tuning", _tuning_reason(candidate, task)
    if candidate.needs_fine_tune and not takes_fine_tunes(task):
        yield "tuning", f"a pretrained checkpoint that must be fine-tuned before it can do {task.id}"
    missing = [modality for modality in task.inputs if modality not in candidate.inputs]
    if missing:
        yield "modality", f"{task.id} needs {' and '.join(missing)} input; it reads {' and '.join(candidate.inputs)}"
    if task.max_params is not None and at_provider:
        yield "size", f"runs at its provider; {task.id} means on the device itself"
    if task.max_params is not None and candidate.params is not None and candidate.params > task.max_params:
        yield "size", f"too large for {task.id}"


def takes_fine_tunes(task: Task) -> bool:
    """Whether a checkpoint that still needs a fine-tune may be proposed, with that said: labelling, and unranked domains."""
    return task.id in {"classification", "ner"} or task.unranked is not None


def _tuning_reason(candidate: Candidate, task: Task) -> str:
    if candidate.tuning == "base":
        return f"a base model: it continues text and was not taught to do {task.id}"
    return f"a model tuned as {candidate.tuning}; {task.id} takes {' or '.join(task.tunings)}"
