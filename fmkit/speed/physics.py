"""What no machine can beat: bounds on predicted times that hold whatever was measured.

Nothing passes 95 % of a nominal rate. A format that a device multiplies natively is no slower than 16 bit, for it reads less and its units
are faster; and no faster at prompts than the ratio of the two matrix rates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import Layout
from fmkit.speed.kernels import NEEDS_UNITS, matrix_rate
from fmkit.speed.operations import decode_pass, reading_passes
from fmkit.speed.parts import roof_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.operations import Reading, TowerPass
    from fmkit.speed.setting import Setting
    from fmkit.speed.timing import Timing

MOST_SHARE = 0.95
"""No more of a nominal rate is predicted. Of 1,128 rates of dense models that were measured decoding two read their weights alone faster
(tests/speed/test_cases.py): MLX on an M4 Pro, and llama.cpp on a processor whose rate is that of copying."""

PLAIN_16 = Layout(name="16 bit", weight_bits=None, rest_dtype="bfloat16", source="the weights as published")


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that reading and a decode step take at least and at most; None: nothing is known to bound them.

    `quickest_read_s` bounds what is expected of reading, not the fast end of its range: it is as uncertain as what it comes from.
    """

    least_read_s: float = 0.0
    quickest_read_s: float = 0.0
    most_read_s: float | None = None
    least_step_s: float = 0.0
    most_step_s: float | None = None


def bounds(
    spec: ModelSpec,
    timing: Timing,
    memory: MemoryEstimate,
    reading: Reading,
    towers: Sequence[TowerPass],
    step: TowerPass | None,
) -> Bounds:
    """The bounds of one estimate; of a machine that was measured itself there are none."""
    if timing.here is not None or timing.host_step_s:
        return Bounds()
    setting = timing.setting
    least_read_s = sum(least_s(tower, setting, decoding=False) for tower in towers)
    least_step_s = 0.0 if step is None else least_s(step, setting, decoding=True)
    if not is_native(setting):
        return Bounds(least_read_s=least_read_s, least_step_s=least_step_s)
    wide = msgspec.structs.replace(timing, setting=msgspec.structs.replace(setting, kernel="16"))
    read_s = wide.reading_s(reading_passes(spec, PLAIN_16, reading))
    whole = decode_pass(spec, PLAIN_16, memory.context_tokens, memory.sequences, memory.cache_bytes, memory.engine)
    return Bounds(
        least_read_s=least_read_s,
        quickest_read_s=(read_s or 0.0) / _rate_ratio(setting),
        most_read_s=read_s,
        least_step_s=least_step_s,
        most_step_s=None if whole is None else wide.step_s(whole),
    )


def is_native(setting: Setting) -> bool:
    """Whether the device has matrix units for the format of the weights itself, and it is not 16 bit."""
    wanted = NEEDS_UNITS.get(setting.kernel)
    return wanted is not None and wanted in setting.device.flops_per_s


def _rate_ratio(setting: Setting) -> float:
    """The matrix rate of the weights' format over that of 16 bit."""
    own, wide = (matrix_rate(setting.device, kernel, setting.engine) for kernel in (setting.kernel, "16"))
    return own / wide if own and wide else 1.0


def least_s(tower: TowerPass, setting: Setting, *, decoding: bool) -> float:
    """Seconds that a pass takes at 95 % of the nominal rates, by what it reads (decoding) or multiplies (a prompt).

    Tokens that go to the same experts read less than is expected of several sequences: those are not bounded.
    """
    if decoding and setting.mixture and tower.tokens > 1:
        return 0.0
    return roof_s(tower, setting, decoding=decoding) / MOST_SHARE
