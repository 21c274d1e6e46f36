"""What `fmkit catalog licence` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import of_catalog, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from fmkit.results.licence import LicenceResult
    from fmkit.selection.permission import Finding, Intent

WORDS = {"yes": "yes", "conditional": "yes, with conditions", "unknown": "unknown", "no": "no"}
UNVERIFIED = "unverified: its text was not read for this catalog"


def print_licence(result: LicenceResult, console: Console) -> None:
    """Draw the answer, what each licence says to each question, and all conditions."""
    unverified = "" if result.verified else " (unverified)"
    say(
        console,
        f"{result.model or result.ref}: {_question(result.asked)}: {WORDS[result.answer]}{unverified}",
        style="bold",
    )
    for finding in result.findings:
        say(console, finding_text(finding), indent=2)
        for clause in finding.clauses:
            say(console, f"- {clause}", indent=4)
    for text in result.licences:
        base = f", comes with its base {text.inherited_from}" if text.inherited_from else ""
        say(console, f"{text.name} ({text.id}, {text.licence_class}{base})", style="bold")
        for condition in text.conditions:
            say(console, f"- {condition}", indent=2)
        read = UNVERIFIED if text.verification == "recalled" else text.verification.replace("-", " ")
        dated = f", {text.source_date}" if text.source_date else ""
        say(console, f"source of the terms: {text.source}{dated}; {read}", indent=2)
        if text.assignment is not None:
            whose = text.inherited_from or result.model
            say(console, f"source of {whose} being under it: {text.assignment}", indent=2)
    for note in result.notes:
        say(console, f"note: {note}")
    say(
        console,
        "Facts as the catalog has them, no legal advice: read the text itself.",
        style="dim",
    )
    say(console, of_catalog(result.catalog, result.age), style="dim")


def finding_text(finding: Finding) -> str:
    """One finding in a line: question, answer, statement, whose licence it is.

    `use: no: licence mrl does not allow commercial use`
    """
    base = f" (comes with its base {finding.inherited_from})" if finding.inherited_from else ""
    unverified = "" if finding.verified else " (unverified)"
    return f"{finding.question.replace('-', ' ')}: {WORDS[finding.answer]}: {finding.statement}{base}{unverified}"


def findings_lines(findings: Sequence[Finding], assigned: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Findings with their clauses, then the sources of each licence's terms and of its assignment: indent and line."""
    for finding in findings:
        yield 0, finding_text(finding)
        yield from ((2, f"- {clause}") for clause in finding.clauses)
    for one in {finding.licence: finding for finding in findings}.values():
        dated = f", {one.source_date}" if one.source_date else ""
        yield 0, f"{one.licence}: {one.source}{dated}{'' if one.verified else f'; {UNVERIFIED}'}"
        if one.licence in assigned:
            yield 2, f"{one.inherited_from or 'the model'} is under it: {assigned[one.licence]}"


def _question(asked: Intent) -> str:
    parts = [f"{asked.use} use"]
    if asked.region is not None:
        parts.append(f"in {asked.region}")
    if asked.monthly_users is not None:
        parts.append(f"with {asked.monthly_users:,} monthly users")
    if asked.train_on_outputs:
        parts.append("and training on its outputs")
    return " ".join(parts)
