"""Contexts: what an entry states against its configuration, a published table, its source and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fmkit.catalog.checks.arithmetic import says_number
from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.links import OpenModel
    from fmkit.model.spec import ModelSpec

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
_LONGEST_STRETCH = 16
"""A publisher's context beyond this many times its own config.json is a mistake: Command R7B states 16 times, Qwen3-2507 6.4."""

_BEFORE_SCALING = frozenset({"yarn", "dynamic"})
_BASE_FACTOR = 4
"""Tuning stretches the positions in config.json up to this: more, and one of the two files is of another model."""

_PADDING_POSITIONS = 2
_ROUNDED = 1.05
"""A thousand of 1,000 for one of 1,024, up to a million."""

_EFFECTIVE = "ruler-effective-context"


def stated(facts: Facts) -> Iterator[Fault]:
    """A context that neither configuration nor published table nor the words of its source bear out.

    Three witnesses may vouch for it: config.json, its positions or what RoPE scaling makes of them; the published table; a source
    that writes the figure (`README.md (128K)`).
    """
    for model_id, model in facts.links.open_models.items():
        tokens, spec = model.entry.context_tokens, facts.spec(model_id)
        if tokens is None or spec is None or spec.max_context_tokens is None:
            continue
        file, limit = str(facts.links.config_file(model_id)), spec.max_context_tokens
        if tokens in {limit, limit - _PADDING_POSITIONS}:
            continue
        place, row = model.place(model_id, "context_tokens"), facts.sources.published.of(model.entry)
        if spec.context_is_hard and tokens > limit:
            yield Fault(*place, f"{tokens} is beyond the {limit} positions that configs/{file} has embeddings for")
        elif model.entry.config is not None and tokens > _LONGEST_STRETCH * limit:
            yield Fault(*place, f"{tokens} is more than {_LONGEST_STRETCH} times the {limit} of configs/{file}")
        elif row is not None and row.context_tokens == tokens:
            continue
        elif 1 / _ROUNDED <= tokens / limit <= _ROUNDED:
            yield Fault(*place, f"{tokens} looks like the {limit} of configs/{file}, rounded: 128K of tokens is 131072")
        elif not _vouched(facts, model, tokens, spec, file):
            message = (
                f"{tokens} is not the {limit} of configs/{file}, nor what its RoPE scaling gives, nor in the published table, and the source does not "
                "write it: correct it, or give sources.context_tokens with the figure"
            )
            yield Fault(*place, message)


def _vouched(facts: Facts, model: OpenModel, tokens: int, spec: ModelSpec, file: str) -> bool:
    source = model.entry.sources.get("context_tokens", model.family.sources.get("context_tokens", ""))
    scaled = scaled_limits(facts.sources.read_config(file), spec.max_context_tokens)
    return says_number(source, tokens) or tokens in scaled


class Scaling(NamedTuple):
    """RoPE scaling of a configuration: by which factor, and from which positions where it says so."""

    kind: str
    factor: float
    original: int | None


def scalings(config: Mapping[str, Any]) -> list[Scaling]:
    """Every RoPE scaling with a factor in the text part of a configuration; some have one for each kind of layer."""
    text = next((config[part] for part in _TEXT_PARTS if isinstance(config.get(part), dict)), config)
    whole = text.get("rope_scaling") or text.get("rope_parameters")
    if not isinstance(whole, dict):
        return []
    found: list[Scaling] = []
    for part in (whole, *(part for part in whole.values() if isinstance(part, dict))):
        factor = part.get("factor")
        original = part.get("original_max_position_embeddings") or text.get("original_max_position_embeddings")
        if isinstance(factor, int | float):
            kind = str(part.get("rope_type") or part.get("type"))
            found.append(Scaling(kind, float(factor), original if isinstance(original, int) else None))
    return found


