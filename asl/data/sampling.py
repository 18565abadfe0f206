"""Which frames of a clip the model sees. Pure functions of numbers.

Time is cut into a grid of ``fps`` points a second, whatever the frame rate of the file, so that a
sign of one second looks the same at 23.976, 25, 30 or a varying number of frames a second::

    time stamps of the frames --duration--> grid length --positions--> grid times --on display--> frames
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asl.config.setting import setting
from asl.contract.time_grid import frames_on_display, grid_length

Indices = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Sampling:
    """Which frames of a clip are drawn."""

    fps: float | None = setting(25.0, "time grid on which frames are drawn; null: native frames", gt=0)
    clip_len: int = setting(32, "frames a clip", ge=1)
    frame_stride: int = setting(2, "grid points from one drawn frame to the next", ge=1)
    pad: str = setting(
        "edge",
        "clips shorter than clip_len x frame_stride: repeat the last frame, or start over",
        choices=["edge", "loop"],
    )
    long: str = setting(
        "uniform",
        "longer clips: spread over the whole clip, or one window of clip_len x frame_stride",
        choices=["uniform", "window"],
    )

    @property
    def window(self) -> int:
        """Grid points from the first to the last drawn frame, both included: 63 for 32 at stride 2."""
        return (self.clip_len - 1) * self.frame_stride + 1


def grid_positions(
    length: int, sampling: Sampling, rng: np.random.Generator | None = None, *, speed: float = 1.0
) -> Indices:
    """Grid points to draw from a clip that is ``length`` grid points long.

    With ``rng`` (training) the choice is jittered, without (evaluation) it is the middle one::

        # clip_len = 4, frame_stride = 2: the window is 7 points
        # length 5,  pad=edge      -> 0 2 4 4      jittered also 1 3 4 4
        # length 5,  pad=loop      -> 0 2 4 1      jittered also 1 3 0 2
        # length 12, long=uniform  -> 1 4 7 10     jittered: one of each of 0-2, 3-5, 6-8, 9-11
        # length 12, long=window   -> 2 4 6 8      jittered: starts anywhere in 0-5

    At another ``speed`` than 1 what is covered, be it the window or the whole clip, is as many times as
    long: a slower sign loses a part of its beginning or end, a faster one is padded::

        # length 12, long=uniform, speed=0.5 -> 3 5 6 8      jittered: begins anywhere
        # length 12, long=uniform, speed=1.5 -> 2 6 11 11

    Returns:
        ``(clip_len,)`` int64, each in ``[0, length)``; never decreasing except where ``loop`` starts over.

    Raises:
        ValueError: for a length below 1.
    """
    if length < 1:
        raise ValueError(f"length={length}: a clip has at least one frame")
    is_short = length < sampling.window
    if is_short or sampling.long == "window":
        positions = np.floor(np.arange(sampling.clip_len) * (sampling.frame_stride * speed)).astype(np.int64)
        slack = max(0, length - 1 - int(positions[-1]))
        if is_short:  # a part of a stride is left to chance even where the clip is too short
            most = max(slack, min(sampling.frame_stride, length) - 1)
            start = 0 if rng is None else int(rng.integers(most + 1))
        else:
            start = slack // 2 if rng is None else int(rng.integers(slack + 1))
        return _padded(start + positions, length, sampling)
    covered = length * speed
    room = max(0.0, length - covered)
    begin = room * (0.5 if rng is None else rng.random()) if room else 0.0
    inside = 0.5 if rng is None else rng.random(sampling.clip_len)
    drawn = begin + (np.arange(sampling.clip_len) + inside) * (covered / sampling.clip_len)
    positions = drawn.astype(np.int64)
    if speed <= 1:
        return np.minimum(positions, length - 1)  # rounding can reach the end
    return _padded(positions, length, sampling)


def _padded(positions: Indices, length: int, sampling: Sampling) -> Indices:
    """Padding: positions past the end start over (loop) or stay at the last frame (edge)."""
    return positions % length if sampling.pad == "loop" else np.minimum(positions, length - 1)


def draw_speed(speed: Sequence[float], rng: np.random.Generator | None) -> float:
    """A speed in ``[least, most]``, uniform in its logarithm; 1 without ``rng``.

    If ``least == most``, no random number is drawn.
    """
    least, most = speed
    if rng is None:
        return 1.0
    return least if least == most else float(least * (most / least) ** rng.random())


def draw_frames(
    starts_s: npt.ArrayLike,
    duration_s: float,
    sampling: Sampling,
    rng: np.random.Generator | None = None,
    *,
    speed: Sequence[float] = (1.0, 1.0),
) -> Indices:
    """Frame numbers of one clip, ``(clip_len,)`` int64.

    Args:
        starts_s: ``(F,)`` time stamps of its frames in seconds, ascending.
        duration_s: from the first frame's start to the last frame's end.
        sampling: how to draw.
        rng: jitters the choice (training); None takes the middle (evaluation).
        speed: least and most, of which one is drawn (training).
    """
    chosen = draw_speed(speed, rng)
    if sampling.fps is None:
        return grid_positions(len(np.atleast_1d(starts_s)), sampling, rng, speed=chosen)
    positions = grid_positions(grid_length(duration_s, sampling.fps), sampling, rng, speed=chosen)
    return frames_on_display(positions / sampling.fps, starts_s)
