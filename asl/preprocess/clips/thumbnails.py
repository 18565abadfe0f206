"""Three frames of a clip, left to right in one small JPEG, for the report.

The proof of a clip decodes every frame, so its thumbnails are written then and the report need not decode
anything. They are stored as ``{metadata_dir}/strips/{video_id}.jpg``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Each frame fits into a square of this many pixels.
SIDE = 160

_JPEG_QUALITY = 62
_GAP = 2  # grey pixels between frames


def frames_to_show(num_frames: int) -> list[int]:
    """Indices of the first, middle and last frame.

    >>> frames_to_show(60)
    [0, 30, 59]
    """
    return [0, num_frames // 2, num_frames - 1]


def to_jpeg(pictures: Sequence[npt.NDArray[np.uint8]]) -> bytes:
    """One JPEG of pictures of the same size, each ``(H, W, 3)``, from left to right."""
    from PIL import Image  # here, so that workers that only open files do not load it

    gap = np.full((len(pictures[0]), _GAP, 3), 128, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    jpeg = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()
