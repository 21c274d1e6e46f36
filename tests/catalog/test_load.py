"""The compiled catalog: when it is made, when it is kept, and what reading it costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fmkit.catalog import load
from fmkit.catalog.compile import compile_catalog, encode
from fmkit.catalog.load import Catalog, load_catalog, open_catalog
from fmkit.catalog.paths import cache_folder, compiled_file, source_folder
from fmkit.errors import CatalogInvalidError, UsageError
from fmkit.units import GIB

_HEAVY = (
    "yaml",
    "csv",
    "fmkit.model.architectures",
    "torch",
    "transformers",
    "numpy",
    "huggingface_hub",
    "pydantic",
    "rich",
)


@pytest.fixture
def catalog_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped sources, with a cache folder of its own."""
    monkeypatch.setenv("FMKIT_CACHE_DIR", str(tmp_path / "cache"))
    return Path(shutil.copytree(source_folder(), tmp_path / "catalog"))


def _compilations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A list that grows with every compilation from now on."""
    done: list[Path] = []

    def counted(folder: Path, *arguments: object) -> object:
        done.append(folder)
        return compile_catalog(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("fmkit.catalog.compile.compile_catalog", counted)
    return done


def test_a_second_reader_compiles_nothing(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = _compilations(monkeypatch)
    first = open_catalog(catalog_copy)
    assert open_catalog(catalog_copy).model_ids() == first.model_ids()
    assert done == [catalog_copy]


def test_a_changed_file_is_compiled(catalog_copy: Path) -> None:
    assert open_catalog(catalog_copy).devices["rtx-4090"].power_w == 450
    file = catalog_copy / "hardware" / "nvidia.yaml"
    file.write_text(file.read_text().replace("power_w: 450", "power_w: 451"))
    assert open_catalog(catalog_copy).devices["rtx-4090"].power_w == 451


def test_a_touched_file_is_not_compiled_again(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new checkout has new times: the contents decide, and are looked at once."""
    done = _compilations(monkeypatch)
    open_catalog(catalog_copy)
    os.utime(catalog_copy / "licences.yaml", (1, 1))
    open_catalog(catalog_copy)
    assert len(done) == 1
    monkeypatch.setattr("fmkit.catalog.compile.content_hash", None)  # the new times were kept: not called again
    open_catalog(catalog_copy)


def test_a_removed_file_is_noticed(catalog_copy: Path) -> None:
    open_catalog(catalog_copy)
    (catalog_copy / "api" / "xai.yaml").unlink()
    assert open_catalog(catalog_copy).resolve("grok-4.3") is None


