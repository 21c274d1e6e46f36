"""A user's own catalog: what it adds, what gives way to it, and that its faults are told and break nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmkit.api.catalog import check_catalog, list_models, show_model
from fmkit.api.licence import licence
from fmkit.api.recommend import recommend
from fmkit.api.vram import vram
from fmkit.catalog.load import load_catalog, open_catalog
from fmkit.catalog.paths import MOST_OWN_FILES, compiled_file, own_folder, source_folder
from fmkit.cli.main import main
from fmkit.errors import CatalogInvalidError, ExitCode, OwnCatalogWarning

_HOUSE = """\
name: House models
publisher: Our company
summary: A fine-tune of ours, a small one, and a shipped model as we license it.
licence: house
tasks: [chat]
languages: [en, de]
inputs: [text]
outputs: [text]
sources:
  licence: our legal department, 2026-11-20
models:
  house-chat:
    hub_id: our-company/house-chat
    tuning: instruct
    config_of: smollm2-135m-instruct
    base_model: smollm2-135m
  house-small:
    hub_id: our-company/house-small
    tuning: instruct
    config: our-company--house-small.json
  gpt2:
    hub_id: openai-community/gpt2
    tuning: instruct
    config: openai-community--gpt2.json
"""
_LICENCES = """\
licences:
  house:
    name: Terms of the house
    licence_class: permissive
    commercial: "yes"
    conditions: []
    verification: text-read
    source: our legal department
"""
_HARDWARE = """\
vendor: nvidia
devices:
  lab-slice:
    name: A slice of our card
    device_class: datacentre
    memory: 20GiB
    sources:
      memory: nvidia-smi
"""
_SCORES = "model,variant,score,unit,source,source_date,reported_by,notes\nhouse-chat,5-shot,30,%,our own run,2026-11-01,vendor,\n"
_PRICES = "provider,instance,device,count,usd_per_device_hour,region,source,source_date,notes\nhouse,rack,h100-sxm5-80gb,8,98,cellar,our accounts,2026-11-01,\n"


@pytest.fixture(scope="module")
def small_shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped catalog of two families: compiled and checked in a fraction of the time."""
    folder = tmp_path_factory.mktemp("shipped") / "catalog"
    keep_families, keep_configs = (
        {"gpt-2.yaml", "smollm2.yaml"},
        ("openai-community--gpt2", "distilbert--distilgpt2", "HuggingFaceTB--SmolLM2"),
    )

    def left_out(place: str, names: list[str]) -> set[str]:
        here = Path(place).name
        if here in {"api", "measurements"}:
            return set(names)
        if here == "scores":
            return {name for name in names if name != "mmlu.csv"}
        if here == "families":
            return {name for name in names if name not in keep_families}
        if here == "configs":
            return {name for name in names if name.endswith(".json") and not name.startswith(keep_configs)}
        return set()

    shutil.copytree(source_folder(), folder, ignore=left_out)
    for table, kept in (("configs/INDEX.csv", keep_configs), ("scores/mmlu.csv", ("gpt2,", "smollm2"))):
        head, *lines = (folder / table).read_text().splitlines()
        wanted = [line for line in lines if any(name in line for name in kept)] if "INDEX" in table else []
        wanted = wanted or [line for line in lines if line.startswith(kept)]
        (folder / table).write_text("\n".join([head, *wanted, ""]))
    return folder