def scaled_limits(config: Mapping[str, Any], limit: int | None) -> set[int]:
    """What RoPE scaling makes of a configuration's positions, where they are those before it.

    Only YaRN and dynamic scaling may be written so; the positions of Llama 3's, LongRoPE's and linear scaling are those it was
    already applied to: 131072 x 8 is no context of Llama 3.1.

    >>> yarn = {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8192}
    >>> llama = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}
    >>> scaled_limits({"rope_scaling": yarn}, 32768), scaled_limits({"rope_scaling": llama}, 131072)
    ({131072}, set())
    """
    return {
        round((scaling.original or limit) * scaling.factor)
        for scaling in scalings(config)
        if scaling.kind in _BEFORE_SCALING and limit is not None
    }


def stretched(facts: Facts) -> Iterator[Fault]:
    """YaRN that does not lead from the trained positions to the stated ones."""
    for model_id, model in facts.links.open_models.items():
        file, spec = model.entry.config, facts.spec(model_id)
        if file is None or spec is None or spec.max_context_tokens is None:
            continue
        for scaling in scalings(facts.sources.read_config(file)):
            if scaling.kind != "yarn" or scaling.original is None:
                continue
            reached = round(scaling.original * scaling.factor)
            if spec.max_context_tokens not in {scaling.original, reached} and facts.context_tokens(model_id) != reached:
                message = (
                    f"{spec.max_context_tokens} positions, but YaRN leads from {scaling.original} to {reached} (factor {scaling.factor:g}): "
                    "look the file up, or state context_tokens with its source"
                )
                yield Fault(f"configs/{file}", "$.max_position_embeddings", message)


def bases(facts: Facts) -> Iterator[Fault]:
    """Positions in a configuration far beyond those of the base's, where no entry states another context."""
    for model_id, model in facts.links.open_models.items():
        base = facts.links.open_models.get(model.entry.base_model or "")
        if base is None or model.entry.context_tokens or base.entry.context_tokens or not model.entry.config:
            continue
        ours, theirs = facts.context_tokens(model_id), facts.context_tokens(model.entry.base_model or "")
        if ours and theirs and ours > _BASE_FACTOR * theirs:
            message = (
                f"{ours} positions in configs/{model.entry.config}, its base {model.entry.base_model} has {theirs}: look the file up, "
                "or state context_tokens with its source"
            )
            yield Fault(*model.place(model_id, "config"), message)


def lengths(facts: Facts) -> Iterator[Fault]:
    """A trained length above the context, or an extended one below it or that its source does not write."""
    for model_id, model in facts.links.open_models.items():
        entry, tokens = model.entry, facts.context_tokens(model_id)
        native, extended = entry.native_context_tokens, entry.extended_context_tokens
        if tokens is not None and native is not None and native > tokens:
            place = model.place(model_id, "native_context_tokens")
            yield Fault(*place, f"trained on {native}, but its context is {tokens}: correct the one or the other")
        if extended is None:
            continue
        place = model.place(model_id, "extended_context_tokens")
        source = {**model.family.sources, **entry.sources}.get("extended_context_tokens", "")
        if tokens is not None and extended < tokens:
            yield Fault(
                *place, f"extended to {extended}, but its context is {tokens} without: correct the one or the other"
            )
        elif not says_number(source, extended):
            yield Fault(*place, f"{extended} is not in its source: write it there (131072 or 128K)")


def effective(facts: Facts) -> Iterator[Fault]:
    """A context that a model was measured to use above the longest that it is sold with, scaled positions included."""
    for line, row in facts.sources.scores.get(_EFFECTIVE, ()):
        model = facts.links.open_models.get(row.model)
        extended = None if model is None else model.entry.extended_context_tokens
        advertised = extended or facts.context_tokens(row.model)
        if advertised is not None and row.score > advertised:
            message = (
                f"{row.model} uses {row.score:,.0f} tokens well, but its context is {advertised:,}: correct the one or the other, "
                "or state extended_context_tokens"
            )
            yield Fault(f"scores/{_EFFECTIVE}.csv", f"line {line}, score", message)


RULES = (stated, stretched, bases, lengths, effective)
