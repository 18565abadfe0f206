from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.datasets.wlasl import segment_span


def test_frames_are_counted_from_one_and_the_end_belongs_to_the_segment():
    assert segment_span(1, 25, 25) == (0, 1)
    assert segment_span(26, 26, 25) == (1, Fraction(26, 25))


def test_minus_one_means_to_the_end():
    assert segment_span(1, -1, 25) == (0, None)
    assert segment_span(2, -1, 25) == (Fraction(1, 25), None)


def test_broadcast_rates_are_exact():
    assert segment_span(1, 30, 29.97002997)[1] == Fraction(1001, 1000)


@given(st.integers(1, 10_000), st.integers(0, 500), st.integers(0, 500))
def test_segments_that_follow_each_other_tile_time(start, first, second):
    end = start + first
    assert segment_span(start, end, 25)[1] == segment_span(end + 1, end + 1 + second, 25)[0]


@pytest.mark.parametrize(("start", "end"), [(0, 5), (-1, 5), (5, 4), (1, 0), (1, -2)])
def test_impossible_segments_are_refused(start, end):
    with pytest.raises(ValueError, match="no such segment"):
        segment_span(start, end, 25)
