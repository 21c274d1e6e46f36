"""What the Hub says of a model today: licence, gate, downloads, likes, last change, evaluations. One request a model, kept with its date."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from fmkit.errors import FmkitError, NetworkNeededError, UnsafeInputError
from fmkit.hub.cache import COMMIT
from fmkit.hub.client import HubClient
from fmkit.hub.connection import endpoint, switched_off
from fmkit.hub.refusals import refusal
from fmkit.hub.repository import HUB_ID, check_name
from fmkit.selection.facts import HubEvaluation, HubFacts
from fmkit.whole_files import write_whole

EXPANDED = (
    "sha",
    "gated",
    "disabled",
    "downloads",
    "likes",
    "trendingScore",
    "lastModified",
    "tags",
    "baseModels",
    "evalResults",
)
MAX_BYTES = 4_000_000
MOST_EVALUATIONS = 50
REFRESH_DEADLINE_S = 120.0


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Base(msgspec.Struct, frozen=True):
    id: str


class _Bases(msgspec.Struct, frozen=True):
    models: list[_Base] | None = None


class Described(msgspec.Struct, frozen=True):
    """What the Hub says of a model, in its own names; a list of models has one for each."""

    id: str
    sha: str | None = None
    gated: bool | str | None = None
    disabled: bool | None = None
    downloads: Count | None = None
    likes: Count | None = None
    trendingScore: float | None = None  # noqa: N815  the Hub's name
    lastModified: str | None = None  # noqa: N815
    tags: list[str] | None = None
    baseModels: _Bases | None = None  # noqa: N815
    evalResults: list[Any] | None = None  # noqa: N815
    pipeline_tag: str | None = None

    def tags_after(self, prefix: str) -> tuple[str, ...]:
        """What follows `prefix` in the tags that have it.

        >>> Described(id="a/b", tags=["license:mit", "en"]).tags_after("license:")
        ('mit',)
        """
        return tuple(tag[len(prefix) :] for tag in self.tags or () if tag.startswith(prefix))


def live_facts(
    hub_ids: Sequence[str], *, offline: bool, folder: Path, say: Callable[[str], None] | None = None
) -> dict[str, HubFacts | FmkitError]:
    """What the Hub says of each model; an error in its place where it says no. `say` hears what a person waits for.

    Offline the last answers count, each with the date it was asked on. Raises NetworkNeededError where there is neither.
    """
    if offline or switched_off():
        kept = {hub_id: _load(folder, hub_id) for hub_id in hub_ids}
        if any(facts is None for facts in kept.values()):
            missing = next(hub_id for hub_id, facts in kept.items() if facts is None)
            raise NetworkNeededError(
                f"the Hub was never asked about {missing}, and the network is off",
                where=missing,
                next_command="leave out --offline (and HF_HUB_OFFLINE), or --live",
            )
        return {hub_id: facts for hub_id, facts in kept.items() if facts is not None}
    client = HubClient(REFRESH_DEADLINE_S, say)
    found = client.get_all(lambda hub_id: _ask(client, hub_id), list(hub_ids), "the Hub")
    answers = dict(zip(hub_ids, found, strict=True))
    for hub_id, facts in answers.items():
        if isinstance(facts, HubFacts):
            with suppress(OSError):  # a folder that can't be written to costs time at the next call, and nothing else
                write_whole(folder / kept_name("facts", hub_id), msgspec.msgpack.encode(facts))
    return answers


def _ask(client: HubClient, hub_id: str) -> HubFacts | FmkitError:
    """One model's facts; a refusal is returned, a lost network raised. An older server does not know all we ask for: then without."""
    check_name(hub_id, None)
    expand = "&".join(f"expand={name}" for name in EXPANDED)
    answer = client.get(f"/api/models/{hub_id}?{expand}", limit=MAX_BYTES, where=hub_id)
    if answer.status == 400:
        answer = client.get(f"/api/models/{hub_id}", limit=MAX_BYTES, where=hub_id)
    if answer.status != 200:
        error = refusal(answer, hub_id, None, hub_id)
        if isinstance(error, NetworkNeededError):
            raise error
        return error
    try:
        return facts_of(msgspec.json.decode(answer.body, type=Described))
    except (ValueError, RecursionError) as error:
        return UnsafeInputError(f"the answer is none of a Hub ({str(error)[:120]})", where=hub_id)


def facts_of(found: Described) -> HubFacts:
    """The same as fmkit keeps it, with today's date; names that are none are left out."""
    bases = found.baseModels.models if found.baseModels is not None else None
    return HubFacts(
        hub_id=found.id if HUB_ID.fullmatch(found.id) else "unknown",
        asked_on=today(),
        commit=found.sha if found.sha is not None and COMMIT.fullmatch(found.sha) else None,
        licence=next((tag[:80] for tag in found.tags_after("license:")), None),
        gated=bool(found.gated),
        disabled=bool(found.disabled),
        downloads=found.downloads,
        likes=found.likes,
        trending=found.trendingScore,
        last_change=(found.lastModified or "")[:10] or None,
        base_models=tuple(base.id for base in bases or () if HUB_ID.fullmatch(base.id)),
        evaluations=len(found.evalResults or ()),
        evaluation_results=tuple(
            result for row in (found.evalResults or ())[:MOST_EVALUATIONS] if (result := _evaluation(row)) is not None
        ),
    )


def _evaluation(row: object) -> HubEvaluation | None:
    """A published result; None where its file is invalid, or it is no number on a named dataset."""
    data = row.get("data") if isinstance(row, dict) else None
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(dataset, dict):
        return None
    name, value, source = dataset.get("id"), data.get("value"), data.get("source")
    if (
        not isinstance(name, str)
        or isinstance(value, bool)
        or not isinstance(value, int | float)
        or abs(value) > 10**12
    ):
        return None
    return HubEvaluation(
        dataset=name[:100],
        task=_short_text(dataset.get("task_id")),
        value=float(value),
        date=_short_text(data.get("date")),
        source=_short_text(source.get("url")) if isinstance(source, dict) else None,
    )


def _short_text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def today() -> str:
    """Today's date, UTC."""
    return datetime.fromtimestamp(time.time(), UTC).date().isoformat()


def _load(folder: Path, hub_id: str) -> HubFacts | None:
    try:
        return msgspec.msgpack.decode((folder / kept_name("facts", hub_id)).read_bytes(), type=HubFacts)
    except (OSError, ValueError, RecursionError):
        return None


def kept_name(what: str, hub_id: str) -> str:
    """The file that keeps an answer about a model: one for each Hub and model, whatever characters they have."""
    digest = hashlib.sha256(f"{endpoint()}\n{hub_id.casefold()}".encode()).hexdigest()
    return f"{what}-{digest[:40]}.msgpack"
