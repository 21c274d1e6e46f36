"""`fmkit try --offload`: weights that have no room on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmkit.errors import UsageError
from fmkit.units import parse_size

if TYPE_CHECKING:
    from fmkit.api.trial_options import TrialOptions
    from fmkit.results.vram import Estimate

MAX_MEMORY = "--max-memory"


def off_loading(options: TrialOptions, engine: str) -> dict[str, Any]:
    """The fields of a Workload that say so; UsageError for options that don't go together."""
    if options.max_memory is not None and not options.offload:
        raise UsageError(
            "a limit on the weights of the device says nothing of the rest of them",
            where=MAX_MEMORY,
            next_command=f"{MAX_MEMORY} {options.max_memory} --offload",
        )
    if not options.offload:
        return {}
    if engine != "transformers":
        raise UsageError(
            f"{engine} leaves whole layers in main memory, as many as you say",
            where="--offload",
            next_command="--engine-option gpu_layers=N",
        )
    if options.tensor_parallel > 1:
        raise UsageError("transformers takes either tp_plan or device_map, not both", where="--offload")
    room = room_of(options.max_memory)
    return {"offload": "cpu", "options": {} if room is None else {"max_memory": f"{room}B"}}


def room_of(asked: str | int | None) -> int | None:
    """Bytes of weights that the first device may hold."""
    return asked if asked is None or isinstance(asked, int) else parse_size(asked, where=MAX_MEMORY)


def refuse_placement(estimate: Estimate, *, offload: bool) -> None:
    """UsageError where the engine does not load or run the model so, whatever room there is."""
    if estimate.refused is not None and not offload:
        raise UsageError(estimate.refused, where="--precision", next_command="use --precision fp16 or fp32")
    if estimate.refused is not None:
        raise UsageError(
            estimate.refused, where="--offload", next_command="use --precision fp16, or leave out --offload"
        )
