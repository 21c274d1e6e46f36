"""Open models: parameters, inputs and training tokens against configuration, name, base and family."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault
from fmkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.links import OpenModel
    from fmkit.catalog.schema import ModelEntry
    from fmkit.model.spec import ModelSpec

_SIZE_IN_NAME = re.compile(r"(?<![a-z0-9.])(\d+(?:[._]\d+)?)(b|m)(?![a-z0-9])")
_NAME_FACTOR = 2.0
"""A model's parameters are within this factor of the sizes in its name: 1B is 1.67B in Falcon 3, 0.1B is 0.19B in RWKV-7."""

_BASE_FACTOR = 1.3
"""A model is of its base's size, but for a vocabulary grown or cut and heads left out."""

_TOWER_PARAMS = 7_000_000_000
"""What a base that only reads text can have been given to see and hear; the largest vision tower in use is InternViT-6B."""

_CUT_DOWN = re.compile(r"distil|prun|turbo|merg|layers of|first \w+ layers", re.IGNORECASE)
"""Words that say that a model is not of its base's size, in its name, notes or the source of its base."""

_TOKENS_PER_PARAM = (2.0, 150_000.0)
"""From OPT-30B's 6 to Qwen3 0.6B's 60,000 tokens for each parameter, and some way beyond."""

_MOST_TOKENS = {2022: 3e12, 2023: 7e12, 2024: 3e13}
"""Twice what the most thoroughly trained models had seen by the end of a year: 1.5 trillion tokens, 3.5 (Falcon 180B), 18 (Qwen2.5)."""

_FAMILY_FACTOR = 8.0
"""Sizes of one family saw amounts of text within this factor of their median: 2 to 14 trillion in Gemma 3."""

_MEMBERS = 3

_PUBLISHED_ROUNDING = 0.02
"""How far a count may be from the publisher's where INDEX.csv calls them equal."""

_SEES_OR_HEARS = {"vision-language": "image", "clip": "image", "speech": "audio"}
"""What the kinds of architecture with a tower for it take in."""


def sizes_in_names(facts: Facts) -> Iterator[Fault]:
    """Parameters of the configuration that are not those in the model's name."""
    for model_id, model in facts.links.open_models.items():
        spec, named = facts.spec(model_id), size_in_name(model_id)
        if spec is None or named is None:
            continue
        mixture = spec.active_params < spec.params
        if named / _NAME_FACTOR <= spec.params and (mixture or spec.params <= named * _NAME_FACTOR):
            continue
        file = facts.links.config_file(model_id)
        message = f"configs/{file} has {format_count(spec.params)} parameters, the name says {format_count(named)}"
        yield Fault(*model.place(model_id, "config" if model.entry.config else "config_of"), message)


def size_in_name(model_id: str) -> float | None:
    """The parameters that a name gives, those of several parts added up (`t5gemma-2b-2b`); None where it gives none.

    >>> size_in_name("llama-3.1-8b-instruct"), size_in_name("t5gemma-2b-2b-ul2"), size_in_name("gpt2")
    (8000000000.0, 4000000000.0, None)
    """
    sizes = [float(n.replace("_", ".")) * (1e9 if unit == "b" else 1e6) for n, unit in _SIZE_IN_NAME.findall(model_id)]
    return sum(sizes) or None


def counts(facts: Facts) -> Iterator[Fault]:
    """Counts in INDEX.csv that are not the configuration's, or not each other."""
    for file, row in facts.sources.configs.items():
        counted, published = row.params_meta, row.params_published
        if row.match != "y" or counted is None:
            continue
        if published and abs(counted / published - 1) > _PUBLISHED_ROUNDING:
            message = f"{counted:,} parameters counted, {published:,} published; a difference is `y-explained` or `n`"
            yield Fault("configs/INDEX.csv", file, message)
        spec = facts.specs.get(file)
        if spec is not None and spec.params != counted:
            message = f"{spec.params:,} parameters read, {counted:,} counted (INDEX.csv says they match)"
            yield Fault(f"configs/{file}", "$", message)


def bases(facts: Facts) -> Iterator[Fault]:
    """A base that came later, or is of another size than what was made of it."""
    for model_id, model in facts.links.open_models.items():
        base_id = model.entry.base_model or ""
        base = facts.links.open_models.get(base_id)
        if base is None:
            continue
        released, before = model.entry.released, base.entry.released
        if released is not None and before is not None and released[:4] < before[:4]:
            yield Fault(*model.place(model_id, "released"), f"released {released}, but its base {base_id} {before}")
        spec, base_spec = facts.spec(model_id), facts.spec(base_id)
        if spec is None or base_spec is None or _may_differ(model, base, spec, base_spec):
            continue
        message = (
            f"{format_count(spec.params)} parameters, but its base {base_id} has {format_count(base_spec.params)}: name the base of its size, "
            "or say in notes that it was distilled or pruned"
        )
        yield Fault(*model.place(model_id, "base_model"), message)


