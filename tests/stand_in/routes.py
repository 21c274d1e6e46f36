"""What the real Hub answers: statuses, headers and bodies of its routes, without the network below and the faults above."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from tests.stand_in.content import File, Repository
    from tests.stand_in.server import StandIn

EXPANDABLE = frozenset(
    [
        "author",
        "baseModels",
        "cardData",
        "childrenModelCount",
        "config",
        "createdAt",
        "disabled",
        "downloads",
        "downloadsAllTime",
        "evalResults",
        "gated",
        "gguf",
        "inference",
        "inferenceProviderMapping",
        "lastModified",
        "library_name",
        "likes",
        "mask_token",
        "model-index",
        "pipeline_tag",
        "private",
        "resourceGroup",
        "safetensors",
        "sha",
        "siblings",
        "spaces",
        "tags",
        "transformersInfo",
        "trendingScore",
        "usedStorage",
        "widgetData",
        "xetEnabled",
    ]
)


@dataclass(frozen=True)
class Reply:
    """A status, headers and a body; `size` is the length of a body of which only the beginning is not zeros."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


def answer(state: StandIn, side: str, method: str, path: str, token: str | None, asked: str | None, form: str) -> Reply:
    """The right answer of one of the origins to one request."""
    address = urlsplit(path)
    query = parse_qs(address.query)
    if side == "cdn":
        return _content(state, unquote(address.path), asked)
    for pattern, route in _ROUTES:
        found = re.fullmatch(pattern, address.path)
        if found is not None:
            parts = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
            return route(_Request(state, method, path, parts, query, token, asked, form))
    return Reply(404, b'{"error":"Not Found"}')


@dataclass(frozen=True)
class _Request:
    state: StandIn
    method: str
    path: str
    parts: dict[str, str]
    query: dict[str, list[str]]
    token: str | None
    asked: str | None
    form: str

    @property
    def grant(self) -> str | None:
        return self.state.tokens.get(self.token or "")


def _refused(status: int, code: str, message: str, commit: str | None = None) -> Reply:
    headers = {
        "X-Error-Message": message,
        **({"X-Error-Code": code} if code else {}),
        **({"X-Repo-Commit": commit} if commit else {}),
    }
    return Reply(status, json.dumps({"error": message}).encode(), headers)


def _found(request: _Request, *, weights: bool) -> Repository | Reply:  # noqa: PLR0911  one per case of the Hub
    """The repository, or the refusal: metadata of a gated one is for all, its files (`weights`) are not."""
    state, name = request.state, request.parts["id"]
    if name in state.renames:
        return Reply(307, b"Temporary Redirect", {"Location": request.path.replace(name, state.renames[name], 1)})
    right_case = next((id_ for id_ in state.repositories if id_.casefold() == name.casefold()), None)
    if right_case is not None and right_case != name:
        return Reply(307, b"Temporary Redirect", {"Location": request.path.replace(name, right_case, 1)})
    if request.token is not None and request.grant is None:
        return _refused(401, "", "Invalid credentials in Authorization header")
    repository = state.repositories.get(name)
    if repository is None or (repository.private and request.grant != "granted"):
        if request.token is None:
            return _refused(401, "", "Invalid username or password.")
        return _refused(404, "RepoNotFound", "Repository not found")
    if weights and repository.disabled:
        return _refused(403, "", "Access to this resource is disabled.")
    if weights and repository.gated and request.grant != "granted":
        status = 401 if request.token is None else 403
        return _refused(status, "GatedRepo", f"Access to model {name} is restricted.")
    revision = request.parts.get("revision", "main")
    if not repository.resolves(revision):
        return _refused(
            404, "RevisionNotFound", f"Invalid rev id: {revision}"[:80].encode("latin-1", "replace").decode("latin-1")
        )
    return repository


