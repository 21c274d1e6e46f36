"""The source files of the catalog, read and checked one by one; what joins them is checked in `check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fmkit.catalog.capability import read_capability
from fmkit.catalog.csv_file import read_csv
from fmkit.catalog.faults import Fault
from fmkit.catalog.published import Published, read_published
from fmkit.catalog.schema import (
    ApiFile,
    ConfigRow,
    EngineFile,
    FamilyFile,
    HardwareFile,
    LicenceFile,
    PrecisionFile,
    ScoreRow,
    SizeFile,
    TaskFile,
)
from fmkit.catalog.speed import read_speed
from fmkit.catalog.yaml_file import read_yaml
from fmkit.model.quality import QualityLoss
from fmkit.selection.capability import CapabilityFit
from fmkit.selection.facts import CloudPrice
from fmkit.speed.efficiency import SpeedFit

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

_NO_LICENCES = LicenceFile(licences={})
_NO_TASKS = TaskFile(tasks={})
_NO_SIZES = SizeFile(sizes={})
_NO_PRECISIONS = PrecisionFile(precisions={}, layouts={})


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """All source files by the stem of their name; CSV rows keep the line they stand on. `faults` are those of single files.

    `own` is a user's own catalog that was laid over the shipped one, as it was read.
    """

    folder: Path
    date: str
    families: dict[str, FamilyFile]
    apis: dict[str, ApiFile]
    hardware: dict[str, HardwareFile]
    engines: dict[str, EngineFile]
    licences: LicenceFile
    tasks: TaskFile
    precisions: PrecisionFile
    sizes: SizeFile
    quality_losses: list[tuple[int, QualityLoss]]
    configs: dict[str, ConfigRow]
    scores: dict[str, list[tuple[int, ScoreRow]]]
    cloud_prices: list[tuple[int, CloudPrice]]
    published: Published
    speed: SpeedFit
    capability: CapabilityFit
    faults: tuple[Fault, ...]
    own: Sources | None = None

    @property
    def own_folder(self) -> Path | None:
        """The folder of a user's own catalog that was laid over this one; None where there is none."""
        return None if self.own is None else self.own.folder

    def path(self, name: str) -> Path:
        """Where a file of the catalog is: in the user's own folder if it has one of that name."""
        own = None if self.own_folder is None else self.own_folder / name
        return own if own is not None and own.is_file() else self.folder / name

    def read_config(self, file: str) -> dict[str, Any]:
        """A model's config.json by its file name in configs/."""
        config: dict[str, Any] = json.loads(self.path(f"configs/{file}").read_text(encoding="utf-8"))
        return config


def read_sources(folder: Path, *, dated: bool = True) -> Sources:
    """Read every file of `folder`. A file that is absent counts as empty here; `check` says which must be there.

    A user's own catalog has no date of its own (`dated` False).
    """
    faults: list[Fault] = []
    return Sources(
        folder=folder,
        date=_read_date(folder, faults) if dated else "",
        families=_read_folder(folder, "families", FamilyFile, faults),
        apis=_read_folder(folder, "api", ApiFile, faults),
        hardware=_read_folder(folder, "hardware", HardwareFile, faults),
        engines=_read_folder(folder, "engines", EngineFile, faults),
        licences=_read_one(folder, "licences.yaml", LicenceFile, faults) or _NO_LICENCES,
        tasks=_read_one(folder, "tasks.yaml", TaskFile, faults) or _NO_TASKS,
        sizes=_read_one(folder, "sizes.yaml", SizeFile, faults) or _NO_SIZES,
        precisions=_read_one(folder, "precisions.yaml", PrecisionFile, faults) or _NO_PRECISIONS,
        quality_losses=_read_losses(folder, faults),
        configs=_read_index(folder, faults),
        scores={
            path.stem: read_csv(path, f"scores/{path.name}", ScoreRow, faults)
            for path in regular_files(folder, "scores/*.csv")
        },
        cloud_prices=_read_prices(folder, faults),
        published=read_published(folder, faults),
        speed=read_speed(folder, faults),
        capability=read_capability(folder, faults),
        faults=tuple(faults),
    )


def regular_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, sorted; a pipe or a device of that name is none, and would be waited for without end."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _read_date(folder: Path, faults: list[Fault]) -> str:
    path = folder / "VERSION"
    if not path.is_file():
        faults.append(Fault("VERSION", "$", "missing: it holds the catalog's date, YYYY-MM-DD"))
        return ""
    return path.read_text(encoding="utf-8").strip()


def _read_one(folder: Path, name: str, kind: type[T], faults: list[Fault]) -> T | None:
    path = folder / name
    return read_yaml(path, name, kind, faults) if path.is_file() else None


def _read_folder(folder: Path, name: str, kind: type[T], faults: list[Fault]) -> dict[str, T]:
    read = {
        path.stem: read_yaml(path, f"{name}/{path.name}", kind, faults)
        for path in regular_files(folder, f"{name}/*.yaml")
    }
    return {stem: value for stem, value in read.items() if value is not None}


def _read_losses(folder: Path, faults: list[Fault]) -> list[tuple[int, QualityLoss]]:
    path, name = folder / "quality" / "loss.csv", "quality/loss.csv"
    return read_csv(path, name, QualityLoss, faults) if path.is_file() else []


def _read_index(folder: Path, faults: list[Fault]) -> dict[str, ConfigRow]:
    path, name = folder / "configs" / "INDEX.csv", "configs/INDEX.csv"
    if not path.is_file():
        return {}
    rows: dict[str, ConfigRow] = {}
    for line, row in read_csv(path, name, ConfigRow, faults):
        if row.file in rows:
            faults.append(Fault(name, f"line {line}", f"{row.file} is listed twice"))
        rows[row.file] = row
    return rows


def _read_prices(folder: Path, faults: list[Fault]) -> list[tuple[int, CloudPrice]]:
    path = folder / "prices" / "cloud.csv"
    return read_csv(path, "prices/cloud.csv", CloudPrice, faults) if path.is_file() else []
