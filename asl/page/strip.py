"""Frames of a clip side by side in one JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from asl.contract.frame_store import Frames

_JPEG_QUALITY = 62  # as the thumbnails of preprocessing


def spread(count: int, most: int) -> list[int]:
    """Indices of at most ``most`` of ``count`` frames, evenly spaced.

    >>> spread(5, 2), spread(2, 5)
    ([0, 2], [0, 1])
    """
    shown = min(count, most)
    return [i * count // shown for i in range(shown)]


def strip_jpeg(frames: Frames, side: int) -> bytes:
    """The JPEG of frames ``(T, H, W, 3)``, each scaled to ``side`` x ``side`` pixels, from left to right."""
    pictures = [np.asarray(Image.fromarray(frame).resize((side, side))) for frame in frames]
    jpeg = io.BytesIO()
    Image.fromarray(np.concatenate(pictures, axis=1)).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()
