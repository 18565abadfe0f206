"""Time as a grid of so many points a second, and which frame is on display at each: pure functions.

Both programs see a clip through this grid, so that a sign of one second looks the same at 23.976, 25,
30 or a varying number of frames a second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Containers round time stamps (Matroska to 1 ms) and decord hands them over as float32, so a frame
# counts as being on display from this much before its time stamp.
TOLERANCE_S = 1e-3


def grid_length(duration_s: float, fps: float) -> int:
    """How many grid points ``0, 1/fps, 2/fps, ...`` lie inside ``[0, duration_s)``; at least one.

    # 50 frames at 25 fps last 2 s -> 50 points;  60 frames at 29.97 fps last 2.002 s -> 51 points
    """
    return max(1, int(np.ceil((duration_s - TOLERANCE_S) * fps)))


def frames_on_display(times_s: npt.ArrayLike, starts_s: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The frame that a player shows at each time: the last one whose time stamp is not later.

    Args:
        times_s: ``(N,)`` times since the first frame.
        starts_s: ``(F,)`` time stamps of the frames, ascending; the first need not be 0.

    # frames at 0, .04, .20 s (the second stays on for long); times 0, .08, .16, .24 -> 0 1 1 2

    Returns:
        ``(N,)`` int64 in ``[0, F)``; times before the first frame show the first.
    """
    starts = np.asarray(starts_s, dtype=np.float64)
    shown = np.searchsorted(starts - starts[0], np.asarray(times_s) + TOLERANCE_S, side="right") - 1
    return np.maximum(shown, 0).astype(np.int64)
