"""Which frames of its source a clip needs, found without decoding: the input of the GPU's decoder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from asl.codecs.frame_collector import FramesRequest
from asl.codecs.timeline import PacketIndex, read_packet_index
from asl.codecs.video_file import VideoError
from asl.contract.time_grid import frames_on_display, grid_length
from asl.preprocess.sources.raw_files import RawVideo

#: Smallest width and height in pixels that an H100's decoder takes, by codec; other cards may take less.
#: The host decodes what is missing here. AV1 is missing because no card before Ada decodes it.
_MIN_SIZE = {"h264": (48, 16), "hevc": (144, 144), "vp8": (48, 16), "vp9": (128, 128), "mpeg4": (48, 16)}

_PIX_FMTS = ("yuv420p", "yuvj420p")


@dataclass(frozen=True, kw_only=True)
class FrameJob:
    """One clip whose frames are to be made on the GPU."""

    video_id: str
    source: Path
    start_s: Fraction
    end_s: Fraction | None
    keep: FramesRequest
    width: int  # pixels of the source
    height: int


def unsupported_reason(raw: RawVideo) -> str | None:
    """Why the GPU cannot decode this source, by its header. None if it may be able to."""
    if raw.codec not in _MIN_SIZE:
        return f"codec {raw.codec}"
    if raw.pix_fmt not in _PIX_FMTS:
        return f"pixel format {raw.pix_fmt}"
    if raw.turned:
        return "turned picture"
    if raw.width % 2 or raw.height % 2:
        return "odd picture size"
    if raw.width < _MIN_SIZE[raw.codec][0] or raw.height < _MIN_SIZE[raw.codec][1]:
        return f"picture too small for {raw.codec}"
    return None


class SourceFiles:
    """Source files by path, each read once, however many jobs and threads use it."""

    def __init__(self) -> None:
        self._locks: defaultdict[Path, Lock] = defaultdict(Lock)
        self._read: dict[Path, tuple[PacketIndex, npt.NDArray[np.uint8]]] = {}

    def __getitem__(self, path: Path) -> tuple[PacketIndex, npt.NDArray[np.uint8]]:
        """The index of a file's packets, and its bytes.

        Raises:
            VideoError: the packets do not say which frames are shown when.
            OSError: the file cannot be read.
        """
        with self._locks[path]:
            if path not in self._read:
                self._read[path] = read_packet_index(path), np.fromfile(path, np.uint8)
            return self._read[path]


@dataclass(frozen=True)
class PreparedJob:
    """The file and frame numbers of a job. T frames are stored; a source frame can be stored repeatedly."""

    encoded: npt.NDArray[np.uint8]  # the whole file
    numbers: npt.NDArray[np.int32]  # of the source's frames to decode, rising, without repetition
    positions: npt.NDArray[np.intp]  # (T,): indices into numbers
    times_s: Sequence[float]  # (T,): from the clip's first frame
    matrix: int  # of YUV to RGB, as in ITU-T H.273


def prepare(job: FrameJob, sources: SourceFiles) -> PreparedJob | str:
    """What is to be decoded for a job, or why the GPU cannot do it."""
    fps = job.keep.spec.fps
    try:
        index, encoded = sources[job.source]
    except (VideoError, OSError) as error:
        return str(getattr(error, "strerror", None) or error)
    timeline = index.timeline
    kept = frame_numbers(timeline.times, timeline.end, job.start_s, job.end_s, fps)
    if not len(kept):
        return "no frame in the segment"
    if fps is None:
        times_s = [float(timeline.times[i] - timeline.times[kept[0]]) for i in kept]
    else:
        times_s = [i / fps for i in range(len(kept))]
    numbers, positions = np.unique(kept, return_inverse=True)
    return PreparedJob(encoded, numbers, positions, times_s, index.color_matrix)


def frame_numbers(
    times: Sequence[Fraction], end: Fraction, start_s: Fraction, end_s: Fraction | None, fps: float | None
) -> npt.NDArray[np.int32]:
    """Numbers of the source's frames that are stored for the segment ``[start_s, end_s)``.

    Args:
        times: when each frame of the source is shown, in seconds from its first frame.
        end: when the last frame ceases to be shown.
        start_s: start of the segment.
        end_s: end of the segment; None: the end of the source.
        fps: rate of the time grid; None: every frame of the segment.

    Returns:
        ``(T,)`` int32, rising, with repetitions where the grid is finer than the frames; empty if no
        frame begins within the segment.
    """
    inside = [i for i, time in enumerate(times) if time >= start_s and (end_s is None or time < end_s)]
    if not inside:
        return np.empty(0, np.int32)
    first, last = inside[0], inside[-1]
    if fps is None:
        return np.arange(first, last + 1, dtype=np.int32)
    segment_end = times[last + 1] if last + 1 < len(times) else end
    starts = np.array([float(time - times[first]) for time in times[first : last + 1]])
    points = np.arange(grid_length(round(float(segment_end - times[first]), 6), fps)) / fps
    return (first + frames_on_display(points, starts)).astype(np.int32)
