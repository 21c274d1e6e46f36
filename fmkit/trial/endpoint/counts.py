"""Numbers that a server sends: bounded, so that nonsense is no number."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fmkit.units import MOST_BYTES, MOST_TOKENS

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_BYTES)]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
