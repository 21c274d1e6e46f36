"""What an engine holds once it has loaded weights that a repository stores quantised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from fmkit.model.matrices import ScaleLevel
    from fmkit.model.precision import Layout

Held = Literal["kept", "unpacked"]
"""`kept`: as they are stored. `unpacked`: in 16 bit from the first forward pass on, with the scales beside them; fused experts from the start."""


_UNPACKED_BITS = 16


def loaded(layout: Layout, held: Held, *, plain_on_cpu: bool = False) -> Layout:
    """The layout of the weights while the model runs."""
    if held == "kept":
        return msgspec.structs.replace(layout, plain_on_cpu=plain_on_cpu)
    return msgspec.structs.replace(
        layout,
        id=f"{layout.id}-unpacked",
        name=f"{layout.name}, unpacked to 16 bit",
        weight_bits=_UNPACKED_BITS,
        word_bytes=0,
        modules=tuple(module for module in layout.modules if module != "parameter"),
        scales=tuple(_unpacked(level) for level in layout.scales),
        others=tuple(loaded(other, held) for other in layout.others),
    )


def _unpacked(level: ScaleLevel) -> ScaleLevel:
    """FP8 scales, one byte each, become 16 bit wide when their weights are unpacked."""
    return msgspec.structs.replace(level, bytes=2) if level.bytes == 1 else level


def plain(layout: Layout) -> Layout:
    """The layout where the engine unpacks all weights while it loads them, and drops the scales."""
    return msgspec.structs.replace(
        layout,
        id=f"{layout.id}-unpacked",
        name=f"{layout.name}, unpacked to 16 bit",
        weight_bits=_UNPACKED_BITS,
        modules=(),
        others=(),
    )


def unpacks(layout: Layout) -> bool:
    """Whether the layout is one of weights that were unpacked."""
    return layout.weight_bits == _UNPACKED_BITS
