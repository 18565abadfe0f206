"""Stored frames: their paths, and functions that open and resize them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import Frames, FrameSpec, frames_path, open_frames
from asl.contract.manifest import Clip
from asl.data.clip_files import unreadable_clip

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FrameStore:
    """A folder of stored frames, and the settings with which they were made."""

    folder: Path
    spec: FrameSpec

    def path(self, clip: Clip) -> Path:
        """The file with the frames of a clip."""
        return frames_path(self.folder, self.spec, clip.video_id)


def open_stored_frames(
    clip: Clip, path: Path, *, count: int | None = None
) -> tuple[Frames, npt.NDArray[np.float64]]:
    """Open the stored frames of a clip.

    Args:
        clip: row of the manifest.
        path: file with its frames.
        count: the number of frames that it must have, if known.

    Returns:
        ``(T, H, W, C)`` uint8, memory-mapped, and their ``(T,)`` times in seconds.

    Raises:
        ClipError: the file is missing or damaged, or has another number of frames.
    """
    try:
        frames, times_s = open_frames(path)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable_clip(clip, path, str(error) or type(error).__name__) from error
    if count is not None and len(frames) != count:
        raise unreadable_clip(clip, path, f"it has {len(frames)} frames instead of {count}")
    return frames, times_s


def read_stored_frames(
    clip: Clip, path: Path, indices: npt.NDArray[np.int64], size: tuple[int, int]
) -> Frames:
    """Read some of the stored frames of a clip.

    Args:
        clip: row of the manifest.
        path: file with its frames.
        indices: ``(T,)`` indices of its stored frames.
        size: height and width in pixels; frames of another size are resized.

    Returns:
        ``(T, *size, C)`` uint8.

    Raises:
        ClipError: the file is missing, damaged, or has fewer frames.
    """
    import torch  # takes seconds to import; FrameStore does not need it

    stored, _ = open_stored_frames(clip, path)
    if indices.max() >= len(stored):
        raise unreadable_clip(clip, path, f"it has {len(stored)} frames; frame {indices.max()} was drawn")
    # With mode="clip", numpy copies without Python's lock, so that threads read side by side.
    drawn = np.empty((len(indices), *stored.shape[1:]), np.uint8)
    np.take(stored, indices, axis=0, out=drawn, mode="clip")
    return resize_frames(torch.from_numpy(drawn), size).numpy()


def resize_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize frames to ``size`` without keeping the aspect ratio (bilinear, with antialiasing).

    The computation is in uint8: several times as fast as in floats, with a difference of less than one level.

    Args:
        frames: ``(T, H, W, C)`` uint8 on the host.
        size: height and width in pixels.

    Returns:
        ``(T, *size, C)`` uint8; ``frames`` themselves if they have that size.
    """
    import torch.nn.functional as F  # takes seconds to import; FrameStore does not need it

    if tuple(frames.shape[1:3]) == size:
        return frames
    pictures = F.interpolate(frames.permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return pictures.permute(0, 2, 3, 1).contiguous()
