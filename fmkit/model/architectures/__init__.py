"""config.json -> ModelSpec: one file per lineage, found by listing this package.

A lineage is a module that declares `MODEL_TYPES` (the `model_type` values it reads) and `read(config) -> ModelSpec`.
Adding one is adding a file. A type without one is read by `generic`, if its fields say everything. Names and shapes are
those of the class in transformers 5.23; a test instantiates the class and compares.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.model.architectures import generic
from fmkit.model.architectures.config import ConfigReader
from fmkit.model.architectures.decoder import named_dtype
from fmkit.model.architectures.stored import with_stored_layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from fmkit.model.spec import ModelSpec

MAX_PARAMS = 2**53
"""More parameters than any machine holds: a config that asks for them is a mistake or an attack."""


def read(config: Mapping[str, Any], *, where: str) -> ModelSpec:
    """The architecture that a config.json describes; `where` names the file in errors."""
    reader = ConfigReader(config, where=where)
    model_type = reader.model_type
    if model_type is None:
        raise reader.missing("model_type")
    module = lineage_of(model_type)
    spec: ModelSpec = generic.read(reader, lineages()) if module is None else module.read(reader)
    if spec.params > MAX_PARAMS:
        raise UnsafeInputError("the sizes add up to more than 2**53 parameters", where=where)
    if spec.config_dtype == "float32" and named_dtype(reader) is None:
        spec = msgspec.structs.replace(spec, names_dtype=False)
    return with_stored_layout(spec, config, where)


def lineage_of(model_type: str) -> ModuleType | None:
    """The module of a `model_type`: the one of its name, if there is one, before all are loaded to find it."""
    name = model_type.replace("-", "_")
    if name in _module_names():
        module = importlib.import_module(f"{__name__}.{name}")
        if model_type in getattr(module, "MODEL_TYPES", ()):
            return module
    return lineages().get(model_type)


@cache
def _module_names() -> frozenset[str]:
    return frozenset(info.name for info in pkgutil.iter_modules(__path__))


@cache
def lineages() -> dict[str, ModuleType]:
    """The module of each known `model_type`."""
    found: dict[str, ModuleType] = {}
    for name in sorted(_module_names()):
        module = importlib.import_module(f"{__name__}.{name}")
        for model_type in getattr(module, "MODEL_TYPES", ()):
            found[model_type] = module
    return found
