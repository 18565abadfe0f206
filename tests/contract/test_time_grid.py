"""Grid points of a duration, and which frame is on display at each."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.contract.frame_store import FrameSpec
from asl.contract.time_grid import frame_numbers, frames_on_display, grid_length, points_before

grid_rates = st.sampled_from([25.0, 12.5, 24000 / 1001, 30000 / 1001, 50.0])


@pytest.mark.parametrize(
    ("frames", "fps", "expected"), [(50, 25.0, 50), (60, 29.97, 51), (60, 30.0, 50), (48, 23.976, 51)]
)
def test_grid_length_counts_25_points_a_second(frames: int, fps: float, expected: int) -> None:
    assert grid_length(frames / fps, 25.0) == expected


@given(num_frames=st.integers(1, 200))
def test_at_25_fps_the_grid_is_the_frames(num_frames: int) -> None:
    starts = np.arange(num_frames, dtype=np.float32) / np.float32(25)  # float32, as decord gives them
    shown = frames_on_display(np.arange(num_frames) / 25, starts)
    assert shown.tolist() == list(range(num_frames))


def test_a_frame_stays_on_display_until_the_next_one() -> None:
    assert frames_on_display([0, 0.08, 0.16, 0.24], [0, 0.04, 0.20]).tolist() == [0, 1, 1, 2]


def test_time_stamps_need_not_start_at_zero() -> None:
    assert frames_on_display([0, 0.04, 0.08], [1.5, 1.54, 1.58]).tolist() == [0, 1, 2]


def test_before_its_first_frame_a_clip_shows_the_first_frame() -> None:
    assert frames_on_display([-0.1, -0.02, 0], [0, 0.04]).tolist() == [0, 0, 0]
    assert points_before(0.0, 2000.0) == 0


@pytest.mark.parametrize(
    ("start_s", "expected"), [(0.0, 0), (0.0005, 0), (0.04, 1), (0.0405, 1), (0.05, 2), (0.20, 5), (2.0, 50)]
)
def test_points_before_a_frame(start_s: float, expected: int) -> None:
    assert points_before(start_s, 25.0) == expected


@given(start_ms=st.integers(1, 100_000), fps=grid_rates)
def test_an_earlier_frame_is_on_display_at_exactly_the_points_before(start_ms: int, fps: float) -> None:
    """Milliseconds, as Matroska rounds to: then many grid points fall on the tolerance, and floats decide."""
    start_s = start_ms / 1000
    count = points_before(start_s, fps)
    points = np.arange(count + 3) / fps
    assert frames_on_display(points, [0, start_s]).tolist() == [0] * count + [1] * 3


@given(duration_s=st.floats(0.002, 600), fps=grid_rates)
def test_a_clip_is_as_long_as_the_points_before_its_end(duration_s: float, fps: float) -> None:
    assert abs(grid_length(duration_s, fps) - max(1, points_before(duration_s, fps))) <= 1
    away = (duration_s - 1e-3) * fps % 1  # from a grid point, where float rounding decides
    if 1e-6 < away < 1 - 1e-6:
        assert grid_length(duration_s, fps) == max(1, points_before(duration_s, fps))


def frames(*times_s: float) -> list[Fraction]:
    """Time stamps in whole milliseconds."""
    return [Fraction(round(1000 * time_s), 1000) for time_s in times_s]


PAL = frames(*(number / 25 for number in range(10)))


@pytest.mark.parametrize(
    ("start_s", "end_s", "fps", "expected"),
    [
        (0, None, None, list(range(10))),
        (0.08, 0.2, None, [2, 3, 4]),  # the end is no part of the segment
        (0.081, 0.201, None, [3, 4, 5]),
        (0.08, 0.2, 25, [2, 3, 4]),
        (0.08, 0.2, 12.5, [2, 4]),
        (0.08, 0.2, 50, [2, 2, 3, 3, 4, 4]),
        (0.28, None, 50, [7, 7, 8, 8, 9, 9]),
        (0.05, 0.07, None, []),
        (0.05, 0.07, 25, []),
    ],
)
def test_numbers_of_the_frames_of_a_segment(
    start_s: float, end_s: float | None, fps: float | None, expected: list[int]
) -> None:
    end = None if end_s is None else frames(end_s)[0]
    numbers = frame_numbers(PAL, Fraction(10, 25), frames(start_s)[0], end, fps)
    assert numbers.tolist() == expected
    assert numbers.dtype == np.int32


def test_the_last_frame_of_a_segment_is_repeated_until_the_next_one_begins() -> None:
    slow = frames(0, 0.04, 0.2, 0.24)
    assert frame_numbers(slow, Fraction(1, 2), Fraction(0), Fraction(1, 10), 25).tolist() == [0, 1, 1, 1, 1]
    assert frame_numbers(slow, Fraction(2, 5), Fraction(1, 5), None, 25).tolist() == [2, 3, 3, 3, 3]


def test_lengths_count_in_whole_microseconds_as_in_the_manifest() -> None:
    for duration_s, expected in ((0.0410004, 1), (0.041001, 2)):
        numbers = frame_numbers([Fraction(0)], Fraction(duration_s), Fraction(0), None, 25)
        assert len(numbers) == FrameSpec().count(duration_s, 1) == expected


def test_a_clip_shorter_than_the_tolerance_has_one_grid_point() -> None:
    assert grid_length(0.0005, 25.0) == 1


def test_the_last_frame_but_one_of_a_segment_ends_where_the_last_of_the_source_begins() -> None:
    times = frames(0, 0.04, 0.2)  # the second one is displayed for 0.16 s, the last one much longer
    numbers = frame_numbers(times, Fraction(2), Fraction(0), Fraction(1, 10), 25)
    assert numbers.tolist() == [0, 1, 1, 1, 1]
