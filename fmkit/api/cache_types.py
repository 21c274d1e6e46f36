"""The types that `--kv-dtype` takes, by engine."""

from __future__ import annotations

from fmkit.errors import UsageError
from fmkit.sizing.engines import llama_cpp_options, transformers_options, vllm_options

CACHE_TYPES: dict[str, tuple[str, ...]] = {
    "transformers": tuple(transformers_options.KV_DTYPES),
    "vllm": tuple(vllm_options.CACHE_TYPES),
    "llama.cpp": llama_cpp_options.CACHE_TYPES,
}


def cache_type(engine: str, name: str) -> str:
    """The type as the engine spells it; the UsageError names `--kv-dtype`, not the engine's option that stands for it.

    >>> cache_type("llama.cpp", "Q8_0")
    'q8_0'
    """
    if name.casefold() not in CACHE_TYPES[engine]:
        raise UsageError.unknown("type of the cache", name, CACHE_TYPES[engine], where="--kv-dtype")
    return name.casefold()
