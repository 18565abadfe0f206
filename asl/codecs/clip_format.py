"""Convert decoded frames to what a clip must be: yuv420p, of even size, upright."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from asl.codecs.pictures import filter_graph
from asl.codecs.video_file import VideoError


def orientation_filters(frame: VideoFrame) -> tuple[str, ...]:
    """The FFmpeg filters that bring a picture upright, by the frame's display matrix.

    The cases are those of FFmpeg's own autorotation (fftools/ffmpeg_filter.c), on the linear part
    of the matrix (a, b, u, c, d, v, ...): quarter turns, and mirrors.
    """
    side_data: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    if side_data is None:
        return ()
    a, b, _, c, d, *_ = np.frombuffer(bytes(side_data), dtype=np.int32).tolist()
    if abs(a) > abs(b):
        return (("hflip",) if a < 0 else ()) + (("vflip",) if d < 0 else ())
    if b > 0:
        return ("transpose=cclock_flip",) if c > 0 else ("transpose=clock",)
    return ("transpose=clock_flip",) if c < 0 else ("transpose=cclock",)


class ClipFormatFilter:
    """Converts the frames of one video to upright yuv420p of even size; returns such frames unchanged.

    Args:
        first: the first frame, which decides on the filters.
    """

    def __init__(self, first: VideoFrame) -> None:
        self._input_format = (first.width, first.height, first.format.name)
        filters = list(orientation_filters(first))
        if first.width % 2 or first.height % 2:  # libx264 refuses odd sizes: drop the last row or column
            filters.append("crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0:exact=1")
        if first.color_range == ColorRange.JPEG:  # full range: decoders name such a clip yuvj420p
            filters.append("scale=out_range=tv")
        if first.format.name != "yuv420p":
            filters.append("format=yuv420p")
        self._graph = filter_graph(first, filters) if filters else None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The frame in the clip's format.

        Raises:
            VideoError: its size or pixel format differs from the first frame's.
        """
        if (frame.width, frame.height, frame.format.name) != self._input_format:
            raise VideoError(f"the picture changes to {frame.width}x{frame.height} {frame.format.name}")
        if self._graph is None:
            return frame
        self._graph.push(frame)
        converted = self._graph.pull()
        assert isinstance(converted, VideoFrame)
        return converted
