"""Lists of models on the Hub: the first page only, the most downloaded first; links to further pages are not followed."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.hub.client import HubClient
from fmkit.hub.live import Described
from fmkit.hub.refusals import refusal
from fmkit.hub.repository import HUB_ID

LISTED = 100
MAX_LIST_BYTES = 24_000_000
EXPANDED = ("downloads", "likes", "lastModified", "gated", "tags", "pipeline_tag", "trendingScore")


def list_models(client: HubClient, query: Mapping[str, str], where: str) -> list[Described]:
    """The models that `query` (names of the Hub's own parameters) selects, at most a hundred; ids that are none are left out.

    One request, two where the server does not know all that is asked for. Raises NetworkNeededError, UnsafeInputError.
    """
    plain = "/api/models?" + urlencode({**query, "sort": "downloads", "limit": str(LISTED)})
    answer = client.get(f"{plain}&{'&'.join(f'expand={name}' for name in EXPANDED)}", limit=MAX_LIST_BYTES, where=where)
    if answer.status == 400:
        answer = client.get(plain, limit=MAX_LIST_BYTES, where=where)
    if answer.status != 200:
        raise refusal(answer, where, None, where)
    if answer.body.count(b"{") > 200_000 or sum(answer.body.count(mark) for mark in (b",", b"[")) > 1_000_000:
        raise UnsafeInputError("the list of models is longer than any page of the Hub", where=where)
    try:
        rows = msgspec.json.decode(answer.body, type=list[Described])
    except (ValueError, RecursionError) as error:
        raise UnsafeInputError(f"the answer is no list of models ({str(error)[:120]})", where=where) from None
    return [row for row in rows[:LISTED] if HUB_ID.fullmatch(row.id) and ".." not in row.id]
