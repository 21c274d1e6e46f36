"""Dividing a model by transformers' own plan, and filling one rank's share with the values that the whole model would have there."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor


def loading(count: int) -> dict[str, Any]:
    """Arguments with which `from_pretrained` reads this rank's share of the files, and no more."""
    from transformers.distributed.configuration_utils import DistributedConfig  # noqa: PLC0415  2 s of imports

    return {"distributed_config": DistributedConfig(tp_size=count)}


def divide(model: Any, count: int) -> Any:  # noqa: ANN401
    """A model without storage whose tied weights are not tied yet, divided as `from_pretrained` divides it before it reads the files."""
    settings, _, mesh = model.prepare_distribute_model(loading(count)["distributed_config"])
    return model.maybe_distribute_model(model, settings, mesh)


def hold_own_bytes(model: Any) -> None:  # noqa: ANN401
    """Let each share of a file have a storage of its own size.

    On a CPU `from_pretrained` maps files into memory, and a share is a window on the whole tensor's storage, of which nobody ever
    touches the rest. The bytes stay where they are.
    """
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if not is_share(parameter):
                continue
            local = parameter.to_local()
            storage, size = local.untyped_storage(), local.numel() * local.element_size()
            if storage.nbytes() > size and local.is_contiguous():
                start = local.storage_offset() * local.element_size()
                own = torch.empty(0, dtype=local.dtype, device=local.device)
                own.set_(storage[start : start + size], 0, local.shape)
                parameter._local_tensor = own  # noqa: SLF001  a parameter's data can't be set to a tensor of another storage


def is_share(parameter: Any) -> bool:  # noqa: ANN401
    """Whether a parameter is this rank's part of one."""
    return isinstance(parameter, DTensor)


def filled_share(meta: Any, dtype: Any, device: str, source: Any, *, constant: float | None) -> Any:  # noqa: ANN401
    """This rank's part of a matrix that repeats `source`; of a vector that is `constant` throughout.

    transformers itself cuts it out, as it cuts parts out of a file.
    """
    from transformers.distributed.sharding_utils import DtensorShardOperation  # noqa: PLC0415  2 s of imports

    if constant is not None:
        local = torch.full(meta.to_local().shape, constant, dtype=dtype, device=device)
    else:
        local = DtensorShardOperation(meta).shard_tensor(Repeated(meta.shape, source), device=device, dtype=dtype)
    return DTensor.from_local(
        local.contiguous(), meta.device_mesh, meta.placements, run_check=False, shape=meta.shape, stride=meta.stride()
    )


class Repeated:
    """A matrix whose elements, in their order, repeat `source`: never whole in memory, read by slices like one in a file.

    >>> whole = Repeated((2, 4), torch.arange(3.0))
    >>> whole[0:2, 1:3].tolist()  # of [[0, 1, 2, 0], [1, 2, 0, 1]]
    [[1.0, 2.0], [2.0, 0.0]]
    """

    def __init__(self, shape: Any, source: Any) -> None:  # noqa: ANN401
        self.shape = tuple(int(size) for size in shape)
        self._source = source

    def get_shape(self) -> list[int]:
        """The whole matrix's."""
        return list(self.shape)

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401
        """The part that a tuple of slices names; one dimension at most is cut."""
        given = () if key is Ellipsis else key
        bounds = [part.indices(size)[:2] for part, size in zip(given, self.shape, strict=False)]
        bounds += [(0, size) for size in self.shape[len(bounds) :]]
        cut = next(
            (place for place, (size, bound) in enumerate(zip(self.shape, bounds, strict=True)) if bound != (0, size)), 0
        )
        inner = 1
        for size in self.shape[cut + 1 :]:
            inner *= size
        runs = 1
        for size in self.shape[:cut]:
            runs *= size
        start, stop = bounds[cut]
        out = torch.empty((runs, (stop - start) * inner), dtype=self._source.dtype, device=self._source.device)
        self._fill(out, start * inner, self.shape[cut] * inner)
        return out.view([stop - start for start, stop in bounds])

    def _fill(self, out: Any, offset: int, stride: int) -> None:  # noqa: ANN401
        """Row i of `out` is the run of elements that begins at `offset` + i x `stride`."""
        runs, length = out.shape
        period = len(self._source)
        if length <= period:
            starts = (torch.arange(runs, device=out.device) * stride + offset) % period
            windows = torch.cat([self._source, self._source[:length]]).unfold(0, length, 1)
            torch.index_select(windows, 0, starts, out=out)
            return
        for run in range(runs):
            _fill_run(out[run], (offset + run * stride) % period, self._source)


def _fill_run(out: Any, first: int, source: Any) -> None:  # noqa: ANN401
    """`out` repeats `source`, beginning with its element `first`."""
    done = 0
    while done < len(out):
        piece = source[first : first + len(out) - done]
        out[done : done + len(piece)] = piece
        done, first = done + len(piece), 0
