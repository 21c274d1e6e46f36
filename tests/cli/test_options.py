"""Reading the values of options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmkit.cli.options import one_output, split_values, whole_number, whole_numbers
from fmkit.errors import UsageError


def test_split_values_drops_blanks_and_keeps_order() -> None:
    assert split_values(["b, a", " ", "c,,d"], where="--precision") == ["b", "a", "c", "d"]
    assert split_values([], where="--precision") is None


@pytest.mark.parametrize("typed", ["", ",,,", " , "])
def test_an_option_without_a_value_does_not_mean_the_default(typed: str) -> None:
    with pytest.raises(UsageError, match="no value") as caught:
        split_values([typed], where="--precision")
    assert caught.value.where == "--precision"
    assert whole_numbers(None, where="--x") is None


@given(st.integers(min_value=1, max_value=2**31))
def test_whole_number_reads_what_it_should(number: int) -> None:
    assert whole_number(str(number), where="--x") == number


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "abc", "\u00b2", "\uff11", str(2**31 + 1)])
def test_whole_number_refuses_everything_else(text: str) -> None:
    with pytest.raises(UsageError, match="whole number") as caught:
        whole_number(text, where="--x")
    assert caught.value.where == "--x"


def test_the_limits_of_a_number_are_named() -> None:
    with pytest.raises(UsageError, match="from 1 to 65,536"):
        whole_numbers(["8,1000000000000"], where="--x", at_most=65_536)
    with pytest.raises(UsageError, match="from 0 to"):
        whole_number("9" * 5000, where="--x", at_least=0)


def test_one_output_refuses_two() -> None:
    one_output(as_json=True, csv=False, markdown=False)
    with pytest.raises(UsageError, match="--csv, --markdown"):
        one_output(as_json=False, csv=True, markdown=True)
