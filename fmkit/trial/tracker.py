"""The allocated peak: every storage PyTorch creates, counted while it lives.

On CPU there is no allocator that reports its peak, so each operation's results are watched. Memory that an operation takes
and frees inside itself is not seen; measured against PyTorch's profiler the figure is equal to the byte for most models.
On CUDA the caching allocator keeps the peak itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from fmkit.trial import devices

CUDA_BLOCK_BYTES = 512


class LiveStorages(TorchDispatchMode):  # type: ignore[misc]  # torch is not typed here
    """Counts the bytes of `held` tensors (weights and buffers) and of every storage made since, while it lives."""

    def __init__(self, held: Iterable[Any], ignored: Iterable[Any] = ()) -> None:
        super().__init__()
        self._live: dict[int, int] = {}
        self._ignored = {tensor.untyped_storage()._cdata for tensor in ignored}  # noqa: SLF001
        self.now_bytes = 0
        for tensor in held:
            self._add(tensor.untyped_storage())
        self.peak_bytes = self.now_bytes

    def reset_peak(self) -> None:
        """Start a new phase: the peak is what is held now."""
        self.peak_bytes = self.now_bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        del types
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                for tensor in plain(value):
                    self._add(tensor.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, self.now_bytes)
        return out

    def _add(self, storage: Any) -> None:  # noqa: ANN401  torch.UntypedStorage has no public type for its address
        key = storage._cdata  # noqa: SLF001  the storage's identity, also across views
        if key in self._live or key in self._ignored:
            return
        size = storage.nbytes()
        self._live[key] = size
        self.now_bytes += size
        weakref.finalize(storage, self._drop, key).atexit = False

    def _drop(self, key: int) -> None:
        self.now_bytes -= self._live.pop(key, 0)


class AllocatorPeak:
    """The same two questions answered by the caching allocator of a device, summed over the devices in use.

    `ignored_bytes` were allocated before and are no part of the answer: inputs, and what libraries took for workspaces.
    """

    def __init__(self, device: str, ignored_bytes: int = 0) -> None:
        self._device = device
        self.ignored_bytes = ignored_bytes

    @property
    def peak_bytes(self) -> int:
        """Most bytes allocated since the last reset."""
        return devices.over_all(self._device, "max_memory_allocated") - self.ignored_bytes

    @property
    def reserved_peak_bytes(self) -> int:
        """Most bytes the allocator took from the driver since the last reset: what it allocates is cut from these."""
        return devices.over_all(self._device, "max_memory_reserved")

    def reset_peak(self) -> None:
        """Start a new phase."""
        devices.forget_peaks(self._device)


@contextmanager
def watching(
    held: Iterable[Any], ignored: Iterable[Any], *, device: str, workspace_bytes: int = 0
) -> Iterator[LiveStorages | AllocatorPeak]:
    """Watch allocations on `device`; the tracker slows every operation, so nothing is timed inside.

    `workspace_bytes` of a device with an allocator were there before the model, and are not its own.
    """
    if device in devices.WITH_PEAKS:
        devices.finish(device)
        peak = AllocatorPeak(
            device, workspace_bytes + sum(on_cuda(tensor.untyped_storage().nbytes()) for tensor in ignored)
        )
        peak.reset_peak()
        yield peak
        return
    with LiveStorages(held, ignored) as live:
        yield live


def on_cuda(size: int) -> int:
    """Bytes that PyTorch's CUDA allocator counts for a tensor: whole blocks of 512 (kMinBlockSize in CUDACachingAllocator.cpp).

    >>> on_cuda(1), on_cuda(512), on_cuda(0)
    (512, 512, 0)
    """
    return -(-size // CUDA_BLOCK_BYTES) * CUDA_BLOCK_BYTES


def storage_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of the distinct storages behind `tensors`: views and tied weights count once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}  # noqa: SLF001
    return sum(storages.values())


def tensors_in(value: Any, *, depth: int = 6) -> Iterator[Any]:  # noqa: ANN401
    """Every tensor reachable from an object: containers, and attributes of plain objects, to a small depth."""
    seen: set[int] = set()
    stack: list[tuple[Any, int]] = [(value, depth)]
    while stack:
        item, left = stack.pop()
        if isinstance(item, torch.Tensor):
            yield item
            continue
        if left == 0 or item is None or isinstance(item, str | bytes | int | float | type) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            children: list[Any] = list(item.values())
        elif isinstance(item, list | tuple | set):
            children = list(item)
        elif isinstance(item, torch.nn.Module):
            continue
        else:
            children = list(getattr(item, "__dict__", {}).values())
        stack.extend((child, left - 1) for child in children)


def plain(tensor: Any) -> Iterator[Any]:  # noqa: ANN401
    """The tensors with memory that a tensor is made of: itself, the parts of a packed one, nothing for one that is off-loaded.

    A packed one's own size is what it stands for, and `meta` tensors have a size without memory.
    """
    if not hasattr(tensor, "__tensor_flatten__"):
        if tensor.device.type != "meta":
            yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        part = getattr(tensor, name)
        if isinstance(part, torch.Tensor):  # a divided tensor names its mesh of devices too
            yield from plain(part)


def weight_tensors(model: Any) -> Iterator[Any]:  # noqa: ANN401
    """Parameters, buffers, and what quantisers hang on them (scales that are neither)."""
    for module in model.modules():
        owned = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        for tensor in owned:
            yield from plain(tensor)
        for tensor in owned:
            yield from tensors_in([getattr(tensor, name, None) for name in ("quant_state", "SCB", "CB")])
        yield from tensors_in(getattr(module, "state", None), depth=2)
