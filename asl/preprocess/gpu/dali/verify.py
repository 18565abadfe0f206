"""Verify frames from the GPU against the host's proof of the same clip.

A GPU's decoder conceals damage without an error. So its frames are written under another name first, and
stored only if their number and their pictures agree with the proof.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import Frames, open_frames, read_shape
from asl.files import PART
from asl.preprocess.clips.fingerprint import SIDE, frames_to_keep, from_text
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof

#: Mean absolute difference in grey levels above which two pictures are not the same. The same picture from
#: two different scalers differs by 1 or 2.
_MAX_DIFFERENCE = 12


def unverified_path(path: Path) -> Path:
    """Where frames for ``path`` are written before they are verified.

    It is the name of a temporary file (see :mod:`asl.files`): those of a killed run are removed after a day.
    """
    return path.with_name(f".{path.stem}.gpu{PART}{path.suffix}")


def verify_and_publish(task: tuple[Cut, Proof]) -> str | None:
    """Compare a clip's unverified frames with its proof, and store them if they match.

    The pictures are compared with those of the fingerprint. Frames that do not match are deleted.

    Returns:
        How they differ. None if they match and are stored.
    """
    cut, proof = task
    if cut.frames is None:
        return None
    path, expected = (
        unverified_path(cut.frames.path),
        cut.frames.spec.count(proof.duration_s, proof.num_frames),
    )
    shape = read_shape(path)
    if shape is None or shape[0] != expected:
        path.unlink(missing_ok=True)
        return "another number of frames than the proof"
    frames = open_frames(path).frames
    if _largest_difference(frames, proof) > _MAX_DIFFERENCE:
        path.unlink()
        return "other pictures than the proof"
    path.replace(cut.frames.path)
    return None


def _largest_difference(frames: Frames, proof: Proof) -> float:
    """Largest mean absolute difference, in grey levels, from a picture of the fingerprint."""
    expected = from_text(proof.fingerprint).astype(np.float32)
    indices = [i * len(frames) // proof.num_frames for i in frames_to_keep(proof.num_frames)]
    found = np.stack([_fingerprint_picture(frames[i]) for i in indices])
    return float(np.abs(found - expected).mean(axis=(1, 2)).max())


def _fingerprint_picture(frame: Frames) -> npt.NDArray[np.float32]:
    """``(H, W, 3)`` uint8 to grey ``(SIDE, SIDE)``: the mean of each cell."""
    grey = frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    rows = np.array_split(np.arange(len(grey)), SIDE)
    columns = np.array_split(np.arange(grey.shape[1]), SIDE)
    bands = np.stack([grey[row].mean(axis=0) for row in rows])
    return np.stack([bands[:, column].mean(axis=1) for column in columns], axis=1)
