"""A clip's content in 2 KB."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from asl.preprocess.clips.fingerprint import frames_to_keep, from_text, to_text


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (16, [1, 3, 5, 7, 9, 11, 13, 15]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, [0, 0, 0, 1, 1, 2, 2, 2]),
        (1, [0] * 8),
    ],
)
def test_the_middle_frame_of_each_of_eight_parts_is_kept(num_frames: int, expected: list[int]) -> None:
    assert frames_to_keep(num_frames) == expected


def test_the_text_is_the_base64_of_eight_frames_of_16_x_16_pixels() -> None:
    content = np.random.default_rng(0).integers(0, 256, (8, 16, 16), np.uint8)
    text = to_text(content)
    assert base64.b64decode(text) == content.tobytes()
    assert np.array_equal(from_text(text), content)
    assert to_text(content.astype(np.int64)[:, ::-1]) == to_text(content[:, ::-1].copy())


@pytest.mark.parametrize("change", ["shorter", "not Base64"])
def test_text_that_is_no_fingerprint_is_an_error(change: str) -> None:
    text = to_text(np.zeros((8, 16, 16), np.uint8))
    with pytest.raises(ValueError):  # noqa: PT011  numpy's or base64's words
        from_text(text[:-4] if change == "shorter" else f"*{text}")
