"""What `fmkit catalog show` says of one model: facts, capability, licence, scores; with `--sources` where each was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fmkit.report.common import of_catalog, print_next, print_table, say
from fmkit.report.licence import findings_lines
from fmkit.report.scores import first_of_each, interval, short_score
from fmkit.selection.facts import CHINCHILLA_TOKENS_PER_PARAM, Traits
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.capability import TaskCapability
    from fmkit.results.catalog import ModelResult
    from fmkit.selection.facts import Candidate

SHOWN_APART = frozenset({"scores", "sources", "notes", "id", "traits"})
READ_FROM_CONFIG = frozenset(
    {"spec_kind", "params", "active_params", "embedding_dim", "context_tokens", "inputs", "outputs"}
)
"""Facts that are counted or read from config.json, what goes in and out with its class, where the entry names no source of its own."""
LABELS = {"active_params": "active params, embedding included"}
"""Names that say more than the key's words."""
PRICES = frozenset(
    {"input_usd_per_1m", "cached_input_usd_per_1m", "output_usd_per_1m", "price_date", "max_output_tokens"}
)
FEW_SCORES = 4


class FactLine(NamedTuple):
    """One fact and where it was read."""

    name: str
    value: str
    source: str


def print_model(result: ModelResult, console: Console, *, sources: bool = False) -> None:
    """Draw everything known of one model; with `sources` each fact with its own."""
    say(console, result.facts.id, style="bold")
    lines = list(_facts(result))
    if sources:
        print_table(console, ["fact", "value", "source"], lines, indent=2)
    else:
        print_table(console, ["", ""], [[line.name, line.value] for line in lines], indent=2)
    _print_licence(result, console)
    _print_capability(result, console)
    _print_scores(result, console)
    if not sources:
        say(console, "Sources", style="bold")
        for key, source in result.facts.sources.items():
            say(console, f"{key}: {source}", indent=2)
    for note in (*result.facts.notes, *result.notes):
        say(console, f"note: {note}")
    say(console, of_catalog(result.catalog, result.age), style="dim")
    print_next(result.next, console)


def _print_licence(result: ModelResult, console: Console) -> None:
    say(console, "Licence", style="bold")
    for indent, line in findings_lines(result.permission, result.assignments):
        say(console, line, indent=2 + indent)


def _print_capability(result: ModelResult, console: Console) -> None:
    """By task, then what single abilities were tested by."""
    if result.capabilities:
        say(console, "Capability, 0 to 1 among the catalog's models, with its 80 % interval", style="bold")
        print_table(console, ["", "", ""], [list(_capability(one)) for one in result.capabilities], whole=[1], indent=2)
    if any(result.evidence.values()):
        say(console, "Evidence by ability (! reported by a vendor)", style="bold")
        rows = [
            [kind, "; ".join(map(short_score, first_of_each(scores, FEW_SCORES))) or "none"]
            for kind, scores in result.evidence.items()
        ]
        print_table(console, ["", ""], rows, indent=2)


def _capability(one: TaskCapability) -> tuple[str, str, str]:
    if one.value is None or one.low is None or one.high is None:
        return one.task, one.basis, one.reason or ""
    estimated = "" if not one.estimated else f"estimated: {', '.join(e.benchmark for e in one.estimated)}"
    measured = "" if not one.measured else f"on {', '.join(one.measured)}"
    return (
        one.task,
        interval(one.value, one.low, one.high),
        "; ".join(filter(None, (f"{one.basis} {measured}".strip(), estimated))),
    )


def _print_scores(result: ModelResult, console: Console) -> None:
    if not result.facts.scores:
        return
    say(console, "Scores", style="bold")
    for score in result.facts.scores:
        variant = f" ({score.variant})" if score.variant else ""
        say(console, f"{score.benchmark}{variant}: {score.score:g} {score.unit}, {score.reported_by}", indent=2)
        say(console, f"{score.source}, {score.source_date}", indent=4)


