"""fmkit: which foundation model to use, what hardware it needs, and the proof on your machine.

`fmkit.vram`, `fmkit.recommend`, `fmkit.try_model` and `fmkit.compare` are commands as functions: same names and options, and
they return what `--json` prints. Importing fmkit imports none of them until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmkit.api.compare import compare as compare
    from fmkit.api.recommend import recommend as recommend
    from fmkit.api.try_model import try_model as try_model
    from fmkit.api.vram import vram as vram

__version__ = "0.1.0"

__all__ = ["__version__", "compare", "recommend", "try_model", "vram"]

_LAZY = {
    "compare": "fmkit.api.compare",
    "vram": "fmkit.api.vram",
    "recommend": "fmkit.api.recommend",
    "try_model": "fmkit.api.try_model",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: the attribute's type is in the TYPE_CHECKING block
    """Import a function of the public API when it is first used (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fmkit' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is used

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """The public names, also those not imported yet."""
    return sorted({*globals(), *_LAZY})
