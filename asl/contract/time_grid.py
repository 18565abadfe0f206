"""Time as a grid of so many points a second, and which frame is on display at each point: pure functions.

Both programs see a clip through this grid, so that a sign of one second looks the same at 23.976, 25,
30 or a varying number of frames a second. A frame is on display at a grid point if it is the last one
that has started by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

# Containers round time stamps (Matroska to 1 ms) and decord returns them as float32, so a frame counts
# as started this much before its time stamp.
TOLERANCE_S = 1e-3


def grid_length(duration_s: float, fps: float) -> int:
    """How many grid points ``0, 1/fps, 2/fps, ...`` lie inside ``[0, duration_s)``; at least one.

    # 50 frames at 25 fps last 2 s -> 50 points;  60 frames at 29.97 fps last 2.002 s -> 51 points
    """
    # Not points_before: where float rounding decides, the two differ by one (0.281 s at 25 fps), and
    # stored frames have this length.
    return max(1, int(np.ceil((duration_s - TOLERANCE_S) * fps)))


def points_before(start_s: float, fps: float) -> int:
    """How many grid points precede a frame: those at which it has not started yet.

    For decoders that get frames one by one. :func:`frames_on_display` with all frames at once gives, at
    exactly these points, an earlier frame.

    # a frame that starts at 0.20 s, 25 points a second -> 5 points (0, .04, .08, .12, .16)

    Args:
        start_s: the frame's time stamp, from the first frame.
        fps: grid points a second.
    """
    count = max(0, int((start_s - TOLERANCE_S) * fps))  # an estimate, never too large; comparisons decide
    while count / fps + TOLERANCE_S < start_s:
        count += 1
    return count


def frames_on_display(times_s: npt.ArrayLike, starts_s: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The index of the frame that a player displays at each time: the last one that has started.

    Args:
        times_s: ``(N,)`` times since the first frame.
        starts_s: ``(F,)`` time stamps of the frames, ascending; the first need not be 0.

    # frames at 0, .04, .20 s (the second is displayed for long); times 0, .08, .16, .24 -> 0 1 1 2

    Returns:
        ``(N,)`` int64 in ``[0, F)``; times before the first frame give the first.
    """
    starts = np.asarray(starts_s, dtype=np.float64)
    shown = np.searchsorted(starts - starts[0], np.asarray(times_s) + TOLERANCE_S, side="right") - 1
    return np.maximum(shown, 0).astype(np.int64)


def frame_numbers(
    times: Sequence[Fraction], end: Fraction, start_s: Fraction, end_s: Fraction | None, fps: float | None
) -> npt.NDArray[np.int32]:
    """Numbers of the source's frames that are stored for the segment ``[start_s, end_s)``.

    Args:
        times: when each frame of the source is shown, in seconds from its first frame.
        end: when the last frame ceases to be shown.
        start_s: start of the segment.
        end_s: end of the segment; None: the end of the source.
        fps: rate of the time grid; None: every frame of the segment.

    Returns:
        ``(T,)`` int32, rising, with repetitions where the grid is finer than the frames; empty if no
        frame begins within the segment.
    """
    inside = [i for i, time in enumerate(times) if time >= start_s and (end_s is None or time < end_s)]
    if not inside:
        return np.empty(0, np.int32)
    first, last = inside[0], inside[-1]
    if fps is None:
        return np.arange(first, last + 1, dtype=np.int32)
    segment_end = times[last + 1] if last + 1 < len(times) else end
    starts = np.array([float(time - times[first]) for time in times[first : last + 1]])
    points = np.arange(grid_length(round(float(segment_end - times[first]), 6), fps)) / fps
    return (first + frames_on_display(points, starts)).astype(np.int32)
