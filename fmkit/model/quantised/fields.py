"""The fields of a quantization_config, checked for type as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from fmkit.errors import ArchitectureUnknownError, UnsafeInputError

MAX_GROUP = 2**20


class Fields:
    """One JSON object of a quantization_config; `path` names it in errors."""

    def __init__(self, values: Mapping[str, Any], path: str = "quantization_config") -> None:
        self.values = values
        self.path = path

    def refuse(self, key: str, why: str = "is not known here") -> NoReturn:
        """Stop with the option that is not understood."""
        value = str(self.values.get(key))[:60]
        raise ArchitectureUnknownError(
            f"{self.path}.{key} = {value!r} {why}: the stored weights can't be sized",
            next_command="ask for a precision that is made of 16-bit weights: --precision fp16",
        )

    def text(self, *keys: str, default: str | None = None) -> str | None:
        """The first of `keys` that is there, as text in lower case."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not isinstance(value, str):
                self.refuse(key, "is no text")
            return value.lower()
        return default

    def whole(self, *keys: str, default: int | None = None, least: int = 1) -> int | None:
        """The first of `keys` that is there, as a whole number."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_GROUP:
                self.refuse(key, "is no number that makes sense")
            return value
        return default

    def group_size(self, *keys: str, default: int) -> int:
        """The first of `keys` that is there: how many inputs share a scale, -1 for all of a row. No quantiser can write 0."""
        size = self.whole(*keys, default=default, least=-1)
        if not size:
            key = next(key for key in keys if self.values.get(key) is not None)
            raise UnsafeInputError(f"{self.path}.{key} is 0; expected a positive number, or -1 for whole rows")
        return size

    def flag(self, key: str) -> bool:
        """Whether `key` is true."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse(key, "is neither true nor false")
        return value is True

    def names(self, *keys: str) -> tuple[str, ...] | None:
        """The first of `keys` that is there, as a list of names; None where none is."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
                self.refuse(key, "is no list of names")
            return tuple(value)
        return None

    def inner(self, key: str) -> Fields | None:
        """The object under `key`, None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.refuse(key, "is no object")
        return Fields(value, f"{self.path}.{key}")