def test_a_changed_reader_is_noticed(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program files that read the catalog are part of what a compiled file was made from."""
    reader = tmp_path / "reader.py"
    reader.write_text("one = 1")
    monkeypatch.setattr("fmkit.catalog.load.reader_names", lambda: [str(reader)])
    monkeypatch.setattr("fmkit.catalog.compile.reader_files", lambda: [reader])
    monkeypatch.setattr("fmkit.catalog.compile._named", lambda paths: [(Path(path.name), path) for path in paths])
    done = _compilations(monkeypatch)
    open_catalog(catalog_copy)
    reader.write_text("one = 2; longer")
    open_catalog(catalog_copy)
    assert len(done) == 2


@pytest.mark.parametrize("damage", ["truncated", "other bytes", "one bit"])
def test_a_damaged_compiled_file_is_made_again(catalog_copy: Path, damage: str) -> None:
    open_catalog(catalog_copy)
    place = compiled_file(catalog_copy)
    assert place is not None
    content = bytearray(place.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
    else:
        content[:] = b"no catalog"
    place.write_bytes(content)
    assert open_catalog(catalog_copy).model("llama-3.1-8b").spec is not None
    assert load._read_compiled(place) is not None


def test_a_compiled_file_of_another_version_is_made_again(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_catalog(catalog_copy)
    done = _compilations(monkeypatch)
    monkeypatch.setattr("fmkit.__version__", "9.9.9")
    open_catalog(catalog_copy)
    assert len(done) == 1


def test_a_cache_that_cannot_be_written_is_done_without(
    catalog_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("FMKIT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert "rtx-4090" in open_catalog(catalog_copy).devices


def test_a_user_without_a_home_is_done_without_a_cache(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FMKIT_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert compiled_file(catalog_copy) is None
    assert "rtx-4090" in open_catalog(catalog_copy).devices


def test_no_half_written_file_stays(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", fail)
    open_catalog(catalog_copy)
    place = compiled_file(catalog_copy)
    assert place is not None
    assert list(place.parent.iterdir()) == []


def test_an_absent_catalog_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CatalogInvalidError, match="no catalog at") as raised:
        open_catalog(tmp_path / "nowhere")
    assert raised.value.next_command is not None


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("FMKIT_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("FMKIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "fmkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "fmkit"


def test_an_installed_wheel_reads_its_own_compiled_file(catalog_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fmkit/_catalog/ there, nothing is compiled, cached or even looked at beside that one file."""
    (catalog_copy / "catalog.msgpack").write_bytes(encode(compile_catalog(catalog_copy)))
    monkeypatch.setattr("fmkit.catalog.load.packaged_folder", lambda: catalog_copy)
    monkeypatch.setattr("fmkit.catalog.load.open_catalog", None)
    load_catalog.cache_clear()
    try:
        assert load_catalog().model("gpt2").spec is not None
    finally:
        load_catalog.cache_clear()


def test_names_resolve_whatever_their_case() -> None:
    catalog = load_catalog()
    assert catalog.resolve("meta-llama/Llama-3.1-8B") == "llama-3.1-8b"
    assert catalog.resolve("META-LLAMA/LLAMA-3.1-8B") == "llama-3.1-8b"
    assert catalog.resolve("Claude-3-5-Sonnet-20241022") == "claude-3-5-sonnet"
    assert catalog.resolve("no-such-model") is None
    with pytest.raises(UsageError, match=r"nearest: llama-3\.1-8b"):
        catalog.model("lama-3.1-8b")


def test_a_model_is_decoded_when_asked_for_and_once() -> None:
    catalog = load_catalog()
    model = catalog.model("llama-3.1-8b")
    assert model is catalog.model("meta-llama/Llama-3.1-8B")
    assert model.spec is not None
    assert model.spec.params == model.candidate.params == 8_030_261_248
    assert model.config_confidence in {"verbatim", "derived"}
    assert model.config_file == "meta-llama--Meta-Llama-3.1-8B.json"


def test_an_api_model_has_no_architecture() -> None:
    model = load_catalog().model("gpt-4")
    assert model.spec is None
    assert model.candidate.hub_id is None
    assert model.candidate.spec_kind == "api"
    assert model.candidate.released == "2023-03-14"
    assert model.candidate.api is not None
    assert (model.candidate.api.input_usd_per_1m, model.candidate.api.output_usd_per_1m) == (30, 60)


def test_candidates_are_all_models_in_order() -> None:
    catalog = load_catalog()
    assert tuple(candidate.id for candidate in catalog.candidates()) == catalog.model_ids()


@pytest.mark.parametrize(
    ("device", "memory_bytes", "bandwidth", "float16"),
    [
        ("l40s", 48 * GIB, 864e9, 362.1e12),  # nominal, as its neighbours
        ("arc-a770-16gb", 16 * GIB, 560e9, 157.3e12),  # 512 is the 8 GB card
        ("h200-nvl-141gb", 141 * GIB, 4800e9, 835e12),
        ("a10g", 24 * GIB, 600.2e9, 70e12),  # dense; 140 is with sparsity
        ("mi250x", 64 * GIB, 1638.4e9, 191.5e12),  # one of a card's two devices
        ("b300-sxm", 288 * 10**9, 7750e9, 2250e12),  # decimal gigabytes
        ("cpu-desktop-ddr5-dual", None, 89.6e9, None),
        ("h100-sxm5-80gb", 80 * GIB, 3350e9, 989e12),  # dense; 1979 is with sparsity
        ("ryzen-ai-max-395", 128 * GIB, 256e9, 59.4e12),  # of the matrix units; the vector rate is half
        ("apple-m3-max-36gb", 36 * GIB, 300e9, 10.65e12),  # this size comes with the smaller GPU only
        ("apple-m4-max-36gb", 36 * GIB, 410e9, 14.7e12),
    ],
)  # fmt: skip
def test_known_faults_of_the_gathered_data_are_corrected(
    device: str, memory_bytes: int | None, bandwidth: float, float16: float | None
) -> None:
    found = load_catalog().devices[device]
    assert found.memory_bytes == memory_bytes
    assert found.bandwidth_bytes_per_s == bandwidth
    assert found.flops_per_s.get("float16") == float16


def test_there_are_devices_of_every_vendor_and_cpu_classes() -> None:
    devices = load_catalog().devices.values()
    assert {device.vendor for device in devices} >= {"nvidia", "amd", "apple", "intel", "cpu"}
    assert sum(device.device_class == "cpu" for device in devices) >= 2


def test_ids_are_filled_in() -> None:
    catalog = load_catalog()
    for records in (
        catalog.devices,
        catalog.licences,
        catalog.tasks,
        catalog.engines,
        catalog.layouts,
        catalog.precisions,
    ):
        assert records, records
        assert all(record.id == key for key, record in records.items())


def test_the_warm_path_imports_no_parser(tmp_path: Path) -> None:
    """Reading a compiled catalog imports neither PyYAML nor csv nor the architecture readers."""
    program = (
        "import sys; from fmkit.catalog.load import load_catalog; catalog = load_catalog();"
        " catalog.model('llama-3.1-8b'); catalog.engines; catalog.layouts; catalog.devices;"
        f" print(sorted(set({_HEAVY!r}) & set(sys.modules)))"
    )
    environment = {**os.environ, "FMKIT_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(load.__file__).parents[2])}
    output = ""
    for _ in range(2):  # the first run compiles
        output = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout
    assert output == "[]\n"


def test_an_empty_folder_compiles_to_an_empty_catalog(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("2026-11-25\n")
    assert Catalog(compile_catalog(tmp_path)).model_ids() == ()