def _facts(result: ModelResult) -> Iterator[FactLine]:
    facts = result.facts
    for name in facts.__struct_fields__:
        value = getattr(facts, name)
        if name in SHOWN_APART or value is None or value in ((), "", False):
            continue
        if name == "api":
            yield from _terms(result)
        elif name == "training_tokens":
            yield FactLine("training tokens", _training(facts), source_of(name, result))
        elif name == "further_training_tokens":
            yield FactLine("further training tokens", _further_training(facts), source_of(name, result))
        else:
            source = source_of(name, result)
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            shown += " (assumed)" if source.startswith("assumed ") else ""
            yield FactLine(LABELS.get(name, name.replace("_", " ")), shown, source)
    yield from _about_architecture(result)


def _about_architecture(result: ModelResult) -> Iterator[FactLine]:
    facts = result.facts
    if result.effective_context is not None:
        found = result.effective_context
        length = f"{format_tokens(round(found.score))} tokens (RULER, {found.variant}){_beyond(found.score, facts)}"
        yield FactLine("effective context", length, f"{found.source}, {found.source_date}, {found.reported_by}")
    if result.architecture:
        yield FactLine("architecture", result.architecture, _config(result))
    for name in Traits.__struct_fields__ if facts.traits is not None else ():
        value = getattr(facts.traits, name)
        if value:
            yield FactLine(name.replace("_", " "), str(value), _config(result))
    if result.config_file:
        shown = f"{result.config_file}, {result.config_confidence}, from {result.config_source}"
        yield FactLine("config.json", shown, result.config_source or "")
    if result.config_fault:
        yield FactLine("not sized", result.config_fault, _config(result))


def _beyond(effective_tokens: float, facts: Candidate) -> str:
    """Why an effective context is longer than the advertised one: it was measured with scaled positions."""
    if facts.context_tokens is None or effective_tokens <= facts.context_tokens:
        return ""
    if facts.extended_context_tokens is None:
        return f"; beyond the {format_tokens(facts.context_tokens)} of its file"
    return f"; measured with the extended context of {format_tokens(facts.extended_context_tokens)}"


def source_of(name: str, result: ModelResult) -> str:
    """Where a fact was read: what the entry says, else config.json for what is counted from it, else the catalog's own entry."""
    facts = result.facts
    said = facts.sources.get(name)
    if said is not None:
        return said
    if name in READ_FROM_CONFIG and result.config_file:
        return _config(result)
    if name == "hub_id":
        return f"https://huggingface.co/{facts.hub_id}"
    folder = "families" if facts.api is None else "api"
    return f"the catalog's entry, {folder}/{facts.family}.yaml"


def _config(result: ModelResult) -> str:
    return f"configs/{result.config_file}" if result.config_file else ""


def _training(facts: Candidate) -> str:
    """The published count, and beside it what would be cheapest to train; of a mixture by all parameters and by the active ones."""
    ratio, active = facts.tokens_per_param, facts.tokens_per_active_param
    if ratio is None:
        return f"{facts.training_tokens:,}"
    if active is None:
        return f"{facts.training_tokens:,}, {ratio:,.0f} per parameter (Chinchilla: {CHINCHILLA_TOKENS_PER_PARAM})"
    return (
        f"{facts.training_tokens:,}, {ratio:,.0f} per parameter of all experts, {active:,.0f} per active one "
        f"(Chinchilla, without experts: {CHINCHILLA_TOKENS_PER_PARAM})"
    )


def _further_training(facts: Candidate) -> str:
    """What was added to another model's tokens, and whether those are in the count above."""
    rest = "counted in" if facts.training_tokens is not None else "whose own count is not known"
    return f"{facts.further_training_tokens:,} on top of its base's, {rest}"


def _terms(result: ModelResult) -> Iterator[FactLine]:
    terms = result.facts.api
    for name in terms.__struct_fields__ if terms is not None else ():
        value = getattr(terms, name)
        if value is not None:
            yield FactLine(name.replace("_", " "), str(value), source_of("prices" if name in PRICES else name, result))
