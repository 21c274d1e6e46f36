"""How a repository's weights are stored, as its quantization_config says, on the spec that its config.json gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.quantised.modelopt import cache_type
from fmkit.model.quantised.read import layout_of, quantisation_of

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec


def with_stored_layout(spec: ModelSpec, config: Mapping[str, Any], where: str) -> ModelSpec:
    """The spec with the layout of the stored weights; as it is for weights that are not quantised.

    What is not understood of the quantisation is kept as `stored_fault`: other precisions can be sized all the same.
    """
    try:
        found = quantisation_of(config, where)
        if found is None:
            return spec
        method, fields = found
        layout = layout_of(method, fields, spec)
    except ArchitectureUnknownError as error:
        return msgspec.structs.replace(spec, stored_fault=error.message, notes=(*spec.notes, error.message))
    notes = [f"the repository stores its weights quantised ({method}: {layout.name})"]
    cache = cache_type(fields)
    if cache is not None:
        notes.append(f"the repository asks for a cache in {cache.upper()}: --kv-dtype sizes it where the engine has it")
    return msgspec.structs.replace(spec, stored=layout, notes=(*spec.notes, *notes))
