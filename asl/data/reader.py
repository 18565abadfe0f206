"""Read the drawn frames of one clip with decord (``reader=decord``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import Frames
from asl.contract.manifest import Clip
from asl.data.sampling import Sampling, draw_frames
from asl.errors import UserError


class ClipError(UserError):
    """A clip that cannot be read although the manifest lists it."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker prepends its traceback to the message; the user needs the message alone.
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


def unreadable(clip: Clip, path: Path, reason: str) -> ClipError:
    """The error for a clip that cannot be decoded, with what to do about it."""
    return ClipError(
        f"clip {clip.video_id} ({clip.gloss!r}, {clip.split}) cannot be read: {reason}\n"
        f"  file: {path}\n"
        f"The file was damaged or changed after the manifest was written. Delete it, then cut it again "
        f"and write the manifest anew with: python preprocess.py"
    )


def read_clip(
    clip: Clip,
    path: Path,
    *,
    sampling: Sampling,
    resize: tuple[int, int],
    speed: tuple[float, float] = (1.0, 1.0),
    rng: np.random.Generator | None = None,
) -> Frames:
    """Draw frames of one clip, scaled to ``resize`` without regard to the aspect ratio.

    Scaling to one fixed size is what torchvision's Kinetics weights were trained on.

    Args:
        clip: its row of the manifest.
        path: its file.
        sampling: which frames.
        resize: height, width in pixels.
        speed: lowest and highest playback speed; one in between is drawn.
        rng: jitters the choice of frames; None takes the middle.

    Returns:
        ``(T, H, W, C)`` uint8 RGB with ``T = sampling.clip_len``.

    Raises:
        ClipError: for a file that is missing, damaged, or shorter than the manifest says.
    """
    with _named(clip, path):
        video, starts_s = _open(clip, path, resize)
        indices = draw_frames(starts_s, clip.duration_s, sampling, rng, speed=speed)
        frames: Frames = video.get_batch(indices).asnumpy()
    return frames


def _open(clip: Clip, path: Path, size: tuple[int, int]) -> tuple[Any, npt.NDArray[np.float64]]:
    """decord's reader of a clip, scaling to ``size`` (height, width), and the time stamps of its frames."""
    import decord  # loads FFmpeg libraries of its own, which only the processes that read clips need

    height, width = size
    # One thread: the worker processes are the parallelism. fault_tol: a frame that the decoder
    # had to make up is an error, not a picture.
    video = decord.VideoReader(str(path), width=width, height=height, num_threads=1, fault_tol=1)
    # decord counts too many frames in some files and hangs on the surplus ones; the manifest's
    # count is of frames that were decoded.
    if len(video) < clip.num_frames:
        raise unreadable(clip, path, f"it has {len(video)} frames, the manifest says {clip.num_frames}")
    return video, video.get_frame_timestamp(range(clip.num_frames))[:, 0]


@contextmanager
def _named(clip: Clip, path: Path) -> Iterator[None]:
    """Turn decord's errors, which do not name the clip, into :class:`ClipError`."""
    from decord._ffi.base import DECORDError, DECORDLimitReachedError

    try:
        yield
    except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, OSError) as error:
        raise unreadable(clip, path, _first_line(error) if path.is_file() else "no such file") from error


def scalable(width: int) -> bool:
    """Whether decord can scale to this width.

    FFmpeg pads rows to 16, 32 or 64 pixels, whichever the processor likes. decord takes a row for
    unpadded when its padded size is a multiple of the width, and fails: 24 pixels are padded to 32,
    which is 96 bytes = 4 x 24. Only a few widths up to 144 are concerned.
    """
    padded = [-(-width // alignment) * alignment for alignment in (16, 32, 64)]
    return all(pixels == width or 3 * pixels % width for pixels in padded)


def _first_line(error: BaseException) -> str:
    """decord appends a stack trace of its C++ code and puts the time of day in front."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.split("] ", 1)[-1].strip() or type(error).__name__
