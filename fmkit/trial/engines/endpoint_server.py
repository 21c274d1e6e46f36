"""Which server it is, what it serves, and what it says of its memory: each from its own pages, nothing inferred."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec

from fmkit.errors import TrialFailedError, UsageError, nearest_phrase
from fmkit.results.trial import EndpointServer
from fmkit.trial.engines.endpoint_client import EndpointClient, RefusedError
from fmkit.units import MOST_BYTES

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_BYTES)]

OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "library": "ollama"}
"""Who owns a model in /v1/models, by the server that says so."""

CACHE_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
"""Gauges of the share of the cache in use, 0 to 1; vLLM renamed its own."""

METRIC_LINE = re.compile(r"^([a-z_:]+)(?:\{([^\n]{0,4000}?)\})? ([0-9.eE+-]{1,30})\s*$", re.MULTILINE)
LABEL = re.compile(r'([a-z_]+)="([^"]{0,80})"')
GGUF_SUFFIX = re.compile(r"[-._:](?:gguf|ud|i?q\d[_a-z0-9]*|bf16|fp?16|fp?32|mxfp4)$")
SHOWN_MODELS = 12


class _Meta(msgspec.Struct):
    size: Count | None = None
    n_ctx: Count | None = None
    ftype: str | None = None


class Served(msgspec.Struct):
    """A model of /v1/models; `max_model_len` is vLLM's and SGLang's, `meta` llama-server's."""

    id: str
    owned_by: str | None = None
    root: str | None = None
    max_model_len: Count | None = None
    meta: _Meta | None = None


class _Models(msgspec.Struct):
    data: list[Served] | None = None


class _Version(msgspec.Struct):
    version: str


class _TgiInfo(msgspec.Struct):
    model_id: str
    version: str | None = None
    model_dtype: str | None = None
    max_total_tokens: Count | None = None


class _SglangInfo(msgspec.Struct):
    version: str | None = None
    max_total_num_tokens: Count | None = None


class _OllamaModel(msgspec.Struct):
    name: str
    size: Count | None = None
    size_vram: Count | None = None
    context_length: Count | None = None


class _OllamaRunning(msgspec.Struct):
    models: list[_OllamaModel] = []


class _LlamaSettings(msgspec.Struct):
    n_ctx: Count | None = None


class _LlamaProps(msgspec.Struct):
    total_slots: Count | None = None
    build_info: str | None = None
    model_ftype: str | None = None
    default_generation_settings: _LlamaSettings = msgspec.field(default_factory=_LlamaSettings)


class _OpenApi(msgspec.Struct):
    paths: dict[str, msgspec.Raw] = {}


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
        raise TrialFailedError("the server serves no model", where="MODEL")
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


def identify(client: EndpointClient, models: list[Served] | None) -> str:
    """The server's own name: by who owns its models, else by a page that only one kind has; `unknown` where nothing tells."""
    for one in models or ():
        if (one.owned_by or "").casefold() in OWNERS:
            return OWNERS[(one.owned_by or "").casefold()]
    if _page(client, "/info", _TgiInfo) is not None:
        return "tgi"
    api = _page(client, "/openapi.json", _OpenApi)
    if api is not None and "/load_model" in api.paths and "/v1/chat/completions" in api.paths:
        return "transformers"
    if _page(client, "/api/version", _Version) is not None:
        return "ollama"
    return "unknown"


def facts(client: EndpointClient, kind: str, model: Served) -> EndpointServer:
    """What the server says of itself; None for what it does not say."""
    told = EndpointServer(
        address=client.address.origin,
        kind=kind,
        model_id=model.id,
        max_context_tokens=model.max_model_len,
    )
    more = _FACTS.get(kind)
    return told if more is None else more(client, model, told)


def cache_usage(client: EndpointClient) -> float | None:
    """The share of the cache that is in use now, as /metrics says; None where it says nothing."""
    found = _metrics(client)
    told = next((found[name] for name in CACHE_USAGE if name in found), [])
    try:
        share = max(float(value) for value, _ in told)
    except ValueError:  # none, or no numbers
        return None
    return share if 0 <= share <= 1 else None


def _vllm(client: EndpointClient, model: Served, told: EndpointServer) -> EndpointServer:
    del model
    version = _page(client, "/version", _Version)
    engines = [labels for _, labels in _metrics(client).get("vllm:cache_config_info", [])]
    labels = (
        engines[0] if len(engines) == 1 else {}
    )  # of several copies of the model it is not said whether they add up
    return msgspec.structs.replace(
        told,
        version=None if version is None else version.version[:40],
        cache_tokens=_cache_tokens(labels),
        cache_dtype=labels.get("cache_dtype"),
    )


def _cache_tokens(labels: dict[str, str]) -> int | None:
    """What vLLM's cache holds: as newer releases say it (layers of several kinds share blocks), else blocks times their size."""
    figures = [labels.get(name, "") for name in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size")]
    whole, blocks, block_tokens = (int(one) if re.fullmatch("[0-9]{1,12}", one) else None for one in figures)
    if whole is not None:
        return whole
    return None if blocks is None or block_tokens is None else blocks * block_tokens


def _sglang(client: EndpointClient, model: Served, told: EndpointServer) -> EndpointServer:
    del model
    info = _page(client, "/server_info", _SglangInfo) or _page(client, "/get_server_info", _SglangInfo) or _SglangInfo()
    return msgspec.structs.replace(told, version=info.version, cache_tokens=info.max_total_num_tokens)


def _tgi(client: EndpointClient, model: Served, told: EndpointServer) -> EndpointServer:
    del model
    info = _page(client, "/info", _TgiInfo)
    if info is None:
        return told
    return msgspec.structs.replace(
        told, version=info.version, max_context_tokens=info.max_total_tokens, weights_type=info.model_dtype
    )


def _ollama(client: EndpointClient, model: Served, told: EndpointServer) -> EndpointServer:
    version = _page(client, "/api/version", _Version)
    running = _page(client, "/api/ps", _OllamaRunning) or _OllamaRunning()
    own = next((one for one in running.models if one.name == model.id), _OllamaModel(name=""))
    return msgspec.structs.replace(
        told,
        version=None if version is None else version.version[:40],
        memory_bytes=own.size,
        device_memory_bytes=own.size_vram,
        max_context_tokens=own.context_length,
    )


def _llama_server(client: EndpointClient, model: Served, told: EndpointServer) -> EndpointServer:
    props = _page(client, "/props", _LlamaProps) or _LlamaProps()
    meta = model.meta or _Meta()
    kind = meta.ftype or props.model_ftype
    return msgspec.structs.replace(
        told,
        version=props.build_info,
        weights_bytes=meta.size,
        weights_type=None if kind is None else kind.removeprefix("(guessed)").strip()[:40],
        max_context_tokens=props.default_generation_settings.n_ctx or meta.n_ctx,
        slots=props.total_slots,
    )


_FACTS = {"vllm": _vllm, "sglang": _sglang, "tgi": _tgi, "ollama": _ollama, "llama.cpp": _llama_server}


def _page(client: EndpointClient, path: str, kind: type[T]) -> T | None:
    """A page of the server's own; None where there is none, or another."""
    try:
        return msgspec.json.decode(client.get(client.address.root + path), type=kind)
    except (TrialFailedError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _metrics(client: EndpointClient) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Value and labels of each line of a metric, by the metric's name."""
    try:
        text = client.get(f"{client.address.root}/metrics").decode(errors="replace")
    except TrialFailedError:
        return {}
    found: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for name, labels, value in METRIC_LINE.findall(text):
        found.setdefault(name, []).append((value, dict(LABEL.findall(labels))))
    return found
