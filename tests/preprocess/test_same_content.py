"""Which clips are proposed as copies: the thresholds, on fingerprints of known correlations."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from asl.preprocess.audit import same_content
from asl.preprocess.audit.same_content import propose_copies
from asl.preprocess.clips.fingerprint import FRAMES, SIDE, to_text

Y, X = np.mgrid[0:SIDE, 0:SIDE]
LEFT_RIGHT, UP_DOWN = (1 - 2 * (at % 2) for at in (X, Y))  # stripes: their correlation is 0
WIDE_LEFT_RIGHT, WIDE_UP_DOWN = (1 - 2 * (at // 2 % 2) for at in (X, Y))
BEATS = (1 - 2 * (np.arange(FRAMES) % 2))[:, None, None]


def frames(*, picture: float = 1.0, motion: float = 1.0, moved: float = 30.0) -> npt.NDArray[np.uint8]:
    """Eight pictures. Those of other values have these correlations with the default ones.

    Args:
        picture: of the mean pictures.
        motion: of the motions.
        moved: standard deviation of the motion in grey levels.
    """
    still = picture * LEFT_RIGHT + math.sqrt(1 - picture**2) * UP_DOWN
    moving = motion * WIDE_LEFT_RIGHT + math.sqrt(1 - motion**2) * WIDE_UP_DOWN
    return (128 + 50 * still + moved * BEATS * moving).round().astype(np.uint8)


def proposed(*clips: npt.NDArray[np.uint8], durations: tuple[float, ...] = ()) -> list[tuple[str, str]]:
    """The pairs that are proposed of clips "a", "b", ..., each 2 s long if nothing else is said."""
    return propose_copies(
        {
            name: (to_text(clip), duration_s)
            for name, clip, duration_s in zip("abcdefg", clips, durations or [2.0] * len(clips), strict=False)
        }
    )


def test_one_clip_or_none_is_no_pair() -> None:
    assert proposed() == proposed(frames()) == []
    assert proposed(frames(), frames()) == [("a", "b")]


@pytest.mark.parametrize(
    ("changes", "is_proposed"),
    [
        ({"picture": 0.94}, True),
        ({"picture": 0.92}, False),
        ({"picture": -1.0}, False),
        ({"motion": 0.82}, True),
        ({"motion": 0.78}, False),
        ({"motion": -1.0}, False),
        ({"picture": 0.94, "motion": 0.82, "moved": 10.0}, True),
    ],
)
def test_both_pictures_and_motions_have_to_correlate(changes: dict[str, float], is_proposed: bool) -> None:
    assert proposed(frames(), frames(**changes)) == ([("a", "b")] if is_proposed else [])


def test_brightness_and_contrast_do_not_matter() -> None:
    dark = (frames() * 0.5 + 20).astype(np.uint8)
    assert proposed(frames(), dark) == [("a", "b")]


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_caption_in_the_margin_does_not_matter_and_one_beside_it_does(side: str) -> None:
    turns = ["top", "left", "bottom", "right"].index(side)

    def with_caption(rows: slice) -> npt.NDArray[np.uint8]:
        clip = frames()
        np.rot90(clip, -turns, axes=(1, 2))[:, rows] ^= 255  # the inverse picture
        return clip

    assert proposed(frames(), with_caption(slice(0, 2))) == [("a", "b")]
    assert proposed(frames(), with_caption(slice(2, 3))) == []


def test_motion_below_half_a_grey_level_is_noise() -> None:
    still = np.repeat(frames(moved=0)[:1], FRAMES, axis=0)
    moving, less = still.copy(), still.copy()
    moving[::2] += 1  # half a level around the mean
    less[::2, : SIDE - 3] += 1
    assert proposed(still, still) == proposed(less, less) == proposed(still, moving) == []
    assert proposed(moving, moving) == [("a", "b")]


def test_a_flat_picture_is_like_nothing() -> None:
    flat = np.full((FRAMES, SIDE, SIDE), 90, np.uint8)
    moving = (flat + 20 * BEATS * WIDE_UP_DOWN).astype(np.uint8)  # its mean picture is flat
    with np.errstate(all="raise"):  # the user sees no warning of NumPy's
        assert proposed(flat, flat) == proposed(flat, frames()) == proposed(moving, moving) == []


def test_durations_differ_by_a_tenth_of_a_second_at_most() -> None:
    clip = frames()
    assert proposed(clip, clip, durations=(2.1, 2.0)) == [("a", "b")]
    assert proposed(clip, clip, durations=(2.11, 2.0)) == []
    each_near_the_next = proposed(clip, clip, clip, clip, durations=(2.0, 2.05, 2.12, 2.13))
    assert each_near_the_next == [("a", "b"), ("b", "c"), ("b", "d"), ("c", "d")]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 256])
def test_pairs_are_sorted_and_complete_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(same_content, "_BLOCK", block)
    clips = (frames(), frames(picture=0.5), frames(), frames(), frames(picture=0.5))
    assert proposed(*clips, durations=(2.2, 2.0, 2.05, 2.12, 2.07)) == [("a", "d"), ("b", "e"), ("c", "d")]
