"""Ranges from errors that come in groups: what was held out together is one draw, and few draws say little."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from benchmarks.speed.widths import Error, few, fitted_widths
from fmkit.catalog.load import Catalog
from fmkit.speed.setting import Setting

ROWS = 40


@pytest.fixture
def setting(catalog: Catalog) -> Setting:
    return Setting(engine="llama.cpp", device=catalog.devices["rtx-4090"], kernel="q4", mixture=False)


def errors_of(centres: list[float], setting: Setting, rows: int = ROWS, scatter: float = 0.05) -> list[Error]:
    """Rows of devices whose errors lie around centres of their own."""
    numbers = np.random.default_rng(7)
    return [
        Error(float(value), "class", setting, f"device {unit}")
        for unit, centre in enumerate(centres)
        for value in numbers.normal(centre, scatter, rows)
    ]


@pytest.mark.parametrize(("units", "student"), [(4, 1.638), (6, 1.476), (11, 1.372), (31, 1.310)])
def test_few_units_widen_a_range_as_students_t_does(units: int, student: float) -> None:
    """The ninetieth percentiles of t with 3, 5, 10 and 30 degrees of freedom, from printed tables."""
    assert few(units) == pytest.approx(student / 1.2816 * (1 + 1 / units) ** 0.5, rel=0.01)


def test_eight_in_ten_of_new_devices_lie_in_the_range(setting: Setting) -> None:
    """Devices drawn anew each time: a range learnt from six of them holds 80 % of the rows of a seventh."""
    numbers, held = np.random.default_rng(11), []
    for _ in range(300):
        *known, new = numbers.normal(0, 0.5, 7).tolist()
        found = fitted_widths(errors_of(known, setting, rows=3)).spread("class", setting)
        held += [found.low <= np.exp(error.value) <= found.high for error in errors_of([new], setting, rows=3)]
    assert 0.74 < np.mean(held) < 0.86


def test_a_device_with_many_rows_does_not_decide_alone(setting: Setting) -> None:
    alike, other = errors_of([0.0, 0.02, -0.02, 0.01], setting), errors_of([0.7], setting, rows=300)
    elsewhere = [msgspec.structs.replace(setting) for _ in other]
    other = [error._replace(unit="another", setting=at) for error, at in zip(other, elsewhere, strict=True)]
    found = fitted_widths([*alike, *other]).spread("class", setting)
    assert found.low < 1.0 < np.exp(0.6) < found.high  # with every row alike the range would begin at 1.9


def test_what_rests_on_less_has_no_narrower_range(setting: Setting) -> None:
    errors = errors_of([0.0, 0.3, -0.3, 0.5, -0.4], setting)
    errors += [error._replace(basis="new-vendor", value=error.value / 4) for error in errors]
    found = fitted_widths(errors)
    near, far = (found.spread(rung, setting) for rung in ("class", "new-vendor"))
    assert far.low <= near.low
    assert near.high <= far.high


def test_a_scope_that_scatters_more_has_the_wider_range(setting: Setting) -> None:
    wide = msgspec.structs.replace(setting, kernel="mxfp4")
    numbers = np.random.default_rng(3)
    errors = [
        Error(float(numbers.normal(0, scale)), "class", at, f"{at.kernel} {unit}")
        for at, scale in ((setting, 0.1), (wide, 0.4))
        for unit in range(10)
        for _ in range(20)
    ]
    found = fitted_widths(errors)
    narrow, broad = (found.spread("class", at) for at in (setting, wide))
    assert np.log(broad.high) / np.log(narrow.high) == pytest.approx(4, rel=0.4)
