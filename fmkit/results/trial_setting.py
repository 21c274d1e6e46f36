"""Where a trial ran and what it ran: the `machine` and `workload` of schema fmkit.trial/1.

What an older record does not say has its default here, so that every record that was ever kept can be read.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from fmkit.units import MOST_TOKENS

Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_TOKENS)]
UNKNOWN = "unknown"

BUSY_SHARE = 0.25
"""Share of the processors that others used while times were taken, above which these say nothing of the machine (assumed)."""


class TrialMachine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine of a trial, as far as it is known: of one behind an address perhaps no more than that.

    `key` tells machines of the same name apart; `device` is what the engine ran on, in words, `device_id` the catalog's id for it and
    `count` how many of it; memory is that of one device. `busy_share` is what other programs used of the processors, 0 to 1.
    """

    name: str = UNKNOWN
    key: str = ""
    origin: str = UNKNOWN
    device: str = UNKNOWN
    device_id: str | None = None
    count: int = 1
    memory_bytes: int | None = None
    usable_bytes: int | None = None
    free_bytes: int | None = None
    cpu_cores: int | None = None
    busy_share: float | None = None

    @property
    def was_busy(self) -> bool:
        """Whether other programs took so much that times are not what the machine can do; a process's memory is its own."""
        return (self.busy_share or 0.0) > BUSY_SHARE


class TrialWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of a model, and how it lay in memory.

    `context_tokens` are held for each of the `sequences`; of them `timed_prompt_tokens` are read and `timed_decode_tokens` written while
    times are taken. `dtype` is the number type of what is not quantised, of a GGUF file its type; `layout` the catalog's id of the
    weights' layout. `layers` is how many a model was cut to, `gpu_layers` how many lay on the device, None for all. `n_cpu_moe` is of how many
    of the first layers the experts lay in main memory.
    """

    context_tokens: Count
    sequences: Count
    task: str = ""
    kind: str = ""
    encoder_tokens: int = 0
    image_tokens: int | None = None
    timed_prompt_tokens: int | None = None
    timed_decode_tokens: int | None = None
    dtype: str = UNKNOWN
    layout: str = ""
    cache_dtype: str = ""
    quantiser: str | None = None
    device: str = UNKNOWN
    offload: bool = False
    max_memory_bytes: int | None = None
    gpu_layers: int | None = None
    n_cpu_moe: int = 0
    layers: int | None = None
    tensor_parallel: int = 1
    hosts: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether all layers of the model ran in one process, with all weights on its device."""
        on_device = not self.offload and self.gpu_layers is None and not self.n_cpu_moe
        return not self.layers and self.tensor_parallel == 1 and on_device
