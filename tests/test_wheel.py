"""A wheel, installed into an empty environment outside the checkout, answers as the checkout does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.cli.running import fmkit as from_checkout

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
LARGEST_WHEEL_BYTES = 10_000_000

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "FMKIT_"))
    }
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
        timeout=300,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the checkout; the test is skipped where no package index can be reached from it."""
    folder = tmp_path_factory.mktemp("wheel")
    probe = run(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder / "probe", "hatchling", cwd=folder
    )
    if probe.returncode != 0:
        pytest.skip("no package index can be reached, so no empty environment can be filled")
    return folder


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    """The wheel, built from a copy of the checkout."""
    source = place / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place / "dist", source, cwd=place)
    assert built.returncode == 0, built.stderr
    (found,) = (place / "dist").glob("fmkit-*.whl")
    return found


@pytest.fixture(scope="module")
def environment(place: Path, wheel: Path) -> Path:
    """The `bin` of an environment that holds the wheel and what it needs, nothing else."""
    venv.create(place / "env", with_pip=True)
    binaries = place / "env" / ("Scripts" if os.name == "nt" else "bin")
    installed = run(
        binaries / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=place
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    return binaries


def test_the_wheel_is_small_and_carries_the_catalog(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    assert "fmkit/_catalog/licences.yaml" in names
    assert any(name.startswith("fmkit/_catalog/configs/") for name in names)
    assert any(name.endswith(".msgpack") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.parametrize(
    "command",
    [
        ("vram", "llama-3.1-8b", "--gpu", "rtx-4090", "--json"),
        ("recommend", "chat", "--gpu", "rtx-4090", "--json"),
        ("catalog", "list", "--json"),
    ],
    ids=" ".join,
)
def test_it_answers_as_the_checkout_does(environment: Path, place: Path, command: tuple[str, ...]) -> None:
    answer = run(environment / "fmkit", *command, cwd=place)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == from_checkout(*command).json()


def test_it_is_the_wheel_that_runs(environment: Path, place: Path) -> None:
    where = run(environment / "python", "-c", "import fmkit; print(fmkit.__file__)", cwd=place)
    assert str(place) in where.stdout


def test_trying_without_the_optional_part_names_the_install_command(environment: Path, place: Path) -> None:
    answer = run(environment / "fmkit", "try", "--json", cwd=place)
    assert answer.returncode == 7, answer.stderr
    assert "pip install 'fmkit[try]'" in json.loads(answer.stdout)["next"]
