"""A clip's content in 2 KB: small grey frames spread over the clip.

The fingerprint is part of the proof. The audit compares fingerprints to find clips that show the same.
"""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

FRAMES = 8
SIDE = 16  # pixels; every frame is scaled to SIDE x SIDE, whatever its aspect ratio

Fingerprint = npt.NDArray[np.uint8]  # (FRAMES, SIDE, SIDE), grey


def frames_to_keep(num_frames: int) -> list[int]:
    """Indices of the middle frame of each of ``FRAMES`` equal parts of a clip; short clips repeat some.

    >>> frames_to_keep(16)
    [1, 3, 5, 7, 9, 11, 13, 15]
    """
    return [int((i + 0.5) * num_frames / FRAMES) for i in range(FRAMES)]


def to_text(fingerprint: Fingerprint) -> str:
    """The fingerprint as Base64, for the proof log."""
    return base64.b64encode(np.ascontiguousarray(fingerprint, dtype=np.uint8).tobytes()).decode()


def from_text(text: str) -> Fingerprint:
    """The inverse of :func:`to_text`.

    Raises:
        ValueError: ``text`` is not a fingerprint.
    """
    return np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(FRAMES, SIDE, SIDE)
