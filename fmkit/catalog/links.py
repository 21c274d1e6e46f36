"""What joins the files: names to models, models to configs. Faults here make a catalog impossible to compile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from fmkit.catalog.schema import ApiModelEntry, DeviceEntry, FamilyFile, ModelEntry
    from fmkit.catalog.sources import Sources


class OpenModel(msgspec.Struct, frozen=True):
    """A model of a family file, with the family it stands in."""

    family_id: str
    family: FamilyFile
    entry: ModelEntry

    def place(self, model_id: str, key: str) -> tuple[str, str]:
        """The file and path of a key of this model, for faults."""
        return f"families/{self.family_id}.yaml", f"$.models.{model_id}.{key}"


class Links(msgspec.Struct, frozen=True):
    """Every model and device by id, every name a model or device answers to (case-folded), and what is wrong with them."""

    open_models: dict[str, OpenModel]
    api_models: dict[str, tuple[str, ApiModelEntry]]
    devices: dict[str, tuple[str, DeviceEntry]]
    names: dict[str, str]
    device_names: dict[str, str]
    faults: tuple[Fault, ...]

    def config_file(self, model_id: str) -> str | None:
        """The config file of a model, through `config_of`; None where the chain ends without one or turns in a circle."""
        seen: set[str] = set()
        current = model_id
        while current in self.open_models and current not in seen:
            seen.add(current)
            entry = self.open_models[current].entry
            if entry.config is not None or entry.config_of is None:
                return entry.config
            current = entry.config_of
        return None


def link(sources: Sources) -> Links:
    """Index the models and devices of all files; a name that means two things is a fault."""
    faults: list[Fault] = []
    open_models: dict[str, OpenModel] = {}
    api_models: dict[str, tuple[str, ApiModelEntry]] = {}
    names = _Names("model", faults)
    for family_id, family in sources.families.items():
        for model_id, entry in family.models.items():
            open_models.setdefault(model_id, OpenModel(family_id, family, entry))
            place = (f"families/{family_id}.yaml", f"$.models.{model_id}")
            names.add(model_id, model_id, *place)
            names.add(entry.hub_id, model_id, place[0], f"{place[1]}.hub_id")
            for alias in entry.aliases:
                names.add(alias, model_id, place[0], f"{place[1]}.aliases")
    for provider_id, api in sources.apis.items():
        for model_id, api_entry in api.models.items():
            api_models.setdefault(model_id, (provider_id, api_entry))
            place = (f"api/{provider_id}.yaml", f"$.models.{model_id}")
            names.add(model_id, model_id, *place)
            for alias in api_entry.aliases:
                names.add(alias, model_id, place[0], f"{place[1]}.aliases")
    devices: dict[str, tuple[str, DeviceEntry]] = {}
    device_names = _Names("device", faults)
    for vendor, hardware in sources.hardware.items():
        for device_id, device in hardware.devices.items():
            devices.setdefault(device_id, (hardware.vendor, device))
            place = (f"hardware/{vendor}.yaml", f"$.devices.{device_id}")
            device_names.add(device_id, device_id, *place)
            for alias in device.aliases:
                device_names.add(alias, device_id, place[0], f"{place[1]}.aliases")
    found = Links(open_models, api_models, devices, names.owners, device_names.owners, ())
    return msgspec.structs.replace(found, faults=(*faults, *_config_faults(found, sources)))


class _Names:
    """Names and whom they mean, case-insensitively."""

    def __init__(self, noun: str, faults: list[Fault]) -> None:
        self.noun = noun
        self.faults = faults
        self.owners: dict[str, str] = {}
        self.places: dict[str, str] = {}

    def add(self, name: str, owner: str, file: str, path: str) -> None:
        """Note that `name` means `owner`; a name already taken is a fault."""
        folded = name.casefold()
        if folded in self.owners:
            message = f"the name {name!r} is taken by {self.noun} {self.owners[folded]!r} ({self.places[folded]})"
            self.faults.append(Fault(file, path, message))
            return
        self.owners[folded] = owner
        self.places[folded] = f"{file} {path}"


def _config_faults(links: Links, sources: Sources) -> list[Fault]:
    faults: list[Fault] = []
    for model_id, model in links.open_models.items():
        entry = model.entry
        if entry.config is not None and entry.config_of is not None:
            faults.append(Fault(*model.place(model_id, "config_of"), "give config or config_of, not both"))
        elif entry.config is not None:
            if entry.config not in sources.configs:
                message = f"{entry.config} is not in configs/INDEX.csv"
                faults.append(Fault(*model.place(model_id, "config"), message, names=entry.config))
            if not sources.path(f"configs/{entry.config}").is_file():
                faults.append(Fault(*model.place(model_id, "config"), f"configs/{entry.config} does not exist"))
        elif entry.config_of is None:
            faults.append(Fault(*model.place(model_id, "config"), "missing: give config or config_of"))
        elif entry.config_of not in links.open_models:
            message = f"no model {entry.config_of!r} in the catalog"
            faults.append(Fault(*model.place(model_id, "config_of"), message, names=entry.config_of))
        elif links.config_file(model_id) is None:
            faults.append(Fault(*model.place(model_id, "config_of"), f"{entry.config_of!r} leads to no config file"))
    return faults
