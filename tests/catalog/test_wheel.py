"""The wheel brings the catalog, sources and compiled, and runs from it alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fmkit.catalog.compile import content_hash
from fmkit.catalog.paths import source_folder

wheel_builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel; part of fmkit[dev]")

ROOT = Path(__file__).parents[2]
MAX_WHEEL_BYTES = 10 * 10**6


@pytest.mark.slow
def test_a_wheel_carries_its_catalog(tmp_path: Path) -> None:
    built = next(iter(wheel_builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    assert Path(built).stat().st_size < MAX_WHEEL_BYTES
    site = tmp_path / "site"
    with zipfile.ZipFile(built) as wheel:
        wheel.extractall(site)
    catalog = site / "fmkit" / "_catalog"
    assert (catalog / "NOTICE.md").is_file()
    assert {path.name for path in catalog.glob("families/*.yaml")} == {
        path.name for path in source_folder().glob("families/*.yaml")
    }
    program = (
        "import fmkit.catalog.load as load; catalog = load.load_catalog();"
        " print(load.__file__, catalog.model('llama-3.1-8b').spec.params, catalog._compiled.head.content)"
    )
    environment = {**os.environ, "FMKIT_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(site)}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert Path(output[0]).is_relative_to(site)
    assert output[1:] == ["8030261248", content_hash(source_folder())]
    assert not (tmp_path / "cache").exists()
