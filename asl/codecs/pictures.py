"""One decoded frame to a grey thumbnail, a colour picture, or an RGB array of a given size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter


def grey_thumbnail(frame: VideoFrame, side: int, reformatter: VideoReformatter) -> npt.NDArray[np.uint8]:
    """``(side, side)`` uint8, whatever the frame's aspect ratio.

    Args:
        frame: to scale.
        side: height and width in pixels.
        reformatter: used for all frames of a video; it keeps its filters from call to call.
    """
    small = reformatter.reformat(
        frame, width=side, height=side, format="gray", interpolation="AREA", threads=1
    )
    return small.to_ndarray().astype(np.uint8, copy=False)


def rgb_picture(frame: VideoFrame, max_side: int, reformatter: VideoReformatter) -> npt.NDArray[np.uint8]:
    """``(H, W, 3)`` uint8 RGB whose longer side has ``max_side`` pixels.

    Args:
        frame: to scale, up or down.
        max_side: pixels.
        reformatter: as for :func:`grey_thumbnail`.
    """
    scale = max_side / max(frame.width, frame.height)
    width, height = (max(1, round(n * scale)) for n in (frame.width, frame.height))
    small = reformatter.reformat(
        frame, width=width, height=height, format="rgb24", interpolation="AREA", threads=1
    )
    return small.to_ndarray().astype(np.uint8, copy=False)


class RgbResizer:
    """Scales frames to RGB arrays of one size.

    It converts by way of yuv444p at the small size: three times as fast as FFmpeg's direct conversion to
    RGB, and without its bias of a grey level or two in large pictures.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = {"width": width, "height": height}
        self._scale, self._convert = VideoReformatter(), VideoReformatter()  # each keeps its filters

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """``(height, width, 3)`` uint8."""
        options: dict[str, Any] = {"interpolation": "BILINEAR", "threads": 1}
        small = self._scale.reformat(frame, **self._size, format="yuv444p", **options)
        return (
            self._convert.reformat(small, format="rgb24", **options).to_ndarray().astype(np.uint8, copy=False)
        )
