"""Licences, contexts and parameters against the published table in catalog/published/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmkit.catalog.checks.arithmetic import says_number
from fmkit.catalog.checks.contexts import scalings
from fmkit.catalog.faults import Fault
from fmkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmkit.catalog.checks.facts import Facts
    from fmkit.model.spec import ModelSpec

_HINT = "correct the entry, or say in published/doubtful.csv what is wrong with the table"
_OWN_HINT = "correct the entry, or give it a `hub_id` of your own"
_PADDING_POSITIONS = 2
_PARAMS_FACTOR = 1.4
"""The table counts tied heads twice, 1.36 times the whole in Pythia 70M; farther apart one of the two is of another model."""


def licences(facts: Facts) -> Iterator[Fault]:
    """A licence that is not the one the table has for the repository, nor a user's own."""
    published, known = facts.sources.published, facts.sources.licences.licences
    for model_id, model in facts.judged_models():
        tag, ours = published.licence_tag(model.entry), model.entry.licence or model.family.licence
        entry = known.get(ours)
        if tag is None or entry is None or tag in {ours, *entry.aliases} or ours in published.tags.get(tag, ()):
            continue
        if facts.sources.own is not None and ours in facts.sources.own.licences.licences:
            continue  # terms of their own are for a user to state
        place = model.place(model_id, "licence") if model.entry.licence else (model.place(model_id, "")[0], "$.licence")
        message = f"{model_id} is under {ours!r} here, the published table says {tag!r} of {model.entry.hub_id}: {_hint(facts)}"
        yield Fault(*place, message)


def contexts(facts: Facts) -> Iterator[Fault]:
    """A context that is neither the table's nor a multiple by RoPE scaling of the other, and that its source does not write."""
    for model_id, model in facts.judged_models():
        tokens, table = facts.context_tokens(model_id), facts.sources.published.context_tokens(model.entry)
        spec, file = facts.spec(model_id), facts.links.config_file(model_id)
        if tokens is None or table in {None, tokens, tokens + _PADDING_POSITIONS} or spec is None or file is None:
            continue
        source = model.entry.sources.get("context_tokens", model.family.sources.get("context_tokens", ""))
        if says_number(source, tokens) or table in _multiplied(facts.sources.read_config(file), spec):
            continue
        key, what = ("context_tokens", "here") if model.entry.context_tokens else ("config", f"in configs/{file}")
        message = (
            f"a context of {tokens} {what}, the published table says {table} of {model.entry.hub_id}: {_hint(facts)}"
        )
        yield Fault(*model.place(model_id, key), message)


def _hint(facts: Facts) -> str:
    return _HINT if facts.sources.own is None else _OWN_HINT


def _multiplied(config: Mapping[str, Any], spec: ModelSpec) -> set[int]:
    """The table multiplies positions by factors of RoPE scaling that they were already applied to, Llama 3's left out."""
    factors = {scaling.factor for scaling in scalings(config) if scaling.kind != "llama3"}
    return {round(factor * (spec.max_context_tokens or 0)) for factor in factors}


def parameters(facts: Facts) -> Iterator[Fault]:
    """Parameters of the configuration far from the table's."""
    published = facts.sources.published
    for model_id, model in facts.judged_models():
        row, spec = published.of(model.entry), facts.spec(model_id)
        if row is None or not row.params or spec is None or (row.hub_id, "params") in published.doubtful:
            continue
        if not 1 / _PARAMS_FACTOR <= spec.params / row.params <= _PARAMS_FACTOR:
            key = "config" if model.entry.config else "config_of"
            message = f"its configuration has {format_count(spec.params)} parameters, the published table says {format_count(row.params)}: {_hint(facts)}"
            yield Fault(*model.place(model_id, key), message)


RULES = (licences, contexts, parameters)
