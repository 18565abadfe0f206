"""The barcode of frame numbers can be read, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.demo import UnreadableFrameNumberError, read_frame_number
from asl.demo.frame_number import MAX_FRAME_NUMBER, write_frame_number


@given(st.integers(0, MAX_FRAME_NUMBER), st.integers(96, 200), st.integers(80, 160))
def test_a_frame_number_survives_scaling_and_lost_rows(number: int, width: int, height: int) -> None:
    image = np.full((height, width, 3), 70, np.uint8)
    write_frame_number(image, number)
    assert read_frame_number(image) == number
    assert read_frame_number(image[: height // 2 * 2, : width // 2 * 2]) == number
    assert read_frame_number(image.repeat(2, axis=0).repeat(2, axis=1)) == number


def test_a_wrong_bit_is_noticed() -> None:
    image = np.full((96, 160, 3), 70, np.uint8)
    write_frame_number(image, 1234)
    for block in range(16):
        wrong = image.copy()
        wrong[:6, block * 10 : (block + 1) * 10] = 144 - wrong[:6, block * 10 : (block + 1) * 10]
        with pytest.raises(UnreadableFrameNumberError, match="check bits"):
            read_frame_number(wrong)


def test_an_image_without_barcode_has_no_frame_number() -> None:
    for value in (0, 72, 128, 255):
        with pytest.raises(UnreadableFrameNumberError):
            read_frame_number(np.full((96, 128, 3), value, np.uint8))
