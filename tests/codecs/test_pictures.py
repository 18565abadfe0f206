"""Grey thumbnails are exact area means, on every machine the same."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from hypothesis import given
from hypothesis import strategies as st

from asl.codecs.pictures import RgbResizer, grey_cells, grey_thumbnail

Plane = npt.NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Plane:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def waves(height: int, width: int) -> Plane:
    y, x = np.mgrid[:height, :width]
    level = 126 + 60 * np.sin(9 * x / width) + 40 * np.cos(7 * y / height)
    return np.clip(level + noise(height, width) / 16, 16, 235).astype(np.uint8)


def by_definition(luma: Plane, side: int, *, full_range: bool) -> Plane:
    """The levels in fractions, pixel by pixel."""

    def cover(count: int) -> npt.NDArray[Any]:  # (side, count): how much of each pixel each cell covers
        overlaps = [
            [
                min(Fraction(pixel + 1), Fraction((cell + 1) * count, side))
                - max(Fraction(pixel), Fraction(cell * count, side))
                for pixel in range(count)
            ]
            for cell in range(side)
        ]
        return np.maximum(np.array(overlaps, object), 0)

    height, width = luma.shape
    means = cover(height) @ luma.astype(object) @ cover(width).T * Fraction(side**2, height * width)
    levels = means if full_range else (means - 16) * Fraction(255, 219)
    halves_up = [int((level + Fraction(1, 2)).__floor__()) for level in levels.flat]
    return np.clip(halves_up, 0, 255).reshape(side, side).astype(np.uint8)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    side=st.sampled_from([1, 3, 16]),
    full_range=st.booleans(),
    seed=st.integers(0, 99),
)
def test_cells_are_exact_means(height: int, width: int, side: int, full_range: bool, seed: int) -> None:
    luma = noise(height, width, seed)
    expected = by_definition(luma, side, full_range=full_range)
    assert np.array_equal(grey_cells(luma, side, full_range=full_range), expected)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("size", [(4111, 40), (4112, 40), (4113, 40), (40, 9000)])
def test_sums_of_large_pictures_do_not_overflow(level: int, size: tuple[int, int]) -> None:
    for full_range in (False, True):
        assert np.all(grey_cells(np.full(size, level, np.uint8), 16, full_range=full_range) == level)


def test_halves_are_rounded_up() -> None:
    assert grey_cells(np.array([[10, 11]], np.uint8), 1, full_range=True) == 11
    # (52.5 - 16) * 255 / 219 = 42.5
    assert grey_cells(np.array([[52, 53]], np.uint8), 1, full_range=False) == 43


@pytest.mark.parametrize("size", [(322, 242), (638, 358), (98, 100)], ids=str)
def test_the_padding_of_rows_is_left_out(size: tuple[int, int]) -> None:
    width, height = size
    luma = noise(height, width)
    picture = np.concatenate([luma, np.full((height // 2, width), 128, np.uint8)])
    frame = VideoFrame.from_ndarray(picture, format="yuv420p")
    assert frame.planes[0].line_size > width
    for color_range, full_range in ((ColorRange.MPEG, False), (ColorRange.JPEG, True)):
        frame.color_range = color_range
        thumbnail = grey_thumbnail(frame, 16, VideoReformatter())
        assert np.array_equal(thumbnail, grey_cells(luma, 16, full_range=full_range))


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuvj420p", "nv12", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuyv422", "rgb24"],
)
@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (270, 480)], ids=str)
def test_thumbnails_are_close_to_those_of_ffmpeg_in_every_format(
    size: tuple[int, int], pixel_format: str
) -> None:
    width, height = size
    picture = np.concatenate([waves(height, width), np.full((height // 2, width), 128, np.uint8)])
    frame = VideoFrame.from_ndarray(picture, format="yuv420p").reformat(format=pixel_format)
    expected = frame.reformat(width=16, height=16, format="gray", interpolation="AREA").to_ndarray()
    difference = grey_thumbnail(frame, 16, VideoReformatter()).astype(int) - expected
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("matrix", [1, 2], ids=["BT.709", "unspecified"])
@pytest.mark.parametrize("part", [(0, 0, 320, 240), (64, 20, 128, 100), (206, 140, 114, 100)], ids=str)
def test_a_part_has_the_pixels_and_colours_that_it_has_in_the_whole_picture(
    part: tuple[int, int, int, int], matrix: int
) -> None:
    planes = [waves(240, 320), waves(120, 160).reshape(60, 320), waves(120, 160)[:, ::-1].reshape(60, 320)]
    frame = VideoFrame.from_ndarray(np.concatenate(planes), format="yuv420p")
    frame.colorspace, frame.color_range, frame.time_base = matrix, ColorRange.MPEG, Fraction(1, 25)
    left, top, width, height = part
    whole = RgbResizer(320, 240)(frame)[top : top + height, left : left + width].astype(int)
    cropped = RgbResizer(width, height, part=part)(frame)
    assert cropped.shape == (height, width, 3)
    inside = np.abs(cropped - whole)[2:-2, 2:-2]  # colour is interpolated across the edge
    assert inside.max() <= 1
