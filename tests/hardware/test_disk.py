"""The disk under the models: its kind by what sysfs shows, and a rate that is a rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.hardware import disk
from fmkit.hardware.disk import kind_of, models_folder, read_bytes_per_s
from fmkit.units import MIB


def block(folder: Path, path: str, rotational: str | None) -> Path:
    """A block device as sysfs lays it out: the link 8:1 leads to the partition below its disk."""
    target = folder / "devices" / path
    target.mkdir(parents=True)
    whole = target if "/" not in path else target.parent
    if target != whole:
        (target / "partition").write_text("1\n")
    if rotational is not None:
        (whole / "queue").mkdir()
        (whole / "queue" / "rotational").write_text(f"{rotational}\n")
    link = folder / "8:1"
    link.symlink_to(target)
    return link


@pytest.mark.parametrize(
    ("path", "rotational", "kind"),
    [
        ("nvme0n1/nvme0n1p2", "0", "nvme"),
        ("sda/sda1", "1", "disk"),
        ("sda/sda1", "0", "ssd"),
        ("sdb", "0", "ssd"),
        ("mmcblk0/mmcblk0p2", "0", "ssd"),
        ("dm-0", "0", None),  # what is behind a mapped device is not said
        ("vda/vda1", "1", None),  # a virtual disk calls itself rotating
        ("sdc", None, None),
    ],
)
def test_kinds(path: str, rotational: str | None, kind: str | None, tmp_path: Path) -> None:
    assert kind_of(block(tmp_path, path, rotational)) == kind


def test_an_overlay_has_no_device_of_its_own(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "0:41") is None


def test_models_are_looked_for_where_the_hub_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "not-there" / "yet"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert models_folder() == tmp_path


def test_a_file_is_written_read_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "FILE_BYTES", 16 * MIB)
    rate = read_bytes_per_s(tmp_path)
    assert rate is None or rate > 1e6
    assert not list(tmp_path.glob("fmkit-disk-*"))
    assert read_bytes_per_s(tmp_path / "absent") is None
