"""Pairs of clips that may have the same content, proposed by their fingerprints.

Two clips are proposed, whatever their names and encodings, if they are about equally long, and both their
mean pictures and their motions correlate. Fingerprints are too small to tell two signs apart whose hands are
close to each other: :mod:`asl.preprocess.audit.confirm` decides.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from asl.preprocess.clips.fingerprint import FRAMES, SIDE

#: Pixels left out at each side of a thumbnail: letterboxes, site logos, running counters and captions.
MARGIN = 2

#: Largest difference of two durations. Re-encoding at another frame rate moves the end by up to a frame.
DURATION_TOLERANCE_S = 0.1

#: Least correlations of proposed clips. Measured on the demo's signers, see benchmarks/README.md.
SIMILAR_PICTURE = 0.93
SIMILAR_MOTION = 0.8

#: Standard deviation in grey levels. Motions below it are noise, and correlate with nothing.
LEAST_MOTION = 0.5

_BLOCK = 256  # clips

_Vectors = npt.NDArray[np.float32]  # (clips, pixels)


def propose_copies(fingerprints: Mapping[str, tuple[str, float]]) -> list[tuple[str, str]]:
    """Pairs of clips that may have the same content, each in the order of its names, and sorted.

    Args:
        fingerprints: by name of the clip, its fingerprint as text and its duration in seconds.
    """
    names = sorted(fingerprints, key=lambda name: (fingerprints[name][1], name))
    if len(names) < 2:
        return []
    durations = np.array([fingerprints[name][1] for name in names])
    pictures, motions = _unit_vectors([fingerprints[name][0] for name in names])
    return sorted(
        (min(names[i], names[k]), max(names[i], names[k]))
        for i, k in _similar_pictures(pictures, durations)
        if motions[i] @ motions[k] >= SIMILAR_MOTION
    )


def _similar_pictures(pictures: _Vectors, durations: npt.NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Pairs ``(i, k)``, i < k, of about the same duration and picture; both arrays sorted by duration."""
    ends = np.searchsorted(durations, durations + DURATION_TOLERANCE_S, side="right")
    for start in range(0, len(pictures), _BLOCK):  # one matrix product for a block of clips at a time
        stop = min(start + _BLOCK, len(pictures))
        similar = pictures[start:stop] @ pictures[start : ends[stop - 1]].T >= SIMILAR_PICTURE
        for row, column in zip(*np.nonzero(similar), strict=True):
            i, k = start + int(row), start + int(column)
            if i < k < ends[i]:
                yield i, k


def _unit_vectors(fingerprints: Sequence[str]) -> tuple[_Vectors, _Vectors]:
    """Unit vectors of mean pictures and of motions; the dot product of two is their correlation."""
    pixels = (SIDE - 2 * MARGIN) ** 2
    pictures = np.empty((len(fingerprints), pixels), np.float32)
    motions = np.empty((len(fingerprints), FRAMES * pixels), np.float32)
    for start in range(0, len(fingerprints), _BLOCK):
        block = slice(start, start + _BLOCK)
        raw = b"".join(base64.b64decode(text) for text in fingerprints[block])
        clips = np.frombuffer(raw, np.uint8).reshape(-1, FRAMES, SIDE, SIDE)
        clips = clips[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)
        mean = clips.mean(axis=1)
        motion = (clips - mean[:, None]).reshape(len(clips), -1)
        motion[motion.std(axis=1) < LEAST_MOTION] = 0
        picture = mean.reshape(len(clips), -1)
        pictures[block] = _normalized(picture - picture.mean(axis=1, keepdims=True))
        motions[block] = _normalized(motion)
    return pictures, motions


def _normalized(vectors: _Vectors) -> _Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
