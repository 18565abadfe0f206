"""A clip's content in 2 KB: whether two clips show the same, whatever their names and encodings.

A perceptual hash of single frames does not do for signs: one signer before one wall begins and ends
every sign in the same pose. So a fingerprint holds several frames, and two clips are the same only
if both agree: what stands still (the picture), and what moves (each frame less the mean of all).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asl.preprocess.clips.fingerprint import FRAMES, SIDE

#: Left out at each side of a thumbnail: letterboxes, site logos, running counters and captions.
MARGIN = 2

#: Clips of one content last equally long; re-encoding to another frame rate moves the end a frame.
DURATION_TOLERANCE_S = 0.1

#: Correlation from which two clips show the same. Measured on the demo's clips: each against itself
#: at half the size and crf 35, and against all others. See benchmarks/README.md.
SAME_PICTURE = 0.93
SAME_MOTION = 0.85

#: Less movement than this (standard deviation in grey levels) is noise and says nothing.
LEAST_MOTION = 0.5

_BLOCK = 256  # clips


@dataclass(frozen=True)
class SameContent:
    """Two clips that show the same."""

    first: str
    second: str
    picture: float  # correlations, see above
    motion: float


def same_content(fingerprints: Mapping[str, tuple[str, float]]) -> Iterator[SameContent]:
    """Every pair of clips that shows the same, in a fixed order.

    Only clips of about the same length are compared, first by their pictures, and only pairs that
    agree there by their motion.

    Args:
        fingerprints: by name, the fingerprint as text and the clip's duration in seconds.
    """
    names = sorted(fingerprints, key=lambda name: (fingerprints[name][1], name))
    if len(names) < 2:
        return
    durations = np.array([fingerprints[name][1] for name in names])
    pictures, motions = _descriptors([fingerprints[name][0] for name in names])
    found = []
    for i, k in _similar_pictures(pictures, durations):
        motion = float(motions[i] @ motions[k])
        if motion >= SAME_MOTION:
            first, second = sorted((names[i], names[k]))
            picture = round(float(pictures[i] @ pictures[k]), 3)
            found.append(SameContent(first, second, picture, round(motion, 3)))
    yield from sorted(found, key=lambda pair: (pair.first, pair.second))


def _similar_pictures(
    pictures: npt.NDArray[np.float32], durations: npt.NDArray[np.float64]
) -> Iterator[tuple[int, int]]:
    """Pairs ``(i, k)``, i < k, of about the same length and picture; both arrays sorted by duration."""
    ends = np.searchsorted(durations, durations + DURATION_TOLERANCE_S, side="right")
    for start in range(0, len(pictures), _BLOCK):  # one matrix product for a block of clips at a time
        stop = min(start + _BLOCK, len(pictures))
        alike = pictures[start:stop] @ pictures[start : ends[stop - 1]].T >= SAME_PICTURE
        for row, column in zip(*np.nonzero(alike), strict=True):
            i, k = start + int(row), start + int(column)
            if i < k < ends[i]:
                yield i, k


def _descriptors(texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Unit vectors whose dot products are correlations: of pictures, and of motions."""
    raw = b"".join(base64.b64decode(text) for text in texts)
    clips = np.frombuffer(raw, np.uint8).reshape(-1, FRAMES, SIDE, SIDE)
    clips = clips[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)
    still = clips.mean(axis=1)
    motion = (clips - still[:, None]).reshape(len(clips), -1)
    motion[motion.std(axis=1) < LEAST_MOTION] = 0  # correlates with nothing
    picture = still.reshape(len(clips), -1)
    return _unit(picture - picture.mean(axis=1, keepdims=True)), _unit(motion)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
