"""`fmkit vram --train`: what fine-tuning a model needs, and the largest context and batch that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.asked import one_or_many, precision_id, text, tokens, whole
from fmkit.api.inverse import find_inverse
from fmkit.api.model_sizer import ModelSizer
from fmkit.api.next_commands import again
from fmkit.api.training_options import MOST_BATCH, MOST_RANK, TrainingOptions
from fmkit.api.verdict import verdict
from fmkit.errors import UsageError
from fmkit.results.vram import Estimate
from fmkit.sizing.fit import MOST_TOKENS
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.sizing.search import largest
from fmkit.sizing.training.adapters import adapted_groups
from fmkit.sizing.training.optimisers import OPTIMISERS
from fmkit.sizing.training.plan import TrainingRules, check_trainable
from fmkit.sizing.training.recipe import (
    DEFAULT_PRECISIONS,
    DEFAULT_RANK,
    DEFAULT_TARGETS,
    LAYOUTS,
    METHODS,
    Method,
    Recipe,
)
from fmkit.units import KIB, format_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmkit.api.resolve import ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Cut, Fit, MemoryEstimate, Workload

DEFAULT_CONTEXTS = (1 * KIB, 4 * KIB, 16 * KIB)
BITS = {"fp32": 32, "mixed": 31, "fp16": 16, "int4": 4}
"""Order of the number types from the best down: mixed precision holds float32 weights and computes in 16 bit."""


class TrainingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `fmkit vram --train` says beside what it says of any model."""

    verdict: str
    estimates: tuple[Estimate, ...]
    fit: Fit | None
    warnings: tuple[str, ...]
    next: tuple[str, ...]


class TrainingSizer(ModelSizer):
    """Sizes one step of training, for the search over number types, contexts, batches and machines."""

    def __init__(self, spec: ModelSpec, catalog: Catalog, workload: Workload, recipe: Recipe) -> None:
        super().__init__(spec, catalog, "transformers", workload)
        self.recipe = recipe

    def __call__(self, precision: str, context_tokens: int, sequences: int, machine: Machine) -> MemoryEstimate:
        """The memory of a step at these settings, judged against one device of `machine`."""
        workload = msgspec.structs.replace(self.workload, context_tokens=context_tokens, sequences=sequences)
        rules = TrainingRules(self.recipe, precision)
        layout, one = self._layout(precision), _one_device(machine)
        return estimate_memory(
            self.spec, self.catalog.engines["transformers"], layout, precision, workload, one, rules
        )  # fmt: skip

    def estimate(self, precision: str, workload: Workload, machine: Machine) -> Estimate:
        """The same with the figures of the step by name."""
        memory = self(precision, workload.context_tokens, workload.sequences, machine)
        facts = TrainingRules(self.recipe, precision).facts(
            self.spec, self._layout(precision), workload, _one_device(machine)
        )
        fields = {name: getattr(memory, name) for name in memory.__struct_fields__}
        return Estimate(**{**fields, "training": facts})

    def with_workload(self, workload: Workload) -> TrainingSizer:
        """The same recipe with other options."""
        return TrainingSizer(self.spec, self.catalog, workload, self.recipe)

    def bits(self, precision: str) -> int:
        """What orders number types from the best down."""
        return BITS[precision]

    def _layout(self, precision: str) -> Layout:
        return self.catalog.layouts[LAYOUTS[self.recipe.method][precision]]


def _one_device(machine: Machine) -> Machine:
    return msgspec.structs.replace(machine, count=1) if machine.count > 1 else machine


def training_answer(
    resolved: ResolvedModel,
    catalog: Catalog,
    machine: Machine,
    workload: Workload,
    options: TrainingOptions,
    *,
    precisions: Sequence[str],
    contexts: Sequence[str | int],
    limit: int | None,
    fit: bool,
    given: Mapping[str, object],
) -> TrainingAnswer:
    """What fine-tuning needs; `workload` holds what is the same for all estimates, `limit` is the model's longest context.

    `given` are the options as they were given, for what to type next.
    """
    spec = resolved.spec
    assert spec is not None
    recipe = read_recipe(options)
    check_trainable(spec)
    if recipe.has_adapters:
        adapted_groups(spec, recipe.targets)
    names = _precisions(precisions, recipe.method, catalog)
    lengths = _contexts(contexts, limit)
    counts = _batches(options)
    sizer = TrainingSizer(spec, catalog, workload, recipe)
    estimates = tuple(
        sizer.estimate(
            name, msgspec.structs.replace(workload, context_tokens=length, sequences=count), machine
        )
        for length in lengths
        for count in counts
        for name in names
    )  # fmt: skip
    return TrainingAnswer(
        verdict=_verdict(f"{_METHOD_NAMES[recipe.method]} of {resolved.id}", sizer, estimates, machine),
        estimates=estimates,
        fit=_inverse(sizer, names, lengths[0], counts[0], machine) if fit else None,
        warnings=_machine_warnings(machine, estimates),
        next=_next(resolved.ref, recipe, estimates, given, fit=fit),
    )


def _verdict(what: str, sizer: TrainingSizer, estimates: Sequence[Estimate], machine: Machine) -> str:
    """As for running a model; checkpointing is proposed before other hardware, and what is not sized of several devices is said."""
    one = _one_device(machine)
    said = verdict(what, sizer, estimates, one, _checkpointed(sizer, estimates, one))
    if machine.count == 1 or sizer.recipe.method != "full":
        return said
    return f"{said.removesuffix('.')}; one of {machine.count} devices is sized, sharding over them (FSDP, ZeRO) is not."


