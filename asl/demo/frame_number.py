"""A barcode along the top of every rendered frame that encodes its number in the file.

Sixteen dark or light blocks over the whole width: twelve bits of the frame number, then four check bits.
Positions are fractions of the image size, so the barcode survives scaling, lossy compression and the loss
of one column or row. It counts frames of the file, not of the sign, and so does not reveal the gloss.
"""

from __future__ import annotations

import numpy as np

NUMBER_BITS = 12
CHECK_BITS = 4
BLOCKS = NUMBER_BITS + CHECK_BITS
MAX_FRAME_NUMBER = 2**NUMBER_BITS - 1
BARCODE_HEIGHT = 1 / 16  # as a fraction of the image height

_DARK, _LIGHT = 16, 128  # dimmer than hands, which a network should recognise signs by
_UNCLEAR = 16  # a block whose mean is this close to the middle is neither


class UnreadableFrameNumberError(ValueError):
    """An image without a readable frame number."""


def write_frame_number(image: np.ndarray, number: int) -> None:
    """Draw the barcode of a number over the top of an image, in place.

    Args:
        image: (H, W, 3) uint8.
        number: 0 to 4095.

    Raises:
        ValueError: the number is out of range.
    """
    if not 0 <= number <= MAX_FRAME_NUMBER:
        raise ValueError(f"frame number {number} is not within 0 to {MAX_FRAME_NUMBER}")
    height, width = image.shape[:2]
    code = number << CHECK_BITS | _check(number)
    bits = np.array([code >> (BLOCKS - 1 - i) & 1 for i in range(BLOCKS)], dtype=np.uint8)
    columns = np.arange(width) * BLOCKS // width
    image[: round(height * BARCODE_HEIGHT)] = (_DARK + (_LIGHT - _DARK) * bits[columns])[None, :, None]


def read_frame_number(image: np.ndarray) -> int:
    """Decode the barcode of an image, (H, W, 3) uint8, upright.

    Raises:
        UnreadableFrameNumberError: a block is neither dark nor light, or the check bits are wrong.
    """
    height, width = image.shape[:2]
    bottom = max(1, int(height * BARCODE_HEIGHT) - 1)  # the lowest row blends with the image below
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
    """Four check bits: flipping any bit of ``number`` changes them; for number 0 they are not all equal."""
    return (number ^ number >> 4 ^ number >> 8 ^ 0b0101) & 0b1111
