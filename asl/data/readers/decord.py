"""``reader=decord``: a clip is decoded by decord whenever it is drawn; no frames are kept."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asl.contract.frame_store import Frames, FrameSettings
from asl.contract.manifest import Clip
from asl.data.clip_files import unreadable
from asl.data.readers.base import ClipReader, ReaderSettings
from asl.data.sampling import Sampling, draw_frames
from asl.data.settings import DataSettings


@dataclass(kw_only=True)
class DecordReaderSettings(ReaderSettings):
    """Clips decoded whenever they are drawn. A fast GPU waits for it."""

    def problems_with(self, data: DataSettings, frames: FrameSettings) -> Iterator[str]:
        """What decord cannot do here."""
        if importlib.util.find_spec("decord") is None:
            yield ("reader=decord: decord is not installed (it is for Linux on x86-64); set reader=frames")
        if not scalable(data.resize[1]):
            width = next(width for width in range(data.resize[1], 999) if scalable(width))
            yield (
                f"data.resize={data.resize}: decord cannot scale to a width of {data.resize[1]} on every "
                f"machine; set a width of {width}"
            )

    def build(self, frames: FrameSettings, frames_dir: Path) -> DecordReader:
        """The reader itself."""
        return DecordReader()


class DecordReader(ClipReader):
    """Reads clips with decord."""

    def read(
        self,
        clip: Clip,
        file: Path,
        *,
        sampling: Sampling,
        size: tuple[int, int],
        speed: Sequence[float] = (1.0, 1.0),
        rng: np.random.Generator | None = None,
    ) -> Frames:
        import decord  # loads FFmpeg libraries of its own, which only the worker processes need

        height, width = size
        with _readable_errors(clip, file):
            # One thread: the worker processes are the parallelism. fault_tol: a frame that the decoder
            # conceals is an error, not a picture.
            video = decord.VideoReader(str(file), width=width, height=height, num_threads=1, fault_tol=1)
            # decord counts too many frames in some files and hangs on the surplus ones; the manifest's
            # number is of frames that were decoded.
            if len(video) < clip.num_frames:
                reason = f"it has {len(video)} frames, the manifest says {clip.num_frames}"
                raise unreadable(clip, file, reason)
            starts_s = video.get_frame_timestamp(range(clip.num_frames))[:, 0]
            indices = draw_frames(starts_s, clip.duration_s, sampling, rng, speed=speed)
            frames: Frames = video.get_batch(indices).asnumpy()
        return frames


@contextmanager
def _readable_errors(clip: Clip, path: Path) -> Iterator[None]:
    """decord's errors name neither the clip nor the way out."""
    from decord._ffi.base import DECORDError, DECORDLimitReachedError

    try:
        yield
    except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, OSError) as error:
        raise unreadable(clip, path, _first_line(error) if path.is_file() else "no such file") from error


def scalable(width: int) -> bool:
    """Whether decord can scale to this width.

    FFmpeg pads rows to 16, 32 or 64 pixels, depending on the processor. decord takes a row for unpadded
    if its padded size is a multiple of the width, and fails: 24 pixels are padded to 32, which is 96
    bytes = 4 x 24. Only a few widths up to 144 are concerned.
    """
    padded = [-(-width // alignment) * alignment for alignment in (16, 32, 64)]
    return all(pixels == width or 3 * pixels % width for pixels in padded)


def _first_line(error: BaseException) -> str:
    """decord appends a stack trace of its C++ code and begins with the time of day."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.split("] ", 1)[-1].strip() or type(error).__name__
