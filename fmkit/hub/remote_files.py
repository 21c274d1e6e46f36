"""The files of one repository of the Hub at one commit: documents whole, weights in parts, several at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fmkit.errors import ModelNotFoundError, UnsafeInputError
from fmkit.hub.answer import Answer
from fmkit.hub.client import HubClient
from fmkit.hub.document import MAX_BYTES, parse_object
from fmkit.hub.refusals import gated, refusal
from fmkit.hub.repository import Repository
from fmkit.model.stored import StoredFile


class RemoteFiles:
    """Asks for files of a repository; `where` names it in messages."""

    def __init__(self, client: HubClient, repository: Repository) -> None:
        self.client = client
        self.repository = repository
        self.where = f"{repository.hub_id}@{repository.commit[:12]}"

    def place(self, name: str) -> str:
        """A file as messages name it."""
        return f"{self.where}/{name}"

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object; UnsafeInputError for anything else."""
        return parse_object(self.body(name, limit=MAX_BYTES), where=self.place(name))

    def body(self, name: str, *, limit: int) -> bytes:
        """A whole file of at most `limit` bytes."""
        return self._get(name, limit=limit, span=None).body

    def part(self, file: StoredFile, first: int, last: int) -> bytes:
        """The bytes `first` to `last` of a file, whose length has to be what the Hub said."""
        wanted = last - first + 1
        answer = self._get(file.name, limit=wanted, span=(first, last))
        if answer.total_bytes is not None and answer.total_bytes != file.bytes:
            raise UnsafeInputError(
                f"the file is {answer.total_bytes:,} bytes long, and the Hub said {file.bytes:,}",
                where=self.place(file.name),
            )
        if len(answer.body) != wanted:
            raise UnsafeInputError(
                f"{len(answer.body):,} bytes came where {wanted:,} were asked for", where=self.place(file.name)
            )
        return answer.body

    def _get(self, name: str, *, limit: int, span: tuple[int, int] | None) -> Answer:
        repository, where = self.repository, self.place(name)
        path = f"/{repository.hub_id}/resolve/{repository.commit}/{quote(name)}"
        answer = self.client.get(path, limit=limit, span=span, where=where)
        if answer.status == (206 if span is not None else 200):
            return answer
        if repository.gated and answer.status in (401, 403):
            raise gated(repository.hub_id, where, token_sent=answer.token_sent)
        if answer.status == 404 and answer.error_code in ("", "EntryNotFound"):
            raise ModelNotFoundError(f"the Hub lists {name} in {repository.hub_id} and does not have it", where=where)
        raise refusal(answer, repository.hub_id, repository.commit, where)