def _may_differ(model: OpenModel, base: OpenModel, spec: ModelSpec, base_spec: ModelSpec) -> bool:
    entry = model.entry
    ratio = spec.params / base_spec.params
    if 1 / _BASE_FACTOR <= ratio <= _BASE_FACTOR:
        return True
    inputs = set(entry.inputs or model.family.inputs), set(base.entry.inputs or base.family.inputs)
    if inputs[0] - inputs[1] and 0 < spec.params - base_spec.params <= _TOWER_PARAMS:
        return True
    return ratio < 1 and _is_cut_down(entry)


def _is_cut_down(entry: ModelEntry) -> bool:
    """Whether something says that a model is smaller than its base, or was taught by it."""
    return _CUT_DOWN.search(" ".join((entry.hub_id, *entry.notes, entry.sources.get("base_model", "")))) is not None


def inputs(facts: Facts) -> Iterator[Fault]:
    """An architecture that reads images or hears, of an entry that does not."""
    for model_id, model in facts.links.open_models.items():
        spec = facts.spec(model_id)
        needed = None if spec is None else _SEES_OR_HEARS.get(spec.kind)
        stated = model.entry.inputs or model.family.inputs
        if spec is None or needed is None or needed in stated:
            continue
        place = model.place(model_id, "inputs") if model.entry.inputs else (model.place(model_id, "")[0], "$.inputs")
        message = f"{', '.join(stated)} without {needed}, but {model_id} is of the kind {spec.kind}: add it, or name the configuration of the text part"
        yield Fault(*place, message)


def training_tokens(facts: Facts) -> Iterator[Fault]:
    """Training tokens that no model of that size saw, that a base saw more of, or that are far from the rest of the family."""
    by_family: dict[str, list[tuple[str, OpenModel, int]]] = defaultdict(list)
    for model_id, model in facts.links.open_models.items():
        tokens, spec = facts.training_tokens(model_id), facts.spec(model_id)
        if tokens is None or _tokens_key(model) is None:
            continue
        by_family[model.family_id].append((model_id, model, tokens))
        place = _tokens_place(model, model_id)
        low, high = _TOKENS_PER_PARAM
        if spec is not None and not low <= tokens / spec.params <= high:
            message = (
                f"{tokens:,} tokens are {tokens / spec.params:,.2g} for each of {format_count(spec.params)} parameters ({model_id}), "
                f"expected {low:g} to {high:,.0f}: count the digits"
            )
            yield Fault(*place, message)
        most = _MOST_TOKENS.get(max(int((model.entry.released or "9999")[:4]), min(_MOST_TOKENS)))
        if most is not None and tokens > most:
            message = f"{tokens:,} tokens, of a model of {model.entry.released} ({model_id}): nobody had trained on {most:,.0f} by then"
            yield Fault(*place, message)
    for members in by_family.values():
        known = {model_id: tokens for model_id, _, tokens in members}
        for model_id, model, tokens in members:
            base_id = model.entry.base_model or ""
            before = facts.training_tokens(base_id) if base_id in facts.links.open_models else None
            others = [other for name, other in known.items() if name != model_id]
            if before is not None and tokens < before and not _is_cut_down(model.entry):
                message = f"{tokens:,} tokens, but its base {base_id} saw {before:,}: what was added to them are further_training_tokens"
                yield Fault(*_tokens_place(model, model_id), message)
            elif len(others) >= _MEMBERS and not 1 / _FAMILY_FACTOR <= tokens / median(others) <= _FAMILY_FACTOR:
                message = f"{tokens:,} tokens, while the median of the family's others is {median(others):,.0f}: count the digits"
                yield Fault(*_tokens_place(model, model_id), message)


def _tokens_key(model: OpenModel) -> str | None:
    """The key by which a model or its family states what it saw; None where that is its base's."""
    if model.entry.further_training_tokens is not None and model.entry.training_tokens is None:
        return "further_training_tokens"
    stated = model.entry.training_tokens or model.family.training_tokens
    return None if stated is None else "training_tokens"


def _tokens_place(model: OpenModel, model_id: str) -> tuple[str, str]:
    """Where the tokens are stated: at the model, or at its family."""
    key = _tokens_key(model) or ""
    file, path = model.place(model_id, key)
    return (file, path) if getattr(model.entry, key, None) is not None else (file, "$.training_tokens")


RULES = (sizes_in_names, counts, bases, inputs, training_tokens)
