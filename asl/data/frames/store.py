"""Stored frames: their paths, and functions that open and resize them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import (
    Frames,
    FrameSpec,
    frames_path,
    open_frames,
    part_pixels,
    store_bytes,
)
from asl.contract.manifest import Box, Clip
from asl.data.clip_files import unreadable_clip
from asl.data.framing import Framing

if TYPE_CHECKING:
    from torch import Tensor

_MADE_ANEW = "The file of its frames was damaged or changed. Delete it: the next start makes it anew"


@dataclass(frozen=True, kw_only=True)
class FrameStore:
    """A folder of stored frames, and the settings with which they were made."""

    folder: Path
    spec: FrameSpec

    def path(self, clip: Clip) -> Path:
        """The file with the frames of a clip."""
        return frames_path(self.folder, self.spec, clip.video_id)

    def num_bytes(self, clips: Iterable[Clip]) -> int:
        """Bytes that the files of clips take on the disk, whether they are there or not."""
        total = 0
        for clip in clips:
            part = self.spec.part(clip.width, clip.height, clip.signer_box)
            _, _, width, height = part_pixels(part, clip.width, clip.height)
            total += store_bytes(self.spec, [(clip.duration_s, clip.num_frames, width, height)])
        return total


class OpenedFrames(NamedTuple):
    """The stored frames of a clip."""

    frames: Frames  # (T, H, W, C), memory-mapped
    times_s: npt.NDArray[np.float64]  # (T,)
    box: Box | None  # of the signer, in the stored pictures; they may be a part around it. None if unknown


def open_stored_frames(clip: Clip, path: Path, *, count: int | None = None) -> OpenedFrames:
    """Open the stored frames of a clip.

    Args:
        clip: row of the manifest.
        path: file with its frames.
        count: the number of frames that it must have, if known.

    Raises:
        ClipError: the file is missing or damaged, or has another number of frames.
    """
    try:
        frames, times_s, part = open_frames(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable_clip(clip, path, str(error) or type(error).__name__, remedy=_MADE_ANEW) from error
    if count is not None and len(frames) != count:
        raise unreadable_clip(
            clip, path, f"it has {len(frames)} frames instead of {count}", remedy=_MADE_ANEW
        )
    return OpenedFrames(frames, times_s, box_in_part(clip.signer_box, part))


def box_in_part(box: Box | None, part: Box | None) -> Box | None:
    """A box in shares of a part of the picture, which it may exceed.

    >>> box_in_part((0.25, 0.0, 0.5, 1.0), (0.25, 0.0, 0.75, 1.0))
    (0.0, 0.0, 0.5, 1.0)
    """
    if box is None or part is None:
        return box
    width, height = part[2] - part[0], part[3] - part[1]
    left, right = ((edge - part[0]) / width for edge in box[::2])
    top, bottom = ((edge - part[1]) / height for edge in box[1::2])
    return left, top, right, bottom


def read_stored_frames(clip: Clip, path: Path, indices: npt.NDArray[np.int64], framing: Framing) -> Frames:
    """Read some of the stored frames of a clip.

    Args:
        clip: row of the manifest.
        path: file with its frames.
        indices: ``(T,)`` indices of its stored frames.
        framing: part of the pictures, and size.

    Returns:
        ``(T, *framing.size, C)`` uint8.

    Raises:
        ClipError: the file is missing, damaged, or has fewer frames.
    """
    import torch  # takes seconds to import; FrameStore does not need it

    stored, _, box = open_stored_frames(clip, path)
    if indices.max() >= len(stored):
        raise unreadable_clip(
            clip, path, f"it has {len(stored)} frames; frame {indices.max()} was drawn", remedy=_MADE_ANEW
        )
    # With mode="clip", numpy copies without Python's lock, so that threads read side by side.
    drawn = np.empty((len(indices), *stored.shape[1:]), np.uint8)
    np.take(stored, indices, axis=0, out=drawn, mode="clip")
    return frame_pictures(torch.from_numpy(drawn), framing, box).numpy()


def frame_pictures(frames: Tensor, framing: Framing, box: Box | None = None) -> Tensor:
    """Bring the part of the pictures that ``framing`` chooses to its size.

    Args:
        frames: ``(T, H, W, C)`` uint8 on the host: whole pictures, or the part of them that is stored.
        framing: part of the pictures, and size.
        box: of the signer, in shares of these pictures. None if unknown.

    Returns:
        ``(T, *framing.size, C)`` uint8; black outside the picture.
    """
    height, width = frames.shape[1:3]
    square = framing.square(height, width, box)
    if square is None:
        return resize_frames(frames, framing.size)
    rows, to_rows = _overlap(square.top, square.side, height, framing.size[0])
    columns, to_columns = _overlap(square.left, square.side, width, framing.size[1])
    target = to_rows.stop - to_rows.start, to_columns.stop - to_columns.start
    part = resize_frames(frames[:, rows, columns], target)
    if target == framing.size:
        return part.contiguous()
    framed = frames.new_zeros(len(frames), *framing.size, frames.shape[3])
    framed[:, to_rows, to_columns] = part
    return framed


def _overlap(start: float, side: float, length: int, size: int) -> tuple[slice, slice]:
    """The pixels of one axis of a picture that lie in a square, and where they go in ``size`` pixels.

    >>> _overlap(-2.0, 10.0, 6, 20)
    (slice(0, 6, None), slice(4, 16, None))
    """
    first = min(max(round(start), 0), length - 1)
    last = max(min(round(start + side), length), first + 1)
    scale = size / side
    to_first = min(max(round(-start * scale), 0), size - 1)
    to_last = max(min(round((length - start) * scale), size), to_first + 1)
    return slice(first, last), slice(to_first, to_last)


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