@pytest.fixture
def own(small_shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A whole catalog of a user's, over the small shipped one."""
    folder = tmp_path / "own"
    files = {
        "families/house.yaml": _HOUSE,
        "licences.yaml": _LICENCES,
        "hardware/ours.yaml": _HARDWARE,
        "scores/mmlu.csv": _SCORES,
        "configs/our-company--house-small.json": (
            source_folder() / "configs" / "HuggingFaceTB--SmolLM2-360M-Instruct.json"
        ).read_text(),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setenv("FMKIT_CATALOG", str(folder))
    monkeypatch.setenv("FMKIT_CACHE_DIR", str(tmp_path / "cache"))
    for module in ("fmkit.catalog.load", "fmkit.catalog.paths"):
        monkeypatch.setattr(f"{module}.source_folder", lambda: small_shipped)
    monkeypatch.setattr(
        "fmkit.catalog.check.check", lambda _: []
    )  # what was left out of the small one is no fault of its own
    load_catalog.cache_clear()
    yield folder
    load_catalog.cache_clear()


def break_file(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def faults_told() -> tuple[str, ...]:
    """The faults for which the own catalog is left out, with a warning."""
    with pytest.warns(OwnCatalogWarning, match="is left out: . fault"):
        own = load_catalog().own
    assert own is not None
    return own.faults


def test_every_command_sees_it(own: Path) -> None:
    assert [row.id for row in list_models(family="house").models] == ["house-chat", "house-small", "gpt2"]
    sized = vram("house-small", gpu="lab-slice", precision="fp16", context="1k")
    assert sized.model.params == 361_821_120
    assert sized.estimates[0].fits
    found = recommend("chat", gpu="lab-slice", only="house", engine="transformers")
    assert {pick.model for pick in found.picks} == {"house-chat", "house-small"}  # GPT-2 holds 1k tokens: too few
    assert [score.score for score in show_model("house-chat").facts.scores] == [30]
    assert own.is_dir()


def test_a_base_model_of_the_shipped_catalog_hands_its_licence_down(own: Path) -> None:
    answer = licence("house-chat", use="commercial")
    assert own.is_dir()
    assert [(text.id, text.inherited_from) for text in answer.licences] == [
        ("house", None),
        ("apache-2.0", "smollm2-135m"),
    ]


def test_what_gives_way_is_said(own: Path) -> None:
    catalog = load_catalog()
    assert catalog.own is not None
    assert catalog.own.replaced == ("model gpt2",)
    assert catalog.model("gpt2").candidate.licence == "house"
    assert f"Of your own catalog, {own}, in the place of the shipped entry." in show_model("gpt2").facts.notes
    assert f"Of your own catalog, {own}." in show_model("house-chat").facts.notes
    assert check_catalog().own == catalog.own


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("families/house.yaml", "licence: house\n", "licence: hous\n", "families/house.yaml:4: $.licence: no licence 'hous'"),
        ("families/house.yaml", "tuning: instruct", "tuning: tuned", "families/house.yaml:14: $.models.house-chat.tuning: "),
        ("families/house.yaml", "config_of: smollm2-135m-instruct", "config_of: nobody", "families/house.yaml:15: $.models.house-chat.config_of: no model"),
        ("families/house.yaml", "  licence: our legal", "  license: our legal", "families/house.yaml:9: $.sources.licence: missing"),
        ("families/house.yaml", "  house-chat:", "  House-chat:", "families/house.yaml:12: $.models.House-chat"),
        ("families/house.yaml", "models:", "models: [", "families/house.yaml: line 1"),
        ("licences.yaml", 'commercial: "yes"', "commercial: maybe", "licences.yaml:5: $.licences.house.commercial: "),
        ("hardware/ours.yaml", "20GiB", "20 parsec", "hardware/ours.yaml:6: $.devices.lab-slice.memory: "),
        ("scores/mmlu.csv", "house-chat,5-shot", "house-chatt,5-shot", "scores/mmlu.csv: line 2, model: no model 'house-chatt'"),
        ("configs/our-company--house-small.json", '"hidden_size"', '"hidden_sise"', "configs/our-company--house-small.json: $: not understood"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_and_the_shipped_catalog_works(
    own: Path, name: str, old: str, new: str, place: str
) -> None:
    break_file(own, name, old, new)
    faults = faults_told()
    assert any(fault.startswith(place) for fault in faults), faults
    assert load_catalog().model("gpt2").candidate.licence == "mit"
    with pytest.raises(CatalogInvalidError) as raised:
        check_catalog()
    assert (raised.value.exit_code, raised.value.where) == (ExitCode.CATALOG_INVALID, str(own))
    assert place in raised.value.message


def test_a_name_that_only_a_faulty_catalog_can_have_is_its_fault(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_file(own, "families/house.yaml", "licence: house\n", "licence: hous\n")
    with pytest.warns(OwnCatalogWarning):
        load_catalog()
    assert main(["vram", "house-chat"]) == ExitCode.CATALOG_INVALID
    assert "families/house.yaml:4: $.licence" in capsys.readouterr().err
    assert main(["catalog", "show", "smollm2-135m"]) == ExitCode.OK


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("families/gpt-2.yaml", _HOUSE.replace("  gpt2:", "  gpt3:"), "families/gpt-2.yaml:1: $: is the name of a shipped"),
        ("modles.yaml", "a: 1\n", "modles.yaml:1: $: is no file of a catalog"),
        ("families/more.yaml", _HOUSE, "families/more.yaml:12: $.models.house-chat: the name 'house-chat' is taken"),
    ],
)  # fmt: skip
def test_files_that_nothing_would_read_are_faults(own: Path, name: str, text: str, place: str) -> None:
    (own / name).write_text(text)
    faults = faults_told()
    assert any(fault.startswith(place) for fault in faults), faults


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("families/more.yml", "is not read: name it families/more.yaml"),
        ("families/more.csv", "is not read: name it families/more.yaml"),
        ("families/sub/more.yaml", "is not read: name it families/more.yaml"),
        ("scores/mmlu.tsv", "is not read: name it scores/mmlu.csv"),
        ("licenses.yaml", "is not read: name it licences.yaml"),
        ("prices.csv", "is not read: name it prices/cloud.csv"),
        ("data/more.yaml", "is no file of a catalog of one's own; known: "),
    ],
)
def test_a_file_that_is_not_read_is_named_with_the_name_it_should_have(
    own: Path, small_shipped: Path, name: str, wanted: str
) -> None:
    """Beside a whole catalog that was compiled before: a new file makes the kept one stale, whatever its name."""
    assert load_catalog().resolve("house-chat") is not None
    (own / name).parent.mkdir(exist_ok=True)
    (own / name).write_text(_HOUSE)
    found = open_catalog(small_shipped, own).own
    assert found is not None
    assert [fault for fault in found.faults if fault.startswith(name) and wanted in fault], found.faults


def test_notes_and_hidden_files_are_no_faults(own: Path) -> None:
    for name in ("README.md", "LICENSE", ".git/config", "families/.house.yaml.swp", "families/house.yaml~"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text("not for fmkit")
    catalog = load_catalog()
    assert catalog.own is not None
    assert catalog.own.faults == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["families/pipe.yaml", "scores/pipe.csv", "configs/pipe.json", "tasks.yaml"])
def test_a_pipe_is_not_waited_for(own: Path, name: str) -> None:
    os.mkfifo(own / name)
    assert [fault for fault in faults_told() if fault.startswith(name) and "no regular file" in fault]


def test_a_folder_far_above_is_refused_in_one_line(own: Path) -> None:
    (own / "families" / "many").mkdir()
    for number in range(MOST_OWN_FILES + 1):
        (own / "families" / "many" / f"{number}.txt").touch()
    with pytest.warns(OwnCatalogWarning, match="is left out: 1 fault"):
        load_catalog()


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("scores/mmlu.csv", "house-chat,5-shot,30,", "smollm2-135m,5-shot,99.9,", "scores/mmlu.csv: line 2, score: 99.9 of smollm2-135m, while its other scores let expect about "),
        ("scores/mmlu.csv", "house-chat,5-shot,30,", "smollm2-135m,5-shot,0.31,", "scores/mmlu.csv: line 2, score: 0.31 of smollm2-135m, while its other scores let expect about "),
        ("scores/mmlu.csv", "house-chat,5-shot,30,%", "house-chat,5-shot,30,WER %", "scores/mmlu.csv: line 2, unit: 'WER %', but "),
        ("families/house.yaml", "    tuning: instruct\n    config: openai", "    tuning: base\n    licence: apache-2.0\n    config: openai", "families/house.yaml:24: $.models.gpt2.licence: gpt2 is under 'apache-2.0' here, the published table says 'mit'"),
        ("families/house.yaml", "    config: openai-community--gpt2.json", "    config: openai-community--gpt2-xl.json", "families/house.yaml:24: $.models.gpt2.config: its configuration has 1.56B parameters, the published table says "),
        ("prices/cloud.csv", "", _PRICES, "prices/cloud.csv: line 2, usd_per_device_hour: 98 USD for one h100-sxm5-80gb an hour, others ask "),
    ],
)  # fmt: skip
def test_an_own_entry_is_held_against_what_is_shipped(own: Path, name: str, old: str, new: str, place: str) -> None:
    (own / name).parent.mkdir(exist_ok=True)
    (own / name).touch()
    break_file(own, name, old, new)
    faults = faults_told()
    assert any(fault.startswith(place) for fault in faults), faults


