"""A clip's content in 2 KB: whether two clips show the same, whatever their names and encodings.

A perceptual hash of single frames does not do for signs: one signer before one wall begins and ends
every sign in the same pose. So a fingerprint holds several frames, and two clips are the same only
if both agree: what stands still (the picture), and what moves (each frame less the mean of all).
"""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

FRAMES = 8
SIDE = 16  # pixels of a thumbnail's side

Thumbnails = npt.NDArray[np.uint8]  # (FRAMES, SIDE, SIDE), grey


def frames_to_keep(num_frames: int) -> list[int]:
    """The middle frame of each of ``FRAMES`` equal parts; short clips repeat some.

    >>> frames_to_keep(16)
    [1, 3, 5, 7, 9, 11, 13, 15]
    """
    return [int((i + 0.5) * num_frames / FRAMES) for i in range(FRAMES)]


def to_text(thumbnails: Thumbnails) -> str:
    """A fingerprint as ASCII, for a log."""
    return base64.b64encode(np.ascontiguousarray(thumbnails, dtype=np.uint8).tobytes()).decode()


def from_text(text: str) -> Thumbnails:
    """The inverse of :func:`to_text`. Raises ValueError for anything else."""
    return np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(FRAMES, SIDE, SIDE)
