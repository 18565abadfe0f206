"""Clips whose frames were decoded beforehand: which are drawn, and all at one size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from asl.contract.frame_store import Frames, FrameSpec, frames_path, open_frames
from asl.contract.manifest import Clip
from asl.data.reader import unreadable
from asl.data.sampling import Sampling, draw_frames


@dataclass(frozen=True, kw_only=True)
class FrameStore:
    """Where decoded frames lie, and which they are."""

    folder: Path
    spec: FrameSpec

    def path(self, clip: Clip) -> Path:
        """The file of a clip's frames."""
        return frames_path(self.folder, self.spec, clip.video_id)


def open_stored(clip: Clip, path: Path) -> tuple[Frames, npt.NDArray[np.float64]]:
    """A clip's frames ``(T, H, W, C)`` uint8, mapped into memory, and their times ``(T,)`` in seconds.

    Raises:
        ClipError: the file has vanished or was changed.
    """
    try:
        return open_frames(path)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(clip, path, str(error) or type(error).__name__) from error


def read_stored_clip(
    clip: Clip,
    path: Path,
    *,
    sampling: Sampling,
    resize: tuple[int, int],
    speed: tuple[float, float] = (1.0, 1.0),
    rng: np.random.Generator | None = None,
) -> npt.NDArray[np.uint8]:
    """What :func:`asl.data.reader.read_clip` gives, of frames that were decoded beforehand.

    Args:
        clip: its row of the manifest.
        path: its file of frames.
        sampling: which frames.
        resize: height, width in pixels.
        speed: least and most, of which one is drawn.
        rng: jitters the choice of frames; None takes the middle.

    Returns:
        ``(T, H, W, C)`` uint8 RGB with ``T = sampling.clip_len``.

    Raises:
        ClipError: the file of frames has vanished or was changed.
    """
    frames, times_s = open_stored(clip, path)
    drawn = frames[draw_frames(times_s, clip.duration_s, sampling, rng, speed=speed)]
    return scaled(torch.from_numpy(drawn), resize).numpy()


def scaled(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames ``(T, H, W, C)`` uint8 on the host, at ``size`` (height, width), whatever their aspect ratio.

    In bytes throughout, which is as good as in floats, several times as fast, and gives the same
    pictures wherever the batches are put together.
    """
    if tuple(frames.shape[1:3]) == size:
        return frames
    pictures = F.interpolate(frames.permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return pictures.permute(0, 2, 3, 1).contiguous()
