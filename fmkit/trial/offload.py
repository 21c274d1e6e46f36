"""Weights that lie elsewhere than where they run: `device_map="auto"` of transformers, on a GPU, in main memory and on disk.

What is off-loaded has no storage in the model; accelerate's hooks bring one module at a time to the device that runs it.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from typing import Any

from fmkit.trial.request import TrialRequest

MAIN_MEMORY = "cpu"
DISK = "disk"


def folder_of(owner: object) -> str:
    """A folder for weights on disk, gone when its owner is; where the process is killed it goes with the trial's own, in which it lies."""
    folder = tempfile.mkdtemp(prefix="offload-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def loading_off_loaded(request: TrialRequest, owner: object) -> dict[str, Any]:
    """The arguments of `from_pretrained` for a model that may lie in several places, and lives no longer than `owner`.

    Disk takes what has to be written anew; what lies in a file as it runs is read from there.
    """
    return {
        "device_map": "auto",
        "max_memory": limits(request),
        "offload_folder": folder_of(owner),
    }


def limits(request: TrialRequest) -> dict[int | str, int] | None:
    """Bytes of weights by place: `max_memory_bytes` for the first device, the others what they have; None leaves all to accelerate."""
    limit = request.max_memory_bytes
    if request.device == "cpu":
        return None if limit is None else {MAIN_MEMORY: limit}
    if limit is None:
        return None
    from accelerate.utils import get_max_memory  # noqa: PLC0415  heavy: only in the child

    found: dict[int | str, int] = get_max_memory()
    return {**found, 0: min(limit, found[0])}


class Shelves:
    """Where each parameter of a model without storage goes, by the map that transformers makes for it."""

    def __init__(self, model: Any, request: TrialRequest) -> None:  # noqa: ANN401
        from transformers.integrations.accelerate import _get_device_map  # noqa: PLC0415  what from_pretrained calls

        self.map: dict[str, Any] = _get_device_map(model, "auto", limits(request), None)
        self._folder = folder_of(model)
        self._index: dict[str, Any] = {}
        self._written: dict[int, str] = {}

    def device(self, name: str, default: str) -> Any:  # noqa: ANN401  a number, or `cpu`
        """The device on which the parameter's memory is, main memory for one on its way to disk."""
        place = place_of(name, self.map, default)
        return MAIN_MEMORY if place == DISK else place

    def is_on_disk(self, name: str) -> bool:
        """Whether the parameter goes to disk."""
        return bool(place_of(name, self.map, MAIN_MEMORY) == DISK)

    def write(self, name: str, key: int, values: Any) -> None:  # noqa: ANN401
        """Put the values on disk. One of a pair of tied parameters (`key` is theirs) is written once."""
        from transformers.integrations.accelerate import offload_weight  # noqa: PLC0415

        if key not in self._written:
            offload_weight(values, name, self._folder, self._index)
            self._written[key] = name
        self._index[name] = self._index[self._written[key]]

    def dispatch(self, model: Any) -> None:  # noqa: ANN401
        """Let accelerate bring each module to where it runs."""
        from transformers.integrations.accelerate import accelerate_dispatch  # noqa: PLC0415

        if len(set(self.map.values())) > 1 or DISK in self.map.values():
            accelerate_dispatch(model, None, self.map, self._folder, self._index, offload_buffers=False)
            model.hf_device_map = self.map


def place_of(name: str, device_map: dict[str, Any], default: Any) -> Any:  # noqa: ANN401
    """The place of a parameter: that of the module nearest above it that the map names.

    >>> place_of("model.layers.1.mlp.up_proj.weight", {"model.layers": 0, "model.layers.1": "cpu"}, 0)
    'cpu'
    """
    while name and name not in device_map:
        name = name.rpartition(".")[0]
    return device_map.get(name, default)


def off_loaded_bytes(model: Any) -> dict[str, int]:  # noqa: ANN401
    """Bytes of the parameters that lie in main memory beside a device, and of those on disk; tied ones once, absent where there are none."""
    device_map = getattr(model, "hf_device_map", {})
    tied = getattr(model, "all_tied_weights_keys", {})
    found = dict.fromkeys((MAIN_MEMORY, DISK), 0)
    for name, parameter in model.named_parameters():
        if parameter.device.type == "meta" and name not in tied:
            found[place_of(name, device_map, DISK)] += parameter.numel() * parameter.element_size()
    names = {MAIN_MEMORY: "weights_in_host_bytes", DISK: "weights_on_disk_bytes"}
    return {names[place]: size for place, size in found.items() if size}