def _checkpointed(sizer: TrainingSizer, estimates: Sequence[Estimate], machine: Machine) -> str:
    """The longest sequences that checkpointing fits at the best number type that it does; nothing where it is on, or is not enough."""
    if sizer.recipe.checkpointing:
        return ""
    recipe = msgspec.structs.replace(sizer.recipe, checkpointing=True)
    changed = TrainingSizer(sizer.spec, sizer.catalog, sizer.workload, recipe)
    batch = min(found.sequences for found in estimates)
    for name in sorted({found.precision for found in estimates}, key=sizer.bits, reverse=True):
        longest = _longest(changed, name, batch, machine)
        if longest is not None:
            return f"--checkpointing fits at {name.upper()} up to {format_tokens(longest)} tokens"
    return ""


def _longest(sizer: TrainingSizer, precision: str, batch: int, machine: Machine) -> int | None:
    most = sizer.spec.max_context_tokens or MOST_TOKENS
    return largest(lambda tokens: bool(sizer(precision, tokens, batch, machine).fits), most)


def _inverse(sizer: TrainingSizer, names: Sequence[str], tokens: int, batch: int, machine: Machine) -> Fit:
    """The most that fits on one device; what to change is said with the options of training."""
    found = find_inverse(sizer, names, tokens, batch, _one_device(machine))
    each = tuple(
        msgspec.structs.replace(one, cuts=tuple(_in_training(cut) for cut in one.cuts)) for one in found.precisions
    )
    return msgspec.structs.replace(found, precisions=each, cuts=tuple(_in_training(cut) for cut in found.cuts))


def _in_training(cut: Cut) -> Cut:
    return msgspec.structs.replace(cut, option=cut.option.replace("--sequences", "--train-batch"))


_METHOD_NAMES: dict[Method, str] = {
    "full": "Full fine-tuning",
    "lora": "LoRA fine-tuning",
    "qlora": "QLoRA fine-tuning",
}


def read_recipe(options: TrainingOptions) -> Recipe:
    """The recipe that the options ask for; UsageError for a name or value that is none."""
    method = next((known for known in METHODS if known == options.train), None)
    if method is None:
        raise UsageError.unknown("way to train", text(options.train, "--train"), METHODS, where="--train")
    optimiser = text(options.optimizer or "adamw", "--optimizer").casefold()
    if optimiser not in OPTIMISERS:
        raise UsageError.unknown("optimizer", optimiser, OPTIMISERS, where="--optimizer")
    if method == "full" and (options.lora_rank is not None or options.lora_targets is not None):
        raise UsageError(
            "--train full trains every weight and has no adapters",
            where="--lora-rank" if options.lora_rank is not None else "--lora-targets",
            next_command="--train lora",
        )
    rank = DEFAULT_RANK if options.lora_rank is None else whole(options.lora_rank, "--lora-rank", at_most=MOST_RANK)
    targets = tuple(text(name, "--lora-targets") for name in one_or_many(options.lora_targets, "--lora-targets"))
    return Recipe(
        method=method,
        optimiser=optimiser,
        rank=rank,
        targets=targets or DEFAULT_TARGETS,
        checkpointing=options.checkpointing,
    )


def _precisions(asked: Sequence[str], method: Method, catalog: Catalog) -> tuple[str, ...]:
    """The number types asked for, or those shown unasked."""
    known = LAYOUTS[method]
    if not asked:
        return DEFAULT_PRECISIONS[method]
    names = []
    for name in asked:
        wanted = "mixed" if str(name).casefold() == "mixed" else precision_id(name, catalog)
        if wanted not in known:
            other = next((other for other in METHODS if wanted in LAYOUTS[other]), None)
            raise UsageError(
                f"--train {method} is sized at {', '.join(known)}, not at {wanted}",
                where="--precision",
                next_command=f"--train {other} --precision {wanted}" if other else None,
            )
        names.append(wanted)
    return tuple(dict.fromkeys(names))


def _contexts(asked: Sequence[str | int], limit: int | None) -> tuple[int, ...]:
    if asked:
        return tuple(dict.fromkeys(tokens(length, "--context") for length in asked))
    return tuple(length for length in DEFAULT_CONTEXTS if limit is None or length <= limit) or (limit or 1,)


def _batches(options: TrainingOptions) -> tuple[int, ...]:
    asked = one_or_many(options.train_batch, "--train-batch") or (1,)
    return tuple(dict.fromkeys(whole(count, "--train-batch", at_most=MOST_BATCH) for count in asked))


def _machine_warnings(machine: Machine, estimates: Sequence[Estimate]) -> tuple[str, ...]:
    notes = [
        "sequences are taken to be full: padding needs a mask in each layer, which costs memory and the fused kernel"
    ]
    if machine.count > 1:
        copies = max(found.training.gradient_bytes for found in estimates if found.training is not None)
        notes.append(
            f"one of {machine.count} devices is sized, which holds everything; data parallel adds a copy of the gradients "
            f"({copies:,} B at most), and sharding (FSDP, ZeRO) is not sized"
        )
    return tuple(notes)


def _next(
    ref: str, recipe: Recipe, estimates: Sequence[Estimate], given: Mapping[str, object], *, fit: bool
) -> tuple[str, ...]:
    """A lighter recipe where nothing fits, else the inverse."""
    if any(found.fits and found.valid for found in estimates):
        return () if fit else (again(ref, given, "--train", recipe.method, "--fit"),)
    if not recipe.checkpointing:
        return (again(ref, given, "--train", recipe.method, "--checkpointing"),)
    lighter = {"full": "lora", "lora": "qlora"}.get(recipe.method)
    same = dict(given)
    same.pop("--precision", None)  # each recipe has number types of its own
    return (again(ref, same, "--train", lighter),) if lighter else ()
