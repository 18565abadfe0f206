"""Frames of a camera, live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.video.frame import VideoFrame

from asl.codecs.clip_format import ClipFormatFilter
from asl.codecs.timeline import frame_time
from asl.codecs.video_file import VideoError, error_text


@contextmanager
def open_camera(number: int) -> Iterator[Iterator[tuple[VideoFrame, Fraction]]]:
    """Open a camera of Linux, ``/dev/video{number}``, with FFmpeg's device v4l2.

    Yields:
        Its frames as they come, in the format of a clip, with their time in seconds from the first one.

    Raises:
        VideoError: there is no such camera, or it cannot be read.
    """
    try:
        with av.open(f"/dev/video{number}", format="v4l2") as container:
            yield _live_frames(container.decode(video=0))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"cannot be read: {error_text(error)}", "unreadable camera") from None


def _live_frames(frames: Iterator[VideoFrame]) -> Iterator[tuple[VideoFrame, Fraction]]:
    to_clip_format: ClipFormatFilter | None = None
    first_s = Fraction(0)
    for frame in frames:
        if to_clip_format is None:
            to_clip_format, first_s = ClipFormatFilter(frame), frame_time(frame)
        yield to_clip_format(frame), frame_time(frame) - first_s
