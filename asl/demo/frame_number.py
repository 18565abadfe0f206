"""A strip along the top of every rendered picture that says which frame of its file it is.

Sixteen dark or light blocks over the whole width: twelve bits of the frame number, then four that
check them. Places are shares of the picture's size, so the strip survives scaling, lossy compression
and the loss of one column or row. It counts frames of the file, not of the sign, and so says nothing
about the gloss.
"""

from __future__ import annotations

import numpy as np

NUMBER_BITS = 12
CHECK_BITS = 4
BLOCKS = NUMBER_BITS + CHECK_BITS
MAX_FRAME_NUMBER = 2**NUMBER_BITS - 1
STRIP_SHARE = 1 / 16  # of the height

_DARK, _LIGHT = 16, 128  # dimmer than hands, which are what a network should look at
_UNCLEAR = 16  # a block this near to the middle is neither


class UnreadableFrameNumberError(ValueError):
    """A picture whose strip is no frame number."""


def write_frame_number(image: np.ndarray, number: int) -> None:
    """Paint ``number`` (0 to 4095) over the top of ``image``, (H, W, 3) uint8, in place."""
    if not 0 <= number <= MAX_FRAME_NUMBER:
        raise ValueError(f"frame number {number} is not within 0 to {MAX_FRAME_NUMBER}")
    height, width = image.shape[:2]
    code = number << CHECK_BITS | _check(number)
    bits = np.array([code >> (BLOCKS - 1 - i) & 1 for i in range(BLOCKS)], dtype=np.uint8)
    columns = np.arange(width) * BLOCKS // width
    image[: round(height * STRIP_SHARE)] = (_DARK + (_LIGHT - _DARK) * bits[columns])[None, :, None]


def read_frame_number(image: np.ndarray) -> int:
    """The number in the strip of ``image``, (H, W, 3) uint8, upright.

    Raises:
        UnreadableFrameNumberError: a block is neither dark nor light, or the check bits do not fit.
    """
    height, width = image.shape[:2]
    bottom = max(1, int(height * STRIP_SHARE) - 1)  # the lowest row blends with the picture below
    rows = image[bottom // 3 : bottom].mean(axis=(0, 2))
    code = 0
    for i in range(BLOCKS):
        # The middle half of a block; its edges blend with the neighbours.
        block = rows[int((i + 0.25) * width / BLOCKS) : int((i + 0.75) * width / BLOCKS) + 1].mean()
        if abs(block - (_DARK + _LIGHT) / 2) < _UNCLEAR or block > _LIGHT + _UNCLEAR:
            raise UnreadableFrameNumberError(
                f"block {i} of the frame number is neither dark nor light ({block:.0f} of 255)"
            )
        code = code << 1 | int(block > (_DARK + _LIGHT) / 2)
    number, check = code >> CHECK_BITS, code & (2**CHECK_BITS - 1)
    if check != _check(number):
        raise UnreadableFrameNumberError(f"check bits {check:04b} do not fit frame number {number}")
    return number


def _check(number: int) -> int:
    """Four bits that change with every single bit of ``number``; never all equal for number 0."""
    return (number ^ number >> 4 ^ number >> 8 ^ 0b0101) & 0b1111
