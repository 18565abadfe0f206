"""Collects the frames that training wants while a clip is decoded for another reason anyway."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from asl.codecs.video import Shrinker
from asl.contract.frame_store import Frames, FrameSpec, Origin, write_frames
from asl.contract.time_grid import TOLERANCE_S


@dataclass(frozen=True)
class KeepFrames:
    """What is asked for: which frames, and where they go."""

    path: Path
    spec: FrameSpec
    origin: Origin


class FrameKeeper:
    """Takes a clip's frames one by one as they are shown; keeps those on the grid, small.

    Which frame is on display at a grid point is decided as :func:`asl.contract.time_grid.frames_on_display`
    does, without knowing the later frames yet: when one comes, those before it are settled.
    """

    def __init__(self, spec: FrameSpec) -> None:
        self.spec = spec
        self._begin()

    def _begin(self) -> None:
        self._kept: list[Frames] = []  # one for each grid point, or native frame
        self._times: list[float] = []
        self._shown: VideoFrame | None = None  # the latest frame, which later grid points may show
        self._small: Frames | None = None
        self._shrink: Shrinker | None = None

    def add(self, frame: VideoFrame, time: Fraction) -> None:
        """The next frame, upright, and its time since the clip's first frame; time 0 begins anew."""
        if time == 0:
            self._begin()
        if self.spec.fps is None:
            self._shown, self._small = frame, None
            self._keep(float(time))
            return
        self._fill(float(time))
        self._shown, self._small = frame, None

    def _fill(self, until_s: float) -> None:
        """Settle the grid points at which the latest frame is still on display when ``until_s`` comes."""
        assert self.spec.fps is not None
        while self._shown is not None and (at := len(self._kept) / self.spec.fps) + TOLERANCE_S < until_s:
            self._keep(at)

    def _keep(self, time_s: float) -> None:
        assert self._shown is not None
        if self._shrink is None:
            height, width = self.spec.size(self._shown.width, self._shown.height)
            self._shrink = Shrinker(width, height)
        if self._small is None:
            self._small = self._shrink(self._shown)
        self._kept.append(self._small)
        self._times.append(time_s)

    def write(self, asked: KeepFrames, *, duration_s: float, num_frames: int) -> None:
        """All frames have come: write those kept.

        Args:
            asked: where to, and the header.
            duration_s: of the proven clip.
            num_frames: likewise.

        Raises:
            OSError: it cannot be written.
        """
        count = self.spec.count(duration_s, num_frames)
        while self.spec.fps is not None and len(self._kept) < count:
            self._keep(len(self._kept) / self.spec.fps)
        write_frames(asked.path, np.stack(self._kept[:count]), self._times[:count], asked.origin)
