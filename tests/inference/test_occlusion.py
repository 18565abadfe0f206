"""Saliency over time: which frames are hidden, by what, and how far the probability falls."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from asl.contract.frame_store import Frames
from asl.inference.app.markup import frames_markup, problem_markup
from asl.inference.app.occlusion import falls, frame_groups, hidden


@pytest.mark.parametrize(
    ("num_frames", "most", "groups"),
    [
        (10, 4, [range(3), range(3, 6), range(6, 8), range(8, 10)]),
        (3, 8, [range(1), range(1, 2), range(2, 3)]),
        (1, 8, [range(1)]),
    ],
)
def test_frames_are_divided_evenly(num_frames: int, most: int, groups: list[range]) -> None:
    assert frame_groups(num_frames, most) == groups


@pytest.mark.parametrize(
    ("group", "frames"),
    [
        (range(2, 5), [0, 1, 1, 1, 5, 5]),
        (range(2), [2, 2, 2, 3, 4, 5]),
        (range(4, 6), [0, 1, 2, 3, 3, 3]),
        (range(6), [0, 1, 2, 3, 4, 5]),
    ],
    ids=str,
)
def test_the_nearest_frame_outside_stands_in_the_place_of_a_hidden_one(
    group: range, frames: list[int]
) -> None:
    assert hidden(6, group).tolist() == frames


def test_only_the_group_that_the_network_looks_at_lets_the_probability_fall() -> None:
    frames = np.zeros((6, 2, 2, 3), np.uint8)
    frames[3] = 255  # what makes it gloss 1

    def probabilities(clips: Frames) -> npt.NDArray[np.float64]:
        seen = clips.max(axis=(1, 2, 3, 4)) / 255
        return np.stack([0.1 + 0 * seen, 0.2 + 0.6 * seen], axis=1)

    groups = frame_groups(6, 3)
    assert falls(probabilities, frames, 1, groups) == pytest.approx([0, 0.6, 0])
    assert falls(probabilities, frames, 0, groups) == pytest.approx([0, 0, 0])


def test_columns_say_points_and_times() -> None:
    pictures, times_s = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) / 10
    groups = [range(2), range(2, 4)]
    shown = frames_markup(pictures, times_s, groups, [0.256, -0.001])
    assert shown.count("<img") == 4
    assert 'height:26%"' in shown
    assert "<figcaption>-26<br>0.0 s" in shown
    assert "<figcaption>0<br>0.2 s" in shown
    assert "<figcaption>…<br>" in frames_markup(pictures, times_s, groups, None)


def test_names_of_files_are_no_markup() -> None:
    assert "<img" not in problem_markup("<img src=x>.mp4 is damaged")
