"""What `fmkit vram` says of a model that only an API offers: no weights to size, but a context and a price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.results.vram import ApiFacts, ModelSummary, VramResult

if TYPE_CHECKING:
    from fmkit.api.resolve import ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.selection.facts import ApiTerms


def closed_answer(resolved: ResolvedModel, catalog: Catalog) -> VramResult:
    """The plain answer for a closed model."""
    candidate = resolved.candidate
    assert candidate is not None
    terms = candidate.api
    assert terms is not None
    return VramResult(
        fmkit=__version__,
        catalog=catalog.date,
        model=ModelSummary(
            ref=resolved.ref,
            hub_id=None,
            revision=None,
            architecture="closed",
            kind="api",
            params=None,
            active_params=None,
            max_context_tokens=candidate.context_tokens,
            licence=candidate.licence,
        ),
        machine=None,
        verdict=_verdict(resolved.id, terms, candidate.context_tokens),
        estimates=(),
        api=ApiFacts(
            provider=terms.provider,
            input_usd_per_1m=terms.input_usd_per_1m,
            output_usd_per_1m=terms.output_usd_per_1m,
            cached_input_usd_per_1m=terms.cached_input_usd_per_1m,
            context_tokens=candidate.context_tokens,
            max_output_tokens=terms.max_output_tokens,
            status=terms.status,
            source=candidate.sources.get("prices", "unknown"),
            price_date=terms.price_date,
        ),
    )


def _verdict(name: str, terms: ApiTerms, context_tokens: int | None) -> str:
    price = (
        f"USD {terms.input_usd_per_1m:g} in and {terms.output_usd_per_1m:g} out per 1M tokens ({terms.price_date})"
        if terms.input_usd_per_1m is not None and terms.output_usd_per_1m is not None
        else "price unknown"
    )
    context = f"{context_tokens:,} tokens of context" if context_tokens else "context unknown"
    verdict = f"{name} has no weights to size: {terms.provider} offers it as an API only; {price}, {context}."
    if terms.status == "current":
        return verdict
    successor = f"; its successor is {terms.successor}" if terms.successor else ""
    return f"{verdict} It is {terms.status}{successor}."
