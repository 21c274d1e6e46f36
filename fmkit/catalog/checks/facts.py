"""What the rules look at: the sources, what joins them, and the architectures in the configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.catalog.links import Links
from fmkit.catalog.sources import Sources
from fmkit.catalog.training import training
from fmkit.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.links import OpenModel
    from fmkit.catalog.schema import ApiModelEntry, DeviceEntry


class Facts(msgspec.Struct, frozen=True):
    """The whole catalog as it was read; `specs` by name of the file in configs/, those that could be read."""

    sources: Sources
    links: Links
    specs: dict[str, ModelSpec]

    @property
    def judged(self) -> Sources:
        """Whose entries are held against what others published: a user's own where there is one, for the shipped was before."""
        return self.sources.own or self.sources

    def judged_models(self) -> Iterator[tuple[str, OpenModel]]:
        """The open models of `judged`."""
        for model_id, model in self.links.open_models.items():
            if model.family_id in self.judged.families:
                yield model_id, model

    def spec(self, model_id: str) -> ModelSpec | None:
        """The architecture of an open model."""
        return self.specs.get(self.links.config_file(model_id) or "")

    def released(self, model_id: str) -> str | None:
        """The date of release of a model, open or not."""
        if model_id in self.links.open_models:
            return self.links.open_models[model_id].entry.released
        return self.links.api_models[model_id][1].released if model_id in self.links.api_models else None

    def context_tokens(self, model_id: str) -> int | None:
        """The context that the catalog gives a model: its entry's, else its configuration's."""
        if model_id in self.links.api_models:
            return self.links.api_models[model_id][1].context_tokens
        model, spec = self.links.open_models.get(model_id), self.spec(model_id)
        stated = None if model is None else model.entry.context_tokens
        return stated or (None if spec is None else spec.max_context_tokens)

    def training_tokens(self, model_id: str) -> int | None:
        """All training tokens of an open model, as far as they are known."""
        return training(self.links, model_id).tokens

    def devices(self) -> Iterator[tuple[str, str, DeviceEntry]]:
        """Every device as (file, path, entry)."""
        for stem, hardware in self.sources.hardware.items():
            for device_id, entry in hardware.devices.items():
                yield f"hardware/{stem}.yaml", f"$.devices.{device_id}", entry

    def api_models(self) -> Iterator[tuple[str, str, str, ApiModelEntry]]:
        """Every closed model as (provider's id, file, path, entry)."""
        for stem, api in self.sources.apis.items():
            for model_id, entry in api.models.items():
                yield stem, f"api/{stem}.yaml", f"$.models.{model_id}", entry
