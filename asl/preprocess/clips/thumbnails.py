"""Three frames of a clip side by side in a small JPEG, for people to look at.

Taken while the clip is proven, when its frames are decoded anyway, and kept under
``{metadata_dir}/strips``, so that a report costs no decoding.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: A frame fits into a square of this many pixels.
SIDE = 160

_JPEG_QUALITY = 62
_GAP = 2  # grey pixels between frames


def frames_to_show(num_frames: int) -> list[int]:
    """First, middle and last frame.

    >>> frames_to_show(60)
    [0, 30, 59]
    """
    return [0, num_frames // 2, num_frames - 1]


def to_jpeg(pictures: Sequence[npt.NDArray[np.uint8]]) -> bytes:
    """One JPEG of pictures of one size, each ``(H, W, 3)``, from left to right."""
    from PIL import Image  # not needed by a worker that is only asked to open files

    gap = np.full((len(pictures[0]), _GAP, 3), 128, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    jpeg = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()