def _json(document: object, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        200, json.dumps(document).encode(), {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    )


def _info(request: _Request) -> Reply:
    repository = _found(request, weights=False)
    if isinstance(repository, Reply):
        return repository
    expand = [name for key in ("expand", "expand[]") for name in request.query.get(key, [])]
    wrong = [name for name in expand if name not in EXPANDABLE]
    if wrong:
        return _refused(400, "", f"Invalid expand {wrong[0]}")
    blobs = request.query.get("blobs", ["false"])[0].lower() in ("true", "1")
    document = _document(repository, blobs=blobs)
    if expand:
        document = {name: document.get(name) for name in ("_id", "id", *expand)}
    return _json(document)


def _document(repository: Repository, *, blobs: bool) -> dict[str, Any]:
    siblings = [
        {"rfilename": name, **(_blob(file, large=repository.is_large(name)) if blobs else {})}
        for name, file in repository.files.items()
    ]
    return {
        "_id": "66" * 12, "id": repository.id, "modelId": repository.id, "author": repository.id.split("/")[0], "sha": repository.commit,
        "private": repository.private, "disabled": repository.disabled, "gated": repository.gated, "lastModified": "2026-11-01T00:00:00.000Z",
        "createdAt": "2026-01-01T00:00:00.000Z", "downloads": 1000, "likes": 10, "tags": list(repository.tags), "siblings": siblings,
        "spaces": [], "usedStorage": 0, "model-index": None, "config": _summary(repository), **repository.extra,
    }  # fmt: skip


def _summary(repository: Repository) -> dict[str, Any]:
    """What the Hub shows of config.json and tokenizer_config.json in its own answer."""
    documents = {
        name: json.loads(repository.files[name].head)
        for name in ("config.json", "tokenizer_config.json")
        if _is_json(repository, name)
    }
    config, tokenizer = documents.get("config.json", {}), documents.get("tokenizer_config.json")
    shown = {name: config[name] for name in ("architectures", "model_type", "quantization_config") if name in config}
    tokens = ("bos_token", "chat_template", "eos_token", "pad_token", "unk_token")
    return shown | (
        {"tokenizer_config": {name: tokenizer[name] for name in tokens if name in tokenizer}} if tokenizer else {}
    )


def _is_json(repository: Repository, name: str) -> bool:
    try:
        return isinstance(json.loads(repository.files[name].head), dict)
    except (KeyError, ValueError, RecursionError):
        return False


def _blob(file: File, *, large: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"size": file.size, "blobId": file.blob}
    return found | ({"lfs": {"sha256": file.etag, "size": file.size, "pointerSize": 135}} if large else {})


def _list(request: _Request) -> Reply:
    author, search = request.query.get("author", [None])[0], request.query.get("search", [""])[0]
    filters, kind = set(request.query.get("filter", [])), request.query.get("pipeline_tag", [None])[0]
    found = [
        one for one in request.state.repositories.values()
        if not one.private and (author is None or one.id.startswith(f"{author}/")) and search.casefold() in one.id.casefold()
        and filters <= set(one.tags) and kind in (None, one.extra.get("pipeline_tag"))
    ]  # fmt: skip
    limit = int(request.query.get("limit", ["1000"])[0])
    return _page(request, [_document(one, blobs=False) for one in found], min(limit, request.state.page_size))


def _page(request: _Request, rows: list[Any], size: int) -> Reply:
    start = int(request.query.get("cursor", ["0"])[0])
    end = start + size
    if end >= len(rows):
        return _json(rows[start:end])
    base = re.sub(r"[?&]cursor=\d+", "", request.path)
    link = f'<{request.state.hub}{base}{"&" if "?" in base else "?"}cursor={end}>; rel="next"'
    return _json(rows[start:end], {"Link": link})


def _tree(request: _Request) -> Reply:
    repository = _found(request, weights=False)
    if isinstance(repository, Reply):
        return repository
    below = request.parts.get("path", "")
    prefix = f"{below}/" if below else ""
    recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    names = [name for name in repository.files if name.startswith(prefix)]
    if below and not names:
        return _refused(404, "EntryNotFound", f"{below} does not exist", repository.commit)
    folders = sorted({name[: name.index("/", len(prefix))] for name in names if "/" in name[len(prefix) :]})
    rows: list[dict[str, Any]] = [
        {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in folders
    ]
    rows += [_entry(repository, name) for name in names if recursive or "/" not in name[len(prefix) :]]
    return _page(request, rows, request.state.page_size)


def _entry(repository: Repository, name: str) -> dict[str, Any]:
    file = repository.files[name]
    entry: dict[str, Any] = {"type": "file", "path": name, "size": file.size, "oid": file.blob}
    return entry | (
        {"lfs": {"oid": file.etag, "size": file.size, "pointerSize": 135}} if repository.is_large(name) else {}
    )


def _paths_info(request: _Request) -> Reply:
    repository = _found(request, weights=False)
    if isinstance(repository, Reply):
        return repository
    return _json(
        [_entry(repository, name) for name in parse_qs(request.form).get("paths", []) if name in repository.files]
    )


def _refs(request: _Request) -> Reply:
    repository = _found(request, weights=False)
    if isinstance(repository, Reply):
        return repository
    branches = {"main": repository.commit, **repository.revisions}
    rows = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit} for name, commit in branches.items()]
    return _json({"branches": rows, "converts": [], "tags": []})


