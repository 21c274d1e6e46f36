"""Memory rows of vLLM: the parts that its start-up log names, per device."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.api.accuracy.memory import MemoryCase, scaled
from fmkit.api.accuracy.subject import NotScored
from fmkit.sizing.engines.vllm_cache import Group, groups_of, pool_tokens
from fmkit.sizing.engines.vllm_options import CACHE_TYPES, settings_from
from fmkit.sizing.parallel import rank_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.api.accuracy.comparison import Quantity
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import MemoryMeasurement
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate

CHUNKED_BY_DEFAULT = (0, 8)
"""From this release on a prompt is read in pieces of `max_num_batched_tokens`; before, the profiled batch held a whole context."""


CHUNKED_BEYOND = 32768
"""Contexts longer than this were read in pieces in earlier releases too."""


def version_of(text: str) -> tuple[int, int]:
    """Major and minor version; (99, 0) where none is named.

    `0.7.1-dev (V1)` counts as later: the new engine came with the rules of 0.8.

    >>> version_of("0.6.4"), version_of("0.7.1-dev (V1)"), version_of("0.2x")
    ((0, 6), (99, 0), (99, 0))
    """
    found = re.match(r"(\d+)\.(\d+)(?![\dx])", text)
    if "V1" in text or found is None:
        return (99, 0)
    return int(found[1]), int(found[2])


def release_defaults(version: str, context_tokens: int | None) -> dict[str, str]:
    """Engine options whose defaults in a release were not today's."""
    if version_of(version) >= CHUNKED_BY_DEFAULT:
        return {}
    whole = context_tokens if context_tokens and context_tokens <= CHUNKED_BEYOND else 0
    return {"max_num_batched_tokens": str(max(2048, whole)), "max_num_seqs": "256"}


def options_of(row: MemoryMeasurement) -> dict[str, str]:
    """Engine options that a row tells of, and the defaults of its release where they differ from today's."""
    options = release_defaults(row.engine_version, row.context_tokens)
    if row.gpu_mem_utilization:
        options["gpu_memory_utilization"] = str(row.gpu_mem_utilization)
    if row.kv_dtype in CACHE_TYPES:
        options["kv_cache_dtype"] = row.kv_dtype
    for name in ("max_num_batched_tokens", "max_num_seqs"):
        if told := re.search(rf"{name}\s*=?\s*(\d+)", row.notes):
            options[name] = told[1]
    return options


def predict(case: MemoryCase, quantity: Quantity, catalog: Catalog) -> tuple[float, float, float, str]:
    """Predicted bytes of one device with bounds and a note; NotScored where the row's figure can't be compared."""
    row = case.row
    if case.subject.layout is None and quantity != "cache":
        raise NotScored(f"no layout is known for weights in {row.quant!r}")
    if quantity == "weights":
        return *scaled(case, "weights", case.part_bytes("weights"), catalog), ""
    if quantity == "cache":
        return *scaled(case, "cache", _bytes_of_tokens(case), catalog), f"what {row.kv_tokens:,} tokens take"
    if row.context_tokens is None:
        raise NotScored("the row does not say for which context the engine was started")
    if quantity == "activations":
        return *scaled(case, "activations", case.part_bytes("activations"), catalog), "start-up profile"
    parts = {name: case.part_bytes(name) for name in ("weights", "activations")}
    parts["runtime"] = sum(line.bytes for line in case.estimate.lines if line.part == "runtime") // case.ranks
    bounded = [scaled(case, name, size, catalog) for name, size in parts.items()]
    predicted, low, high = (sum(column) for column in zip(*bounded, strict=True))
    return predicted, low, high, "weights, start-up profile, and what lies outside of PyTorch"


def _bytes_of_tokens(case: MemoryCase) -> float:
    """Bytes that the row's tokens take, from how many tokens the rules put into the row's bytes."""
    row = case.row
    if not row.kv_bytes or not row.kv_tokens:
        raise NotScored("the log does not say how many bytes the tokens had")
    return bytes_of_tokens(
        rank_spec(case.subject.spec, row.tp or 1), case.estimate, case.workload.options, row.kv_bytes, row.kv_tokens
    )


def bytes_of_tokens(
    rank: ModelSpec, estimate: MemoryEstimate, options: Mapping[str, str], pool_bytes: int, tokens: int
) -> float:
    """Bytes that `tokens` tokens take on one rank, from how many tokens the rules put into a pool of `pool_bytes`."""
    held = pool_tokens(rank_groups(rank, estimate, options), pool_bytes)
    return pool_bytes * tokens / held if held else 0.0


def rank_groups(rank: ModelSpec, estimate: MemoryEstimate, options: Mapping[str, str]) -> list[Group]:
    """The cache groups of one rank at the estimate's context and settings."""
    dtype = estimate.cache_dtype if estimate.cache_dtype in ("float16", "bfloat16") else "bfloat16"
    return groups_of(rank, settings_from(options, dtype, None), estimate.context_tokens, estimate.encoder_tokens)
