"""Pictures: what is drawn is what was measured, in a file that any reader takes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from fmkit.api.vram import vram
from fmkit.cli.plots import check_place, write_plot
from fmkit.errors import MissingExtraError, UsageError
from fmkit.report.plots.figure import Bar, BarGroup, Figure, Panel, Point, Series
from fmkit.report.plots.svg import draw
from fmkit.report.plots.trials import trials_figure
from fmkit.report.plots.vram import vram_figure
from fmkit.results.trial import Sample, TrialResult, TrialSpeed, Unmeasured
from fmkit.results.trial_setting import TrialWorkload
from fmkit.units import MIB
from tests.trial.test_store import result

SVG = "{http://www.w3.org/2000/svg}"
RANGE = {"low": 5.0, "median": 10.0, "high": 20.0}


def trial(context: int, *, sequences: int = 1, precision: str = "fp32") -> TrialResult:
    parts = {"weights": 100 * MIB, "cache": context * MIB // 8, "activations": 20 * MIB}
    allocated = sum(parts.values())
    figures = {**parts, "allocated_peak_bytes": allocated, "process_peak_bytes": allocated + 300 * MIB}
    bounds = {"low_bytes": allocated, "high_bytes": 2 * allocated}
    return msgspec.structs.replace(
        result(f"{precision}-{context}-{sequences}"),
        precision=precision,
        workload=TrialWorkload(context_tokens=context, sequences=sequences),
        predicted={**figures, **bounds},
        measured=figures,
        speed=TrialSpeed(
            load_s=1.0,
            ttft_s=Sample(mean=0.2, sd=0.05, n=3),
            decode_tokens_per_s=Sample(mean=12.0, sd=1.0, n=3),
            predicted={"decode_tokens_per_s": RANGE, "ttft_s": RANGE},
        ),
    )


def heights(document: str, *, about: str) -> list[float]:
    """The heights of the boxes whose words begin so."""
    boxes = ET.fromstring(document).iter(f"{SVG}rect")
    return [float(box.get("height", 0)) for box in boxes if (box.findtext(f"{SVG}title") or "").startswith(about)]


def words(document: str) -> str:
    return " ".join(found.text or "" for found in ET.fromstring(document).iter(f"{SVG}text"))


def test_bars_are_as_high_as_their_bytes() -> None:
    document = draw(trials_figure([trial(128), trial(256), trial(512)]))
    weights, cache = (heights(document, about=f"{part}, measured") for part in ("weights", "cache"))
    assert len(weights) == len(cache) == 3
    assert weights[0] == pytest.approx(weights[2], abs=0.2)
    assert cache[2] == pytest.approx(4 * cache[0], abs=0.5)
    assert weights[0] / cache[2] == pytest.approx(100 / 64, rel=0.02)
    assert heights(document, about="weights, predicted") == weights


def test_a_row_for_each_precision_and_number_of_sequences() -> None:
    figure = trials_figure([trial(128), trial(128, sequences=4), trial(128, precision="fp16")])
    assert [row[0].title for row in figure.rows] == [
        "Peak memory: fp16, 1 sequence", "Peak memory: fp32, 1 sequence", "Peak memory: fp32, 4 sequences",
    ]  # fmt: skip
    assert [panel.y_label for panel in figure.rows[0]] == ["MiB", "tokens/s, one sequence", "seconds"]


def test_the_last_of_equal_trials_and_what_failed() -> None:
    later = msgspec.structs.replace(trial(128), date="2027-01-01T00:00:00+00:00", measured={})
    figure = trials_figure([later, trial(128)], [Unmeasured(precision="fp16", reason="too large")])
    (group,) = figure.rows[0][0].groups
    assert [bar.solid for bar in group.bars] == [False]
    assert "not measured: fp16: too large" in words(draw(figure))


def test_names_of_strangers() -> None:
    nasty = '</svg><script>alert("x")</script>&\x00\x1b[31m\x85\ud800'
    figure = trials_figure([msgspec.structs.replace(trial(128), model=nasty)])
    document = ET.fromstring(draw(figure).encode())
    assert not list(document.iter(f"{SVG}script"))
    assert 'alert("x")' in (document.findtext(f"{SVG}title") or "")


def test_figures_far_apart_are_drawn_on_a_logarithmic_axis() -> None:
    points = (Point(x=1, y=0.01, low=0.005, high=0.02), Point(x=1024, y=3.0, low=1.5, high=6.0))
    panel = Panel(title="t", x_label="x", y_label="s", series=(Series(name="predicted", points=points),))
    shown = words(draw(Figure(title="t", subtitle="", rows=((panel,),))))
    assert "0.01" in shown
    assert "10" in shown


def test_a_single_point_and_a_bar_of_nothing() -> None:
    dot = Series(name="measured", points=(Point(x=512, y=1.0),), measured=True)
    empty = BarGroup(label="0", bars=(Bar(parts=(("weights", 0.0),)),))
    lines = Panel(title="t", x_label="x", y_label="y", series=(dot,))
    bars = Panel(title="t", x_label="x", y_label="y", groups=(empty,))
    document = draw(Figure(title="t", subtitle="", rows=((bars, lines),)))
    assert len(list(ET.fromstring(document).iter(f"{SVG}circle"))) == 1
    assert "nan" not in document


def test_an_estimate_with_its_budget() -> None:
    found = vram("gpt2", gpu="rtx-4090", precision=["fp32", "fp16"], context=[512, 1024], sequences=[1, 8])
    figure = vram_figure(found)
    assert [panel.title for row in figure.rows for panel in row] == [
        "FP32, 1 sequence", "FP16, 1 sequence", "FP32, 8 sequences", "FP16, 8 sequences",
    ]  # fmt: skip
    (bar,) = figure.rows[0][0].groups[0].bars
    assert bar.top == found.estimates[0].peak_bytes
    assert (bar.low, bar.high) == (found.estimates[0].low_bytes, found.estimates[0].high_bytes)


def test_parts_of_training_keep_their_names() -> None:
    figure = vram_figure(vram("gpt2", gpu="rtx-4090", train="full", context=512))
    assert figure.legend[-1] == "beside the tensors"
    assert {"weights", "optimiser states", "training activations"} < set(figure.legend)


@pytest.mark.parametrize("name", ["x.pdf", "x", "absent/x.svg", "."])
def test_places_that_are_refused_before_anything_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"picture|folder"):
        check_place(str(tmp_path / name))


def test_files(tmp_path: Path) -> None:
    figure = trials_figure([trial(128)])
    for name in ("a.svg", "a.html"):
        place = check_place(str(tmp_path / name))
        write_plot(figure, place)
        assert "<svg" in place.read_text(encoding="utf-8")
        assert "prefers-color-scheme:dark" in place.read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir() if "a." in path.name) == ["a.html", "a.svg"]


def test_png(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    place = check_place(str(tmp_path / "a.PNG"))
    write_plot(trials_figure([trial(128)]), place)
    assert place.read_bytes().startswith(b"\x89PNG")


def test_png_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match="SVG and HTML need nothing"):
        check_place(str(tmp_path / "a.png"))
