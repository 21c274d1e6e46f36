"""Which accelerator of this host a rank runs on, as the driver numbers them."""

from __future__ import annotations

import os


def own_device() -> int | None:
    """The number of this rank's accelerator in the order of the bus; None where CUDA_VISIBLE_DEVICES names them otherwise.

    The launcher sets LOCAL_RANK, and CUDA_DEVICE_ORDER to the driver's order.
    """
    local = int(os.environ["LOCAL_RANK"])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return local
    names = [name.strip() for name in visible.split(",")]
    return int(names[local]) if local < len(names) and names[local].isdigit() else None
