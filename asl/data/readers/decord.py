"""``reader=decord``: decode a clip with decord each time it is drawn. No frames are stored."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asl.contract.frame_store import Frames, FrameSettings
from asl.contract.manifest import Clip
from asl.data.clip_files import unreadable_clip
from asl.data.frames.store import frame_pictures
from asl.data.framing import SQUEEZE, Framing
from asl.data.readers.base import ClipReader, ReaderSettings
from asl.data.sampling import Sampling, Tempo, draw_frames
from asl.data.settings import DataSettings


@dataclass(kw_only=True)
class DecordReaderSettings(ReaderSettings):
    """Decode clips each time they are drawn. This is too slow to keep a fast GPU busy."""

    def problems_with(self, data: DataSettings, frames: FrameSettings) -> Iterator[str]:
        """decord is not installed, or cannot scale to the width."""
        if importlib.util.find_spec("decord") is None:
            yield ("reader=decord: decord is not installed (it is for Linux on x86-64); set reader=frames")
        if data.fit == SQUEEZE and not scalable(data.resize[1]):
            width = next(width for width in range(data.resize[1], 999) if scalable(width))
            yield (
                f"data.resize={data.resize}: decord cannot scale to a width of {data.resize[1]} on every "
                f"machine; set a width of {width}"
            )

    def build(self, frames: FrameSettings, frames_dir: Path) -> DecordReader:
        """Build the reader; ``frames`` and ``frames_dir`` are not used."""
        return DecordReader()


class DecordReader(ClipReader):
    """Reads clips with decord."""

    def read(
        self,
        clip: Clip,
        file: Path,
        *,
        sampling: Sampling,
        framing: Framing,
        tempo: Tempo | None = None,
        rng: np.random.Generator | None = None,
    ) -> Frames:
        import decord  # loads its own FFmpeg libraries; only the worker processes need them
        import torch

        height, width = framing.size
        if framing.square(clip.height, clip.width, clip.signer_box) is not None:
            height = width = -1  # as in the file
        with _readable_errors(clip, file):
            # One thread, because clips are read in parallel by worker processes. fault_tol=1: a frame that
            # the decoder would conceal is an error.
            video = decord.VideoReader(str(file), width=width, height=height, num_threads=1, fault_tol=1)
            # In some files decord counts more frames than there are, and hangs on the surplus ones. The
            # manifest's number was counted by decoding.
            if len(video) < clip.num_frames:
                reason = f"it has {len(video)} frames, the manifest says {clip.num_frames}"
                raise unreadable_clip(clip, file, reason)
            starts_s = video.get_frame_timestamp(range(clip.num_frames))[:, 0]
            indices = draw_frames(starts_s, clip.duration_s, sampling, rng, tempo=tempo)
            frames: Frames = video.get_batch(indices).asnumpy()
        return frame_pictures(torch.from_numpy(frames), framing, clip.signer_box).numpy()


@contextmanager
def _readable_errors(clip: Clip, path: Path) -> Iterator[None]:
    """Raise decord's errors as a ClipError that names the clip."""
    from decord._ffi.base import DECORDError, DECORDLimitReachedError

    try:
        yield
    except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, OSError) as error:
        raise unreadable_clip(clip, path, _first_line(error) if path.is_file() else "no such file") from error


def scalable(width: int) -> bool:
    """Whether decord can scale to a width of ``width`` pixels on every machine.

    FFmpeg pads rows to a multiple of 16, 32 or 64 pixels, depending on the processor. If the padded row has
    a number of bytes that is a multiple of the width, decord does not recognise the padding and fails. For
    example, 24 pixels are padded to 32, which are 96 bytes = 4 x 24. Only a few widths up to 144 are
    affected.
    """
    padded = [-(-width // alignment) * alignment for alignment in (16, 32, 64)]
    return all(pixels == width or 3 * pixels % width for pixels in padded)


def _first_line(error: BaseException) -> str:
    """The message of an error of decord, without the time of day and the C++ stack trace around it."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.split("] ", 1)[-1].strip() or type(error).__name__
