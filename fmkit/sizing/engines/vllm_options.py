"""The settings of vLLM that change its memory, with the defaults it takes for a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import DTYPE_BYTES
from fmkit.sizing.engines.options import choice, flag, fraction, length, refuse_unknown
from fmkit.units import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Machine

OPTIONS = (
    "block_size", "max_num_batched_tokens", "max_num_seqs", "gpu_memory_utilization", "kv_cache_dtype", "mamba_ssm_cache_dtype",
    "mamba_cache_mode", "disable_hybrid_kv_cache_manager", "enforce_eager",
)  # fmt: skip
CACHE_TYPES = {
    "auto": None, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "fp8_per_token_head": 1, "int8_per_token_head": 1,
    "nvfp4": 1,
}  # fmt: skip
"""Types of the KV cache, with the bytes of one element; None follows the model."""
STATE_PAGES = {"none": 1, "align": 2}
"""States kept per sequence by `mamba_cache_mode`: `align` keeps the one before the block boundary too."""
LARGE_BYTES = 70 * GIB
"""From this much memory on, the A100 left out, vLLM takes its larger defaults."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules of the cache and the activations need.

    `sampled` is `max_num_seqs`; `state_bytes` 0 follows the model's type; `state_pages` is how many states a sequence
    keeps; `one_kind` is the hybrid cache manager switched off; `alignment_tokens` what an attention kernel wants a
    block to be a multiple of.
    """

    block_tokens: int = 16
    batched_tokens: int = 8192
    sampled: int = 256
    utilisation: float = 0.9
    cache_type: str = "auto"
    model_bytes: int = 2
    state_bytes: int = 0
    state_pages: int = 1
    one_kind: bool = False
    graphs: bool = True
    alignment_tokens: int = 16

    @property
    def element_bytes(self) -> int:
        """Bytes of one element of the cache."""
        return CACHE_TYPES[self.cache_type] or self.model_bytes


def settings_from(options: Mapping[str, str], dtype: str, machine: Machine | None) -> Settings:
    """The settings given, on top of vLLM's defaults for the machine; UsageError for an unknown name or value.

    >>> settings_from({"max_num_batched_tokens": "2k", "kv_cache_dtype": "fp8"}, "bfloat16", None).batched_tokens
    2048
    """
    sampled = 1024 if has_large_defaults(machine) else 256
    if not options:
        return Settings(sampled=sampled, model_bytes=DTYPE_BYTES[dtype])
    refuse_unknown(options, OPTIONS, "vllm")
    block = length(options, "block_size", 16)
    return Settings(
        block_tokens=block,
        batched_tokens=length(options, "max_num_batched_tokens", 8192),
        sampled=length(options, "max_num_seqs", sampled),
        utilisation=fraction(options, "gpu_memory_utilization", 0.9),
        cache_type=choice(options, "kv_cache_dtype", CACHE_TYPES),
        model_bytes=DTYPE_BYTES[dtype],
        state_bytes=_state_bytes(options),
        state_pages=STATE_PAGES[choice(options, "mamba_cache_mode", STATE_PAGES)],
        one_kind=flag(options, "disable_hybrid_kv_cache_manager", default=False),
        graphs=not flag(options, "enforce_eager", default=False),
        alignment_tokens=max(block, 16),
    )


def has_large_defaults(machine: Machine | None) -> bool:
    """Whether vLLM takes its larger defaults here: 70 GiB of memory or more on a device, which is no A100."""
    if machine is None or machine.usable_bytes < LARGE_BYTES:
        return False
    return machine.device is None or "a100" not in machine.device.name.casefold()


def _state_bytes(options: Mapping[str, str]) -> int:
    value = choice(options, "mamba_ssm_cache_dtype", ("auto", "float32", "float16", "bfloat16"))
    return 0 if value == "auto" else DTYPE_BYTES[value]
