"""The frames of a video, or of a part of it, as training gets those of a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asl.codecs.frame_collector import FrameCollector
from asl.codecs.probe import probe
from asl.codecs.segments import decode_segment
from asl.codecs.timeline import read_packet_index
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames, FrameSpec
from asl.contract.time_grid import TOLERANCE_S
from asl.data.sampling import Sampling, draw_frames

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

#: All frames of a part are in memory at once, and so many seconds hardly show one sign.
LONGEST_S = 120.0

_TOLERANCE_S = Fraction(TOLERANCE_S).limit_denominator(10**6)


@dataclass(frozen=True)
class Span:
    """The part ``[start_s, end_s)`` of a video, in seconds from its first frame.

    Raises:
        ValueError: ``start_s`` is negative.
    """

    file: Path
    start_s: float | None = None  # None: its first frame
    end_s: float | None = None  # None: its end

    def __post_init__(self) -> None:
        if self.start_s is not None and self.start_s < 0:
            raise ValueError(f"start_s={self.start_s}: must be at least 0")


@dataclass(frozen=True)
class DecodedSpan:
    """Decoded frames of a part of a video, as a clip's are stored."""

    frames: Frames  # (T, H, W, 3)
    times_s: npt.NDArray[np.float64]  # (T,), from the first one
    start_s: float  # of the first frame, from that of the file
    duration_s: float  # to the end of the last frame

    @property
    def end_s(self) -> float:
        """When the last frame ceases to be displayed."""
        return self.start_s + self.duration_s

    def drawn(self, sampling: Sampling) -> DecodedSpan:
        """The same with the ``clip_len`` frames that a network gets."""
        indices = draw_frames(self.times_s, self.duration_s, sampling)
        return replace(self, frames=self.frames[indices], times_s=self.times_s[indices])

    def part(self, start_s: float, duration_s: float) -> DecodedSpan:
        """The frames displayed in a part that begins ``start_s`` after the first frame; at least one."""
        borders = np.array([start_s, start_s + duration_s]) - TOLERANCE_S
        first, last = np.searchsorted(self.times_s, borders).tolist()
        first = min(first, len(self.times_s) - 1)
        inside = slice(first, max(first + 1, last))
        times_s = self.times_s[inside]
        return DecodedSpan(self.frames[inside], times_s - times_s[0], self.start_s + start_s, duration_s)


def video_duration(file: Path) -> float:
    """Seconds that a video lasts, by its header, or by its packets if the header does not say it.

    Raises:
        VideoError: there is no such file, or it is no video.
    """
    _check_exists(file)
    return probe(file).duration_s or float(read_packet_index(file).timeline.duration)


def _check_exists(file: Path) -> None:
    """Raise VideoError if there is no such file."""
    if not file.is_file():
        raise VideoError("does not exist", "unreadable file")


def draw_span(numbered: tuple[int, Span], spec: FrameSpec, sampling: Sampling) -> DecodedSpan:
    """Like :func:`decode_span`, with only the frames that are drawn."""
    return decode_span(numbered, spec).drawn(sampling)


def decode_span(numbered: tuple[int, Span], spec: FrameSpec) -> DecodedSpan:
    """Decode a part of a video: upright, on the time grid and at the size of ``spec``.

    A frame counts as displayed a millisecond before its time stamp, see :data:`TOLERANCE_S`.

    Args:
        numbered: the part, with a number by which a caller finds its result.
        spec: which frames, and how large.

    Raises:
        VideoError: there is no such file, or the part cannot be decoded, has no frame, or is longer than
            :data:`LONGEST_S`.
    """
    _, span = numbered
    _check_exists(span.file)
    collector = FrameCollector(spec)

    def add(frame: VideoFrame, time_s: Fraction) -> None:
        if time_s > LONGEST_S:
            raise VideoError(
                f"has more than {LONGEST_S:g} s, too many for one sign: choose a part with start_s and "
                "end_s, or windows=true",
                "too long",
            )
        collector.add(frame, time_s)

    start_s = _exact(span.start_s) if span.start_s else Fraction(0)
    end_s = None if span.end_s is None else _exact(span.end_s)
    timeline = decode_segment(span.file, add, start_s=start_s, end_s=end_s)
    duration_s = float(timeline.duration)
    frames, times_s = collector.frames(duration_s=duration_s, num_frames=len(timeline.times))
    return DecodedSpan(frames, times_s, float(timeline.times[0]), duration_s)


def _exact(time_s: float) -> Fraction:
    return Fraction(str(time_s)) - _TOLERANCE_S
