"""Today's facts of the Hub laid over the catalog: on what `recommend --live` proposes, and for all models by `catalog refresh`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.catalog.load import load_catalog
from fmkit.errors import FmkitError
from fmkit.results.catalog import RefreshResult, RefreshRow
from fmkit.results.recommend import QuantisedVariant
from fmkit.selection.facts import HubFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.hub.variants import BestVariants
    from fmkit.results.recommend import Pick, RecommendResult
    from fmkit.selection.facts import Licence


def with_live(
    result: RecommendResult, *, offline: bool = False, progress: Callable[[str], None] | None = None
) -> RecommendResult:
    """The recommendation with what the Hub says today of each pick, quantised copies included.

    The order stays: it rests on evidence that the Hub does not give.
    """
    catalog = load_catalog()
    asked = [pick.hub_id for pick in result.picks if pick.hub_id is not None and pick.live is None]
    if progress is not None and not offline:
        progress("asking the Hub about what is proposed ...")
    known = _ask(asked, offline=offline, say=progress) if asked else {}
    picks = [_laid_over(pick, known.get(pick.hub_id or ""), catalog) for pick in result.picks]
    live = [pick.live.hub_id for pick in picks if pick.live is not None]
    copies = _ask_for_copies(live, offline=offline, say=progress)
    return msgspec.structs.replace(result, picks=tuple(_with_copies(pick, copies) for pick in picks))


def refresh(models: Sequence[str] = (), *, progress: Callable[[str], None] | None = None) -> RefreshResult:
    """Ask the Hub about these models of the catalog (default: all it has open weights of), keep the answers, and say what differs.

    Raises UsageError for an unknown model, NetworkNeededError without a network; a refusal is a row.
    """
    catalog = load_catalog()
    ids = [catalog.model(name).candidate.id for name in models]
    chosen = [one for one in catalog.candidates() if one.hub_id is not None and (not models or one.id in ids)]
    known = _ask([one.hub_id for one in chosen if one.hub_id is not None], offline=False, say=progress)
    rows = tuple(_row(one.id, one.hub_id or "", one.licence, known[one.hub_id or ""], catalog) for one in chosen)
    return RefreshResult(fmkit=__version__, catalog=catalog.date, models=rows)


def _ask(
    hub_ids: Sequence[str], *, offline: bool, say: Callable[[str], None] | None = None
) -> dict[str, HubFacts | FmkitError]:
    from fmkit.catalog.paths import cache_folder  # noqa: PLC0415
    from fmkit.hub.live import live_facts  # noqa: PLC0415  the network client only when the Hub is asked

    return live_facts(tuple(dict.fromkeys(hub_ids)), offline=offline, folder=cache_folder() / "hub", say=say)


def _ask_for_copies(
    hub_ids: Sequence[str], *, offline: bool, say: Callable[[str], None] | None = None
) -> dict[str, BestVariants | FmkitError | None]:
    from fmkit.catalog.paths import cache_folder  # noqa: PLC0415
    from fmkit.hub.variants import best_variants  # noqa: PLC0415  the network client only when the Hub is asked

    return best_variants(tuple(dict.fromkeys(hub_ids)), offline=offline, folder=cache_folder() / "hub", say=say)


def _with_copies(pick: Pick, copies: Mapping[str, BestVariants | FmkitError | None]) -> Pick:
    if pick.live is None:
        return pick
    found = copies[pick.live.hub_id]
    if found is None or isinstance(found, FmkitError):
        why = found.message if found is not None else "the Hub was never asked about them, and the network is off"
        return msgspec.structs.replace(pick, warnings=(*pick.warnings, f"quantised copies unknown: {why}"))
    publisher = pick.live.hub_id.partition("/")[0]
    rows = tuple(
        QuantisedVariant(
            hub_id=row.hub_id,
            publisher=row.hub_id.partition("/")[0],
            official=row.hub_id.partition("/")[0] == publisher,
            method=row.method,
            label=row.label,
            bytes=row.bytes,
            downloads=row.downloads,
            gated=row.gated,
            last_change=row.last_change,
        )
        for row in found.rows
    )
    return msgspec.structs.replace(pick, variants=rows)


def _laid_over(pick: Pick, found: HubFacts | FmkitError | None, catalog: Catalog) -> Pick:
    if found is None:
        return pick
    if not isinstance(found, HubFacts):
        return msgspec.structs.replace(pick, warnings=(*pick.warnings, f"the Hub: {found.message}"))
    differs = differences(found, pick.hub_id or "", pick.licence.id, catalog.licences)
    warnings = (*pick.warnings, *(f"the Hub, asked on {found.asked_on}: {text}" for text in differs))
    return msgspec.structs.replace(pick, live=found, warnings=warnings)


def _row(model: str, hub_id: str, licence: str, found: HubFacts | FmkitError, catalog: Catalog) -> RefreshRow:
    if isinstance(found, HubFacts):
        return RefreshRow(
            id=model, hub_id=hub_id, facts=found, differences=differences(found, hub_id, licence, catalog.licences)
        )
    return RefreshRow(id=model, hub_id=hub_id, facts=None, differences=(found.message,), exit_code=int(found.exit_code))


def differences(found: HubFacts, hub_id: str, licence: str, licences: Mapping[str, Licence]) -> tuple[str, ...]:
    """Where the Hub contradicts the catalog, or what a user has to know before a download.

    A licence tag that the catalog does not know, or that leaves it open (`other`), contradicts nothing.
    """
    texts = []
    tagged = licence_id(found.licence, licences)
    if tagged is not None and tagged not in (licence, "other", "unknown"):
        texts.append(f"licence {found.licence}, the catalog has {licence}")
    if found.disabled:
        texts.append("disabled")
    if found.gated:
        texts.append("gated, access has to be asked for")
    if found.hub_id != hub_id:
        texts.append(f"now called {found.hub_id}")
    return tuple(texts)


def licence_id(tag: str | None, licences: Mapping[str, Licence]) -> str | None:
    """The catalog's id of a licence tag; None where it has none."""
    return next(
        (key for key, found in licences.items() if tag is not None and tag.casefold() in (key, *found.aliases)), None
    )
