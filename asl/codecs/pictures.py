"""One decoded frame to a grey thumbnail, a colour picture, or an RGB array of a given size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

#: Pixel formats whose first plane is 8-bit luma, of limited range unless the frame says otherwise.
_LUMA_FORMATS = frozenset(
    [f"yuv{j}{ratio}p" for j in ("", "j") for ratio in (411, 420, 422, 440, 444)] + ["nv12", "nv21"]
)


def grey_thumbnail(frame: VideoFrame, side: int, reformatter: VideoReformatter) -> npt.NDArray[np.uint8]:
    """``(side, side)`` uint8 of :func:`grey_cells`, whatever the frame's aspect ratio.

    Args:
        frame: to scale.
        side: height and width in pixels.
        reformatter: for frames without a plane of 8-bit luma, which are first converted to grey.
    """
    full_range = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    if frame.format.name not in _LUMA_FORMATS:
        frame = reformatter.reformat(frame, format="gray", threads=1)
        full_range = True
    plane = frame.planes[0]
    padded = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return grey_cells(padded[: frame.height, : frame.width], side, full_range=full_range)


def grey_cells(luma: npt.NDArray[np.uint8], side: int, *, full_range: bool) -> npt.NDArray[np.uint8]:
    """Means of the luma in the cells of a grid, as full-range grey levels, computed in integers.

    A cell has ``H / side`` x ``W / side`` pixels; those that it covers in part count in part. Let ``sum`` be
    the sum of luma times covered area in units of ``1 / side**2`` pixel; a cell has ``H * W`` of them. The
    grey level is the mean, expanded to full range and rounded half up::

        full range:     floor(sum / (H * W) + 1/2)
        limited range:  floor((sum / (H * W) - 16) * 255 / 219 + 1/2), clipped to 0..255
                        = floor((510 * (sum - 16 * H * W) + 219 * H * W) / (438 * H * W)), clipped

    Kernel ``grey_cells`` in ``asl/preprocess/gpu/nvdec/pictures.cu`` gives the same, bit for bit: whether two
    clips have the same content must not depend on the machine.

    Args:
        luma: ``(H, W)`` uint8; rows may be padded.
        side: number of cells in each direction.
        full_range: whether luma has levels 0 to 255, not 16 to 235.

    Returns:
        ``(side, side)`` uint8.
    """
    # Rows first, in 16 bits as long as a cell's rows cannot exceed them: much the larger part of the work.
    in_rows = _cell_sums(luma, side, np.uint16 if len(luma) // side < 256 else np.uint32)
    sums = _cell_sums(in_rows.T, side, np.int64).T
    area = luma.size
    if full_range:
        return ((2 * sums + area) // (2 * area)).astype(np.uint8)
    levels = (510 * (sums - 16 * area) + 219 * area) // (438 * area)
    return np.clip(levels, 0, 255).astype(np.uint8)


def _cell_sums(values: npt.NDArray[Any], cells: int, dtype: npt.DTypeLike) -> npt.NDArray[np.int64]:
    """Sums along the first axis over equal cells: ``(N, M)`` to ``(cells, M)``, in units of ``1 / cells``.

    Args:
        values: integers.
        cells: number of cells. A value on the border of two is shared out between them.
        dtype: holds the sum of the values that lie in one cell as a whole.
    """
    # The grid repeats itself, after N values if not before, and equal parts of all repeats are summed at
    # once. 360 rows in 16 cells are 8 times 45 rows, each of 2 cells: rows 0 to 22.5, and 22.5 to 45.
    count, repeats = len(values), math.gcd(len(values), cells)
    borders = [divmod(k * count, cells) for k in range(cells // repeats + 1)]
    values = values.reshape(repeats, count // repeats, -1)
    sums = np.empty((repeats, cells // repeats, values.shape[2]), np.int64)
    for k, ((first, skipped), (end, begun)) in enumerate(pairwise(borders)):
        whole = np.add.reduce(values[:, first:end], axis=1, dtype=dtype)
        cell = np.multiply(whole, cells, out=sums[:, k], dtype=np.int64)
        if skipped:  # the part of the first value that belongs to the cell before
            cell -= values[:, first] * np.int64(skipped)
        if begun:  # the part of the value after the last
            cell += values[:, end] * np.int64(begun)
    return sums.reshape(cells, -1)


def rgb_picture(frame: VideoFrame, max_side: int, reformatter: VideoReformatter) -> npt.NDArray[np.uint8]:
    """``(H, W, 3)`` uint8 RGB whose longer side has ``max_side`` pixels.

    Args:
        frame: to scale, up or down.
        max_side: pixels.
        reformatter: used for all frames of a video; it keeps its filters from call to call.
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

    Args:
        width: of the arrays.
        height: of the arrays.
        part: left, top, width and height in pixels of the part of a frame that is scaled. None: all of it.
    """

    def __init__(self, width: int, height: int, *, part: tuple[int, int, int, int] | None = None) -> None:
        self._size, self._part = {"width": width, "height": height}, part
        self._scale, self._convert = VideoReformatter(), VideoReformatter()  # each keeps its filters
        self._crop: Graph | None = None

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """``(height, width, 3)`` uint8."""
        options: dict[str, Any] = {"interpolation": "BILINEAR", "threads": 1}
        small = self._scale.reformat(self._cropped(frame), **self._size, format="yuv444p", **options)
        return (
            self._convert.reformat(small, format="rgb24", **options).to_ndarray().astype(np.uint8, copy=False)
        )

    def _cropped(self, frame: VideoFrame) -> VideoFrame:
        """The part of a frame, without a copy of its pixels."""
        if self._part is None or self._part == (0, 0, frame.width, frame.height):
            return frame
        if self._crop is None:
            left, top, width, height = self._part
            self._crop = filter_graph(frame, [f"crop={width}:{height}:{left}:{top}:exact=1"])
        self._crop.push(frame)
        part = self._crop.pull()
        assert isinstance(part, VideoFrame)
        return part


def filter_graph(first: VideoFrame, filters: Sequence[str]) -> Graph:
    """FFmpeg's filters one after another, such as ``crop=64:64:0:0``, for frames like ``first``."""
    graph = Graph()
    nodes = [
        graph.add_buffer(
            width=first.width,
            height=first.height,
            format=first.format,
            time_base=first.time_base,
        )
    ]
    for step in filters:
        name, _, args = step.partition("=")
        nodes.append(graph.add(name, args or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
