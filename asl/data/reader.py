"""Frames of one clip, decoded by decord whenever the clip is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from asl.data.frame_sampling import Sampling, draw_frames
from asl.errors import UserError
from asl.manifest import Clip


class ClipError(UserError):
    """A clip that cannot be read although the manifest lists it."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker hands over its own traceback with the message at the end; the user needs
        # the message alone.
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


def unreadable(clip: Clip, path: Path, reason: str) -> ClipError:
    """The error for a clip that decoding failed on, with the way out."""
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
    rng: np.random.Generator | None = None,
) -> npt.NDArray[np.uint8]:
    """Draw frames of one clip, scaled to ``resize`` without regard to the aspect ratio.

    Scaling to one fixed size is what torchvision's Kinetics weights were trained on.

    Args:
        clip: its row of the manifest.
        path: its file.
        sampling: which frames.
        resize: height, width in pixels.
        rng: jitters the choice of frames; None takes the middle.

    Returns:
        ``(T, H, W, C)`` uint8 RGB with ``T = sampling.clip_len``.

    Raises:
        ClipError: for a file that is missing, damaged, or shorter than the manifest says.
    """
    import decord  # opens FFmpeg libraries of its own; only the processes that read need them
    from decord._ffi.base import DECORDError, DECORDLimitReachedError

    height, width = resize
    try:
        # One thread: the worker processes are the parallelism. fault_tol: a frame that the decoder
        # had to make up is an error, not a picture.
        video = decord.VideoReader(str(path), width=width, height=height, num_threads=1, fault_tol=1)
        # decord counts too many frames in some files and hangs on the surplus ones; the manifest's
        # count is of frames that were decoded.
        num_frames = min(len(video), clip.num_frames)
        if num_frames < clip.num_frames:
            raise unreadable(clip, path, f"it has {len(video)} frames, the manifest says {clip.num_frames}")
        starts_s = video.get_frame_timestamp(range(num_frames))[:, 0]
        indices = draw_frames(starts_s, clip.duration_s, sampling, rng)
        frames: npt.NDArray[np.uint8] = video.get_batch(indices).asnumpy()
    except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, OSError) as error:
        raise unreadable(clip, path, _first_line(error) if path.is_file() else "no such file") from error
    return frames


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
