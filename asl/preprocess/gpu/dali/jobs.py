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
from asl.contract.time_grid import frame_numbers


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