def _all_headers(request: _Request) -> Reply:
    repository = _found(request, weights=True)
    if isinstance(repository, Reply):
        return repository
    if not request.state.combined_headers or request.parts["path"] not in repository.files:
        return Reply(404, b'{"error":"Not Found"}')
    index = json.loads(repository.files[request.parts["path"]].head)
    headers = {}
    for shard in sorted(set(index["weight_map"].values())):
        head = repository.files[shard].head
        headers[shard] = json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])
    return _json({"index": {"metadata": index["metadata"]}, "headers": headers})


def _resolve(request: _Request) -> Reply:
    repository = _found(request, weights=True)
    if isinstance(repository, Reply):
        return repository
    name, commit = request.parts["path"], repository.commit
    if name not in repository.files:
        return _refused(404, "EntryNotFound", "Entry not found", commit)
    file = repository.files[name]
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if not request.state.redirecting:
        return _ranged(file, request.asked, {**headers, "ETag": f'"{file.etag}"'})
    if repository.is_large(name):
        linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.etag}"'}
        location = f"{request.state.cdn}/{repository.id}/{quote(name)}?Expires=1"
        return Reply(302, b"Found. Redirecting", {**headers, **linked, "Location": location})
    location = f"/api/resolve-cache/models/{repository.id}/{commit}/{quote(name)}?etag={file.etag}"
    return Reply(
        307,
        b"Temporary Redirect. Redirecting",
        {**headers, "X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size), "Location": location},
    )


def _resolve_cache(request: _Request) -> Reply:
    repository = _found(request, weights=True)
    if isinstance(repository, Reply):
        return repository
    file = repository.files[request.parts["path"]]
    return _ranged(
        file, request.asked, {"X-Repo-Commit": repository.commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    )


def _content(state: StandIn, path: str, asked: str | None) -> Reply:
    org, name, file = path.lstrip("/").split("/", 2)
    repository = state.repositories.get(f"{org}/{name}")
    if repository is None or file not in repository.files:
        return Reply(404)
    found = repository.files[file]
    return _ranged(found, asked, {"ETag": f'"xet-{found.etag[:32]}"', "Accept-Ranges": "bytes"})


def _ranged(file: File, asked: str | None, headers: Mapping[str, str]) -> Reply:
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if found is None:
        return Reply(200, file.head, headers, size=file.size)
    first, last = int(found[1]), min(int(found[2] or file.size - 1), file.size - 1)
    if first > last:
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{file.size}"})
    return Reply(206, file.part(first, last), {**headers, "Content-Range": f"bytes {first}-{last}/{file.size}"})


def _auth_check(request: _Request) -> Reply:
    repository = _found(request, weights=True)
    return repository if isinstance(repository, Reply) else _json({})


def _whoami(request: _Request) -> Reply:
    if request.grant is None:
        return _refused(401, "", "Invalid username or password.")
    return _json({"type": "user", "name": "tester", "auth": {"type": "access_token"}})


_ID = r"(?P<id>[^/]+/[^/]+)"
_ROUTES: tuple[tuple[str, Callable[[_Request], Reply]], ...] = (
    (r"/api/models", _list),
    (r"/api/whoami-v2", _whoami),
    (rf"/api/models/{_ID}", _info),
    (rf"/api/models/{_ID}/revision/(?P<revision>[^/]+)", _info),
    (rf"/api/models/{_ID}/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", _tree),
    (rf"/api/models/{_ID}/paths-info/(?P<revision>[^/]+)", _paths_info),
    (rf"/api/models/{_ID}/refs", _refs),
    (rf"/api/models/{_ID}/auth-check", _auth_check),
    (rf"/api/models/{_ID}/safetensors-metadata/(?P<path>.+)", _all_headers),
    (rf"/api/resolve-cache/models/{_ID}/(?P<revision>[^/]+)/(?P<path>.+)", _resolve_cache),
    (rf"/{_ID}/(resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)", _resolve),
)
