"""What a server serves, and which of it is meant."""

from __future__ import annotations

import re

import msgspec

from fmkit.errors import TrialFailedError, UsageError, nearest_phrase
from fmkit.trial.endpoint.client import EndpointClient, RefusedError
from fmkit.trial.endpoint.counts import Count

GGUF_SUFFIX = re.compile(r"[-._:](?:gguf|ud|i?q\d[_a-z0-9]*|bf16|fp?16|fp?32|mxfp4)$")
SHOWN_MODELS = 12


class FileFacts(msgspec.Struct):
    """What llama-server says of its file: bytes of tensors, tokens of one sequence and of the vocabulary, type of the weights."""

    size: Count | None = None
    n_ctx: Count | None = None
    n_vocab: Count | None = None
    ftype: str | None = None


class Served(msgspec.Struct):
    """A model of /v1/models; `max_model_len` is vLLM's and SGLang's, `meta` llama-server's."""

    id: str
    owned_by: str | None = None
    root: str | None = None
    max_model_len: Count | None = None
    meta: FileFacts | None = None


class _Models(msgspec.Struct):
    data: list[Served] | None = None


def served_models(client: EndpointClient) -> list[Served] | None:
    """What /v1/models lists; None where the server has no such page, or fails at it (`transformers serve` with an empty cache)."""
    path = f"{client.address.base}/models"
    where = client.address.origin + path
    try:
        body = client.get(path)
    except RefusedError as error:
        if error.status in (404, 405, 500, 501):
            return None
        raise
    try:
        return msgspec.json.decode(body, type=_Models).data or []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TrialFailedError(
            f"the answer is no list of models: {str(error)[:200]}",
            where=where,
            next_command="give the address of an OpenAI-compatible interface; it often ends with /v1",
        ) from error


def choose(
    asked: str | None, models: list[Served] | None, also: tuple[str, ...] = (), *, lists_all: bool = True
) -> Served:
    """The model meant: the only one served, or the one whose id is `asked` or one of its other names (`also`), case aside.

    Of an id only the last part need be given, where that is unique. A server that does not list all it serves is taken by its word.
    """
    if models is None or (asked is not None and not lists_all):
        if asked is None:
            raise UsageError("name the model: the server does not list what it serves", where="MODEL")
        return _named(asked, models or [], also) or Served(id=asked)
    if not models:
        raise TrialFailedError(
            "the server serves no model", where="MODEL", next_command="load one in the server, then try again"
        )
    if asked is None and len(models) == 1:
        return models[0]
    found = None if asked is None else _named(asked, models, also)
    if found is not None:
        return found
    listed = ", ".join(one.id[:120] for one in models[:SHOWN_MODELS])
    more = f" and {len(models) - SHOWN_MODELS} more" if len(models) > SHOWN_MODELS else ""
    if asked is None:
        raise UsageError(f"name one of the models that the server serves: {listed}{more}", where="MODEL")
    near = nearest_phrase(asked, [one.id for one in models[:1000]]) if len(models) > SHOWN_MODELS else ""
    raise UsageError(f"the server does not serve {asked!r}; it serves {listed}{more}{near}", where="MODEL")


def _named(asked: str, models: list[Served], also: tuple[str, ...]) -> Served | None:
    for name in (asked, *also):
        for match in (_whole, _last_part, name_stem):
            found = [one for one in models if match(name) in (match(one.id), match(one.root or one.id))]
            if len(found) == 1:
                return found[0]
    return None


def _whole(name: str) -> str:
    return name.casefold()


def _last_part(name: str) -> str:
    return name.casefold().rpartition("/")[2]


def name_stem(name: str) -> str:
    """The last part of a name without what says how a GGUF file is stored.

    >>> name_stem("/models/Llama-3.2-1B-Instruct-Q4_K_M.gguf"), name_stem("llama-3.2-1b"), name_stem("org/Gemma-3-GGUF:IQ4_XS")
    ('llama-3.2-1b-instruct', 'llama-3.2-1b', 'gemma-3')
    """
    stem = _last_part(name)
    while (shorter := GGUF_SUFFIX.sub("", stem)) != stem:
        stem = shorter
    return stem
