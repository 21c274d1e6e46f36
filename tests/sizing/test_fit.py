"""The inverse: what it gives back fits, and where memory is the limit one step more does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fmkit.sizing.search import largest


@given(limit=st.integers(1, 10**7), threshold=st.integers(0, 2 * 10**7))
def test_largest_is_the_last_that_fits(limit: int, threshold: int) -> None:
    found = largest(lambda n: n <= threshold, limit)
    if threshold < 1:
        assert found is None
    else:
        assert found == min(threshold, limit)
