"""Which server it is, and what it says of its memory: each from its own pages, nothing inferred."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from fmkit.errors import TrialFailedError
from fmkit.results.trial import EndpointServer
from fmkit.trial.endpoint.client import EndpointClient
from fmkit.trial.endpoint.counts import Count
from fmkit.trial.endpoint.models import FileFacts, Served

T = TypeVar("T")

OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "library": "ollama"}
"""Who owns a model in /v1/models, by the server that says so."""

CACHE_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
"""Gauges of the share of the cache in use, 0 to 1; vLLM renamed its own."""

METRIC_LINE = re.compile(r"^([a-z_:]+)(?:\{([^\n]{0,4000}?)\})? ([0-9.eE+-]{1,30})\s*$", re.MULTILINE)
LABEL = re.compile(r'([a-z_]+)="([^"]{0,80})"')


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
    meta = model.meta or FileFacts()
    kind = meta.ftype or props.model_ftype
    return msgspec.structs.replace(
        told,
        version=props.build_info,
        weights_bytes=meta.size,
        vocabulary=meta.n_vocab or None,
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
