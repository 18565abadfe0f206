"""Choose the frames of a clip that the network gets. Pure functions of numbers.

Frames are drawn on a time grid of ``fps`` points per second, whatever the frame rate of the file. A sign
of one second therefore gives the same input at 23.976, 25, 30 or a varying number of frames per second::

    duration -> grid length -> grid positions (drawn here) -> times -> frames on display at these times
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
    clip_len: int = setting(32, "frames per clip", ge=1)
    frame_stride: int = setting(2, "grid points from one drawn frame to the next", ge=1)
    pad: str = setting(
        "edge",
        "clips shorter than clip_len x frame_stride; edge: repeat the last frame; loop: start over",
        choices=["edge", "loop"],
    )
    long: str = setting(
        "uniform",
        "longer clips; uniform: spread over the whole clip; window: one window of clip_len x frame_stride",
        choices=["uniform", "window"],
    )

    view, num_views = 0, 1  # without annotation: no keys, see SampledView

    @property
    def window(self) -> int:
        """Grid points from the first to the last drawn frame, both included: 63 for 32 at stride 2."""
        return (self.clip_len - 1) * self.frame_stride + 1


@dataclass(kw_only=True)
class Tempo:
    """How training changes the time of clips."""

    speed: list[float] = setting([0.9, 1.1], "range of the factor by which signs are sped up", ge=0.5, le=2)
    shift: float = setting(
        0.0, "largest move of a clip's beginning, and of its end, as a share of its length", ge=0, le=0.4
    )
    drop: float = setting(0.0, "share of the frames that are dropped or repeated, half each", ge=0, le=1)


@dataclass(kw_only=True)
class SampledView(Sampling):
    """The sampling of one of several temporal views, whose predictions evaluation averages.

    Windows of a long clip are spread evenly from its start to its end. With ``long=uniform`` every view
    spans the whole clip, and the views divide the time between drawn frames evenly. In a clip shorter than
    the window the views start at the points at which training starts. With ``num_views=1``, and as one view
    of any odd number with long clips, it is the view that validation uses.
    """

    view: int = 0  # in [0, num_views)
    num_views: int = 1


def grid_positions(
    length: int, sampling: Sampling, rng: np.random.Generator | None = None, *, speed: float = 1.0
) -> Indices:
    """Draw grid positions from a clip that is ``length`` grid points long.

    With ``rng`` (training) the positions are jittered. Without it (evaluation) they are centred, or those of
    one of several views (:class:`SampledView`)::

        # clip_len = 4, frame_stride = 2: the window is 7 points
        # length 5,  pad=edge      -> 0 2 4 4      jittered also 1 3 4 4
        # length 5,  pad=loop      -> 0 2 4 1      jittered also 1 3 0 2
        # length 12, long=uniform  -> 1 4 7 10     jittered: one of each of 0-2, 3-5, 6-8, 9-11
        # length 12, long=window   -> 2 4 6 8      jittered: starts anywhere in 0-5

    ``speed`` multiplies the length of what is covered, be it the window or the whole clip. Below 1 a part
    of the beginning or end is left out; above 1 the clip is padded::

        # length 12, long=uniform, speed=0.5 -> 3 5 6 8      jittered: starts in 0-7
        # length 12, long=uniform, speed=1.5 -> 2 6 11 11

    Three views::

        # length 5,  pad=edge      -> 0 2 4 4     0 2 4 4     1 3 4 4
        # length 12, long=uniform  -> 0 3 6 9     1 4 7 10    2 5 8 11
        # length 12, long=window   -> 0 2 4 6     2 4 6 8     5 7 9 11

    Returns:
        ``(clip_len,)`` int64, each in ``[0, length)``, not decreasing except where ``loop`` starts over.

    Raises:
        ValueError: ``length`` is below 1.
    """
    if length < 1:
        raise ValueError(f"length={length}: a clip has at least one frame")
    is_short = length < sampling.window
    if is_short or sampling.long == "window":
        positions = np.floor(np.arange(sampling.clip_len) * (sampling.frame_stride * speed)).astype(np.int64)
        slack = max(0, length - 1 - int(positions[-1]))
        if is_short:  # jittered by up to a stride even if the clip is too short to move the window
            most = max(slack, min(sampling.frame_stride, length) - 1)
            start = _view_start(most, sampling, one_view=0) if rng is None else int(rng.integers(most + 1))
        elif rng is None:
            start = _view_start(slack, sampling, one_view=slack // 2)
        else:
            start = int(rng.integers(slack + 1))
        return _padded(start + positions, length, sampling)
    covered = length * speed
    room = max(0.0, length - covered)
    begin = room * (0.5 if rng is None else rng.random()) if room else 0.0
    middle = (sampling.view + 0.5) / sampling.num_views
    inside = middle if rng is None else rng.random(sampling.clip_len)
    drawn = begin + (np.arange(sampling.clip_len) + inside) * (covered / sampling.clip_len)
    positions = drawn.astype(np.int64)
    if speed <= 1:
        return np.minimum(positions, length - 1)  # float rounding can give length itself
    return _padded(positions, length, sampling)


def _view_start(most: int, sampling: Sampling, *, one_view: int) -> int:
    """The start of this view: of starts spread evenly over ``0..most``, or ``one_view`` if it is alone."""
    if sampling.num_views == 1:
        return one_view
    return most * sampling.view // (sampling.num_views - 1)


def _padded(positions: Indices, length: int, sampling: Sampling) -> Indices:
    """Bring positions past the end into the clip: start over (loop) or repeat the last one (edge)."""
    return positions % length if sampling.pad == "loop" else np.minimum(positions, length - 1)


def shift_ends(positions: Indices, length: int, shift: float, rng: np.random.Generator) -> Indices:
    """Move beginning and end of a clip by up to ``shift`` of its length, as an annotator might have set them.

    Beyond the clip, its first or last position stands still::

        # length 10, positions 0 3 6 9, beginning + 0.2, end + 0.2 -> 2 5 8 9
        # length 10, positions 0 3 6 9, beginning - 0.2, end + 0   -> 0 1 5 8
    """
    begin, end = rng.uniform(-shift, shift, 2)
    moved = np.floor(begin * length + positions * (1 + end - begin)).astype(np.int64)
    return np.clip(moved, 0, length - 1)


def drop_and_repeat(positions: Indices, share: float, rng: np.random.Generator) -> Indices:
    """Drop and repeat positions, each with the probability ``share / 2``.

    Later ones move up. At the end some are lost, or the last one is repeated::

        # 0 2 4 6 8 -> 0 2 2 4 6  (2 repeated)
        # 0 2 4 6 8 -> 0 2 6 8 8  (4 dropped)
    """
    chance = rng.random(len(positions) - 1)
    steps = np.where(chance < share / 2, 0, np.where(chance >= 1 - share / 2, 2, 1))
    taken = np.concatenate([[0], np.cumsum(steps)])
    return positions[np.minimum(taken, len(positions) - 1)]


def draw_speed(speed: Sequence[float], rng: np.random.Generator) -> float:
    """Draw a speed from ``[least, most]``, uniform in its logarithm.

    If ``least == most``, no random number is drawn.
    """
    least, most = speed
    return least if least == most else float(least * (most / least) ** rng.random())


def draw_frames(
    starts_s: npt.ArrayLike,
    duration_s: float,
    sampling: Sampling,
    rng: np.random.Generator | None = None,
    *,
    tempo: Tempo | None = None,
) -> Indices:
    """Draw frames of one clip.

    Args:
        starts_s: ``(F,)`` time stamps of the clip's frames in seconds, ascending.
        duration_s: seconds from the first frame's start to the last frame's end.
        sampling: which frames are drawn.
        rng: jitters the choice (training). None: no jitter and speed 1 (evaluation).
        tempo: how ``rng`` changes the time; None: not at all.

    Returns:
        ``(clip_len,)`` int64 frame indices in ``[0, F)``.
    """
    fps = sampling.fps
    length = len(np.atleast_1d(starts_s)) if fps is None else grid_length(duration_s, fps)
    if rng is None or tempo is None:
        positions = grid_positions(length, sampling, rng)
    else:
        positions = grid_positions(length, sampling, rng, speed=draw_speed(tempo.speed, rng))
        positions = shift_ends(positions, length, tempo.shift, rng) if tempo.shift else positions
        positions = drop_and_repeat(positions, tempo.drop, rng) if tempo.drop else positions
    return positions if fps is None else frames_on_display(positions / fps, starts_s)
