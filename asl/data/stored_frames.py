"""Frames that were decoded beforehand: where they lie, and how they are opened and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import Frames, FrameSpec, frames_path, open_frames
from asl.contract.manifest import Clip
from asl.data.clip_files import unreadable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FrameStore:
    """The folder with decoded frames, and which frames they are."""

    folder: Path
    spec: FrameSpec

    def path(self, clip: Clip) -> Path:
        """The file with a clip's frames."""
        return frames_path(self.folder, self.spec, clip.video_id)


def open_stored(clip: Clip, path: Path) -> tuple[Frames, npt.NDArray[np.float64]]:
    """A clip's frames ``(T, H, W, C)`` uint8, memory-mapped, and their times ``(T,)`` in seconds.

    Raises:
        ClipError: the file is missing or was changed.
    """
    try:
        return open_frames(path)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(clip, path, str(error) or type(error).__name__) from error


def scaled(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames ``(T, H, W, C)`` uint8 on the host, scaled to ``size`` (height, width) regardless of aspect.

    Computed in uint8, which is as good as in floats, several times as fast, and gives the same pictures in
    whichever process it runs.
    """
    import torch.nn.functional as F  # takes seconds to import; FrameStore is needed without it

    if tuple(frames.shape[1:3]) == size:
        return frames
    pictures = F.interpolate(frames.permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return pictures.permute(0, 2, 3, 1).contiguous()
