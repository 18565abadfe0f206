"""Decode strictly: every frame in display order, and an error instead of a concealed picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from asl.codecs.pictures import grey_thumbnail, rgb_picture
from asl.codecs.probe import VideoInfo, video_info
from asl.codecs.timeline import Timeline, frame_duration, frame_time
from asl.codecs.video_file import VideoError, error_text, has_display_times, open_video, video_stream

#: Called with a decoded frame and its time in seconds from the first frame of the clip.
FrameCallback = Callable[[VideoFrame, Fraction], None]


@dataclass(frozen=True)
class DecodedFile:
    """What was found by decoding every frame of a file."""

    timeline: Timeline
    info: VideoInfo
    thumbnails: npt.NDArray[np.uint8]  # (N, side, side), grey
    pictures: tuple[npt.NDArray[np.uint8], ...]  # each (H, W, 3), RGB


def decode_file(
    path: Path,
    *,
    thumbnail_frames: Sequence[int] = (),
    thumbnail_side: int = 16,
    picture_frames: Sequence[int] = (),
    picture_side: int = 160,
    on_frame: FrameCallback | None = None,
) -> DecodedFile:
    """Decode every frame of a file once.

    Args:
        path: the file.
        thumbnail_frames: indices of frames to make a grey thumbnail of, rising; those past the end are
            left out.
        thumbnail_side: a thumbnail's height and width in pixels.
        picture_frames: indices of frames to make a colour picture of, likewise.
        picture_side: a picture's longer side in pixels.
        on_frame: called with every frame.

    Raises:
        VideoError: a frame cannot be decoded or differs in size, the time stamps do not rise, or there is
            no frame.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        times: list[Fraction] = []
        thumbnails: list[npt.NDArray[np.uint8]] = []
        pictures: list[npt.NDArray[np.uint8]] = []
        end, info = Fraction(0), None
        thumbnail_reformatter, picture_reformatter = VideoReformatter(), VideoReformatter()
        for frame in decode_frames(container, stream):
            info = info or video_info(container, stream, frame)
            if (frame.width, frame.height) != (info.width, info.height):
                raise VideoError(f"changes its picture size to {frame.width}x{frame.height}")
            while len(thumbnails) < len(thumbnail_frames) and thumbnail_frames[len(thumbnails)] == len(times):
                thumbnails.append(grey_thumbnail(frame, thumbnail_side, thumbnail_reformatter))
            while len(pictures) < len(picture_frames) and picture_frames[len(pictures)] == len(times):
                pictures.append(rgb_picture(frame, picture_side, picture_reformatter))
            times.append(frame_time(frame))
            if on_frame is not None:
                on_frame(frame, times[-1] - times[0])
            end = times[-1] + frame_duration(frame, stream)
        if info is None:
            raise VideoError("holds no frame")
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise VideoError("has time stamps that do not rise")
        first_s = times[0]
        timeline = Timeline(tuple(time_s - first_s for time_s in times), end - first_s)
        stacked = np.array(thumbnails, np.uint8).reshape(-1, thumbnail_side, thumbnail_side)
        return DecodedFile(timeline, info, stacked, tuple(pictures))


def decode_pictures(path: Path, frames: Sequence[int], *, side: int) -> list[npt.NDArray[np.uint8]]:
    """Pictures of chosen frames of a file, each ``(H, W, 3)`` uint8 RGB.

    Args:
        path: the file.
        frames: indices from 0, rising; an index may occur several times.
        side: a picture's longer side in pixels.

    Raises:
        VideoError: a frame up to the last chosen one cannot be decoded, or there is no such frame.
    """
    with open_video(path) as container:
        pictures: list[npt.NDArray[np.uint8]] = []
        reformatter = VideoReformatter()
        for index, frame in enumerate(decode_frames(container, video_stream(container))):
            while len(pictures) < len(frames) and frames[len(pictures)] == index:
                pictures.append(rgb_picture(frame, side, reformatter))
            if len(pictures) == len(frames):
                return pictures
        raise VideoError(f"has no frame {frames[len(pictures)]}")


def decode_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames of a stream in display order, each with a time stamp.

    In AVI, where FFmpeg only guesses when a frame is displayed, a frame takes the decoding time of the packet
    with which the decoder returned it. Those that it returns after the last packet follow tick by tick.

    Raises:
        VideoError: on the first damaged packet or frame.
    """
    last_s: Fraction | None = None
    last_pts: int | None = None
    is_timed = has_display_times(container)
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VideoError(f"is damaged{after_text(last_s)}")
            for frame in packet.decode():
                if not is_timed and frame.dts is None and last_pts is not None:
                    frame.pts = last_pts + 1
                elif frame.pts is None or (not is_timed and frame.dts is not None):
                    frame.pts = frame.dts
                if frame.pts is None:
                    raise VideoError(f"has a frame without a time stamp{after_text(last_s)}")
                if frame.is_corrupt:
                    raise VideoError(f"has a damaged frame{after_text(last_s)}")
                last_s, last_pts = frame_time(frame), frame.pts
                yield frame
    except av.FFmpegError as error:
        raise VideoError(f"cannot be decoded{after_text(last_s)}: {error_text(error)}") from None


def first_frame(frames: Iterator[VideoFrame]) -> VideoFrame:
    """The next frame of an iterator.

    Raises:
        VideoError: there is none.
    """
    frame = next(frames, None)
    if frame is None:
        raise VideoError("holds no frame")
    return frame


def after_text(time_s: Fraction | None) -> str:
    """Where in a file decoding failed, for a message: after the frame at ``time_s``; None: at the first."""
    return " from its first frame" if time_s is None else f" after {float(time_s):.3f} s"