def test_what_a_user_pays_for_a_machine_of_their_own_may_be_little(own: Path) -> None:
    (own / "prices").mkdir()
    (own / "prices" / "cloud.csv").write_text(_PRICES.replace(",98,", ",0.1,"))
    assert load_catalog().resolve("house-chat") is not None


def test_a_changed_file_is_compiled_again(own: Path, small_shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_catalog().model("house-chat").candidate.languages == ("en", "de")
    monkeypatch.setattr("fmkit.catalog.own.compile_with_own", None)  # nothing changed: not called
    open_catalog(small_shipped, own)
    monkeypatch.undo()
    break_file(own, "families/house.yaml", "[en, de]", "[en, fr]")
    assert open_catalog(small_shipped, own).model("house-chat").candidate.languages == ("en", "fr")
    assert open_catalog(small_shipped).resolve("house-chat") is None


def test_each_pair_of_folders_has_a_compiled_file(own: Path, small_shipped: Path, tmp_path: Path) -> None:
    places = {compiled_file(small_shipped), compiled_file(small_shipped, own), compiled_file(small_shipped, tmp_path)}
    assert len(places) == 3


def test_a_folder_that_is_not_there_is_a_fault_only_where_it_was_named(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMKIT_CATALOG", str(own / "gone"))
    with pytest.warns(OwnCatalogWarning, match="gone"):
        assert load_catalog().resolve("gpt2") == "gpt2"
    monkeypatch.delenv("FMKIT_CATALOG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert own_folder() is None
    (tmp_path / "config" / "fmkit" / "catalog").mkdir(parents=True)
    assert own_folder() == tmp_path / "config" / "fmkit" / "catalog"
