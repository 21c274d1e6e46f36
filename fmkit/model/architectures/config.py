"""Reading a config.json that may be wrong or hostile: every field is checked before it is used.

A field of the wrong type or range is an UnsafeInputError that names the file and the field; a field that isn't there
is an ArchitectureUnknownError that names the missing fact. Nothing else is raised, whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TypeGuard

from fmkit.errors import ArchitectureUnknownError, UnsafeInputError, nearest_phrase
from fmkit.model.precision import DTYPE_BYTES

MAX_SIZE = 2**40
"""The largest size or length that is believed: far above any model, far below an overflow."""

MAX_LAYERS = 10_000
"""The most layers (or tiles, or list items) that are believed; lists of layers are walked."""


class ConfigReader:
    """One object of a config.json, with its file and its path in it.

    `nested` objects (`text_config`, `vision_config`) may leave a dimension at its documented class default, as
    published repositories do; at the top level a missing dimension is an error.
    """

    def __init__(self, data: object, *, where: str, path: str = "", nested: bool = False) -> None:
        self.where = where
        self.path = path
        self.nested = nested
        if not isinstance(data, Mapping):
            raise UnsafeInputError(
                f"{path.rstrip('.') or 'the file'} is {describe(data)}, but an object was expected", where=where
            )
        self._data = data

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._data.get(name) is not None

    def core(self, *names: str, class_default: int) -> int:
        """A dimension that must be stated at the top level; nested, its class default counts."""
        return self.size(*names, default=class_default if self.nested else None)

    def layers(self, *names: str, class_default: int) -> int:
        """A number of layers, stated at the top level."""
        count = self.core(*names, class_default=class_default)
        if count > MAX_LAYERS:
            raise self.wrong(names[0], f"at most {MAX_LAYERS:,} layers", count)
        return count

    def size(self, *names: str, default: int | None = None, null: int | None = None, minimum: int = 1) -> int:
        """A whole number of at least `minimum`; the first of `names` that is there counts.

        `default` stands for an absent field, `null` for one that is null. Without a default, a null field lacks as much
        as an absent one; with one, null is an error, for no class takes it for the default.
        """
        name = next((name for name in names if name in self._data), None)
        if name is None:
            if default is None:
                raise self.missing(names[0])
            return default
        value = self._data[name]
        if value is None and null is not None:
            return null
        if value is None and default is None:
            raise self.missing(name)
        if not _is_whole(value) or not minimum <= value <= MAX_SIZE:
            raise self.wrong(name, f"a whole number from {minimum} to 2**40", value)
        return value

    def optional_size(self, *names: str, minimum: int = 1) -> int | None:
        """A whole number, or None where the field is absent or null."""
        name = next((name for name in names if self.has(name)), None)
        return None if name is None else self.size(name, minimum=minimum)

    def number(self, name: str, default: float) -> float:
        """A positive finite number."""
        value = self._data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SIZE:
            raise self.wrong(name, "a positive number", value)
        number = float(value)
        if not isfinite(number):
            raise self.wrong(name, "a finite number", value)
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false; null counts as absent."""
        value = self._data.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None where the field is absent or null."""
        value = self._data.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, or None where the field is absent or null."""
        value = self._list(name)
        if value is None:
            return None
        for position, item in enumerate(value):
            if not isinstance(item, str):
                raise self.wrong(f"{name}[{position}]", "a string", item)
        return tuple(item for item in value if isinstance(item, str))

    def sizes(self, name: str, *, minimum: int = 0) -> tuple[int, ...] | None:
        """A list of whole numbers, or None where the field is absent or null."""
        value = self._list(name)
        if value is None:
            return None
        for position, item in enumerate(value):
            if not _is_whole(item) or not minimum <= item <= MAX_SIZE:
                raise self.wrong(f"{name}[{position}]", f"a whole number from {minimum} to 2**40", item)
        return tuple(item for item in value if _is_whole(item))

    def pairs(self, name: str) -> tuple[tuple[int, int], ...] | None:
        """A list of pairs of sizes, or None where the field is absent or null."""
        value = self._list(name)
        if value is None:
            return None
        pairs = []
        for position, item in enumerate(value):
            if not isinstance(item, list | tuple) or len(item) != 2 or not all(_is_size(side) for side in item):
                raise self.wrong(f"{name}[{position}]", "a pair of positive whole numbers", item)
            pairs.append((item[0], item[1]))
        return tuple(pairs)

    def parts(self, name: str) -> tuple[ConfigReader, ...]:
        """The objects of a list that must be there."""
        value = self._list(name)
        if value is None:
            raise self.missing(name)
        return tuple(
            ConfigReader(item, where=self.where, path=f"{self._at(name)}[{position}].", nested=True)
            for position, item in enumerate(value)
        )

    def length(self, name: str) -> int | None:
        """How many items a list or object holds, or None where the field is absent or null."""
        value = self._data.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple | Mapping):
            raise self.wrong(name, "a list or an object", value)
        return len(value)

    def is_list(self, name: str) -> bool:
        """Whether the field holds a list."""
        return isinstance(self._data.get(name), list | tuple)

    def is_whole(self, name: str) -> bool:
        """Whether the field holds a whole number."""
        return _is_whole(self._data.get(name))

    def is_minus_one(self, name: str) -> bool:
        """Whether the field is -1, which some configs use for "all" or "the last"."""
        value = self._data.get(name)
        return _is_whole(value) and value == -1

    def child(self, name: str) -> ConfigReader | None:
        """The object in a field, or None where it is absent or null."""
        value = self._data.get(name)
        if value is None:
            return None
        return ConfigReader(value, where=self.where, path=f"{self._at(name)}.", nested=True)

    def part(self, name: str) -> ConfigReader:
        """The object in a field that must be there; its own fields may be left at their class defaults."""
        child = self.child(name)
        if child is None:
            raise self.missing(name)
        return child

    @property
    def model_type(self) -> str | None:
        """The `model_type` of this object."""
        return self.optional_text("model_type")

    @property
    def class_name(self) -> str | None:
        """The first of `architectures`: the class that the repository names."""
        names = self.texts("architectures")
        return names[0] if names else None

    @property
    def dtype(self) -> str | None:
        """The type the weights are stored in, as a PyTorch name, or None where the config is silent."""
        for name in ("dtype", "torch_dtype"):
            text = self.optional_text(name)
            if text is None:
                continue
            dtype = text.removeprefix("torch.")
            if dtype not in DTYPE_BYTES:
                raise self.wrong(name, f"a PyTorch type{nearest_phrase(dtype, DTYPE_BYTES)}", text)
            return dtype
        return None

    def divide(self, name: str, amount: int, by: str, parts: int) -> int:
        """`amount / parts`, which must come out even."""
        if amount % parts:
            raise self.wrong(name, f"a multiple of {by} ({parts})", amount)
        return amount // parts

    def missing(self, fact: str) -> ArchitectureUnknownError:
        """The error for a fact the config lacks."""
        return ArchitectureUnknownError(
            f"config.json lacks {self._at(fact)}, without which the model can't be sized",
            where=self.where,
            next_command="fmkit catalog list",
        )

    def unknown(self, message: str) -> ArchitectureUnknownError:
        """The error for a fact that is there but not understood."""
        return ArchitectureUnknownError(message, where=self.where, next_command="fmkit catalog list")

    def wrong(self, name: str, expected: str, value: object) -> UnsafeInputError:
        """The error for a field of the wrong type or range."""
        return UnsafeInputError(f"{self._at(name)} is {describe(value)}; expected {expected}", where=self.where)

    def _list(self, name: str) -> list[object] | None:
        value = self._data.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise self.wrong(name, "a list", value)
        if len(value) > MAX_LAYERS:
            raise self.wrong(name, f"at most {MAX_LAYERS:,} items", value)
        return list(value)

    def _at(self, name: str) -> str:
        return f"{self.path}{name}"


def describe(value: object) -> str:
    """A value for an error message: short, whatever it is.

    >>> describe(True), describe("a" * 90), describe([1, [2]]), describe(10**30)
    ('true', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'", 'a list', 'a number of 100 bits')
    """
    if isinstance(value, str):
        shown_chars = 40
        return repr(value) if len(value) <= shown_chars else f"'{value[:shown_chars]}...'"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return (
            {None: "null", True: "true", False: "false"}[value]
            if value is None or isinstance(value, bool)
            else str(value)
        )
    names = ((Mapping, "an object"), (list | tuple, "a list"))
    return next((name for kind, name in names if isinstance(value, kind)), f"a {type(value).__name__}")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: object) -> TypeGuard[int]:
    return _is_whole(value) and 1 <= value <= MAX_SIZE
