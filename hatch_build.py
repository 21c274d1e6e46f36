"""Build hook: puts the catalog into the wheel, its sources and the compiled file, as fmkit/_catalog/.

A catalog with a fault builds no wheel. An editable install gets nothing: it reads ../catalog beside the package.
Needs what [build-system] requires names, and nothing else: hatchling, msgspec, pyyaml.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CatalogBuildHook(BuildHookInterface[Any]):
    """Compiles catalog/ when a wheel is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Check and compile the catalog, and have both forms included."""
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root))
        from fmkit.catalog.check import check  # noqa: PLC0415 - importable only once the root is on the path
        from fmkit.catalog.compile import compile_catalog, encode  # noqa: PLC0415
        from fmkit.catalog.faults import invalid  # noqa: PLC0415
        from fmkit.catalog.paths import COMPILED_NAME, source_files  # noqa: PLC0415

        folder = root / "catalog"
        faults = check(folder)
        if faults:
            raise invalid(faults, where=str(folder))
        included: dict[str, str] = build_data["force_include"]
        for path in (*source_files(folder), folder / "NOTICE.md"):
            included[str(path)] = f"fmkit/_catalog/{path.relative_to(folder).as_posix()}"
        self._scratch = tempfile.TemporaryDirectory()
        compiled = Path(self._scratch.name) / COMPILED_NAME
        compiled.write_bytes(encode(compile_catalog(folder)))
        included[str(compiled)] = f"fmkit/_catalog/{COMPILED_NAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the scratch folder once the wheel is written."""
        del version, build_data, artifact_path
        scratch = getattr(self, "_scratch", None)
        if scratch is not None:
            scratch.cleanup()
