"""Sliding windows, and the signs detected in them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.inference.prediction import Prediction
from asl.inference.windows import Detection, detect, plan_pieces, window_starts

LENGTHS = st.integers(1, 200_000).map(lambda ms: ms / 1000)


def windows(*glosses: tuple[str, float], window_s: float = 2.0, stride_s: float = 0.5) -> list[Prediction]:
    return [
        Prediction(Path("long.mp4"), i * stride_s, i * stride_s + window_s, ((gloss, probability),))
        for i, (gloss, probability) in enumerate(glosses)
    ]


@given(duration_s=LENGTHS, window_s=st.floats(0.1, 60), stride_s=st.floats(0.05, 10))
def test_windows_cover_a_video_and_do_not_leave_it(
    duration_s: float, window_s: float, stride_s: float
) -> None:
    starts = window_starts(duration_s, window_s, stride_s)
    assert starts[0] == 0
    assert starts[-1] == pytest.approx(max(0, duration_s - window_s), abs=1e-5)
    assert all(0 < later - earlier <= stride_s + 1e-5 for earlier, later in pairwise(starts))


@given(duration_s=LENGTHS, window_s=st.floats(0.1, 60), stride_s=st.floats(0.05, 10))
def test_pieces_have_the_windows_of_the_video(duration_s: float, window_s: float, stride_s: float) -> None:
    found = []
    pieces = plan_pieces(duration_s, window_s, stride_s)
    for begin_s, end_s in pieces:
        length_s = (duration_s if end_s is None else end_s) - begin_s
        found += [begin_s + start for start in window_starts(length_s, window_s, stride_s)]
    assert found == pytest.approx(window_starts(duration_s, window_s, stride_s), abs=1e-4)
    assert [end_s is None for _, end_s in pieces] == [False] * (len(pieces) - 1) + [True]


def test_neighbouring_windows_with_one_gloss_are_one_sign_around_their_middles() -> None:
    found = detect(windows(("book", 0.7), ("book", 0.9), ("book", 0.8), ("go", 0.3), ("go", 0.2)), 0.5)
    assert found == [Detection("book", 0.0, 2.25, 0.9)]  # the middles are 1, 1.5 and 2


def test_two_signs_after_each_other_are_both_found() -> None:
    found = detect(windows(*[("book", 0.9)] * 4, *[("go", 0.8)] * 4), 0.5)
    assert found == [Detection("book", 0.0, 2.75, 0.9), Detection("go", 2.75, 5.5, 0.8)]


def test_of_overlapping_signs_the_most_probable_one_is_kept() -> None:
    found = detect(windows(("book", 0.6), ("book", 0.9), ("go", 0.7), ("book", 0.6)), 0.5)
    assert found == [Detection("book", 0.0, 3.5, 0.9)]  # the last window extends it


def test_without_a_window_above_the_threshold_there_is_no_sign() -> None:
    assert detect(windows(("book", 0.4), ("go", 0.3)), 0.5) == []
    assert detect([], 0.5) == []
