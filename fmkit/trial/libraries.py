"""The libraries that quantise, and how each is installed. No torch here: the parent reads it too."""

from __future__ import annotations

from fmkit.errors import MissingExtraError

QUANTISERS = {
    "bnb": ("bitsandbytes", "pip install bitsandbytes"),  # part of `try` on Linux on x86-64 alone
    "torchao": ("torchao", "pip install 'fmkit[torchao]'"),
    "quanto": ("optimum.quanto", "pip install 'fmkit[quanto]'"),
}
"""By the first word of a quantiser's name (`bnb-nf4`): the module to import, and what installs it."""


def missing_quantiser(quantiser: str, why: str = "is not installed") -> MissingExtraError:
    """The error for a quantiser whose library can't be used."""
    name, install = QUANTISERS[quantiser.partition("-")[0]]
    return MissingExtraError(f"quantising by {quantiser} needs {name}, which {why}", next_command=install)
