"""Collect the frames that training reads while a clip is decoded, whatever it is decoded for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from asl.codecs.pictures import RgbResizer
from asl.contract.frame_store import Frames, FrameSpec, Origin, part_pixels, write_frames
from asl.contract.manifest import Box
from asl.contract.time_grid import points_before


@dataclass(frozen=True, slots=True)
class FramesRequest:
    """Which frames of a clip are to be stored, and where."""

    path: Path  # of the file of frames
    spec: FrameSpec
    origin: Origin  # for the file's header


class FrameCollector:
    """Receives a clip's frames one by one and keeps, at their small size, those on display at grid points.

    The same frames as by :func:`asl.contract.time_grid.frames_on_display`, but without all frames of the
    clip in memory.

    Args:
        spec: which frames, and how large.
        part: of the pictures. None: the whole pictures.
    """

    def __init__(self, spec: FrameSpec, part: Box | None = None) -> None:
        self.spec, self._part = spec, part
        self._start_over()

    def _start_over(self) -> None:
        self._kept: list[Frames] = []  # (H, W, 3) each, one for each grid point or native frame
        self._times_s: list[float] = []
        self._latest: VideoFrame | None = None  # may still be on display at later grid points
        self._latest_small: Frames | None = None
        self._resize: RgbResizer | None = None

    def add(self, frame: VideoFrame, time_s: Fraction) -> None:
        """Receive the next frame; usable as ``on_frame`` of every decoder.

        Args:
            frame: upright.
            time_s: seconds from the clip's first frame; 0 discards all frames before, as a decoder may
                start over after a failed attempt.
        """
        if time_s == 0:
            self._start_over()
        if self.spec.fps is None:
            self._latest, self._latest_small = frame, None
            self._keep_latest(float(time_s))
            return
        if self._latest is not None:
            self._keep_latest_until(points_before(float(time_s), self.spec.fps), self.spec.fps)
        self._latest, self._latest_small = frame, None

    def write(self, request: FramesRequest, *, duration_s: float, num_frames: int) -> None:
        """Write the file of frames, after the clip's last frame.

        Args:
            request: where to, and the header.
            duration_s: of the clip, by its proof or the manifest.
            num_frames: likewise.

        Raises:
            OSError: the file cannot be written.
        """
        frames, times_s = self.frames(duration_s=duration_s, num_frames=num_frames)
        write_frames(request.path, frames, times_s, request.origin)

    def frames(self, *, duration_s: float, num_frames: int) -> tuple[Frames, npt.NDArray[np.float64]]:
        """The frames of the clip, after its last one: ``(T, H, W, 3)`` uint8, and their ``(T,)`` times.

        Args:
            duration_s: of the clip.
            num_frames: of the clip.
        """
        count = self.spec.count(duration_s, num_frames)
        if self.spec.fps is not None:
            self._keep_latest_until(count, self.spec.fps)
        return np.stack(self._kept[:count]), np.array(self._times_s[:count])

    def _keep_latest_until(self, count: int, fps: float) -> None:
        """Keep the latest frame for all grid points before number ``count`` that have none yet."""
        while len(self._kept) < count:
            self._keep_latest(len(self._kept) / fps)

    def _keep_latest(self, time_s: float) -> None:
        assert self._latest is not None
        if self._resize is None:
            left, top, across, down = part_pixels(self._part, self._latest.width, self._latest.height)
            height, width = self.spec.size(across, down)
            self._resize = RgbResizer(width, height, part=(left, top, across, down))
        if self._latest_small is None:
            self._latest_small = self._resize(self._latest)
        self._kept.append(self._latest_small)
        self._times_s.append(time_s)
