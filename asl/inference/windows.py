"""Windows that slide over a long video, and the signs detected in their predictions. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from asl.inference.prediction import Prediction

#: Seconds that are decoded at a time. A shorter piece would often begin far from a key frame, and frames of a
#: longer one take more memory: these take 50 MB at 25 a second and 128 pixels.
_PIECE_S = 30.0

#: Two detections whose windows have this share in common are of the same sign.
_SAME_SIGN = 0.5 - 1e-6


@dataclass(frozen=True)
class Detection:
    """A sign that was found in a video."""

    gloss: str
    start_s: float  # from the file's first frame
    end_s: float
    probability: float  # the highest of its windows


def window_starts(duration_s: float, window_s: float, stride_s: float) -> list[float]:
    """When windows start that cover a video: every ``stride_s``, and the last one ends with the video.

    >>> window_starts(3.0, window_s=2.0, stride_s=0.4)
    [0.0, 0.4, 0.8, 1.0]
    >>> window_starts(1.0, window_s=2.0, stride_s=0.4)
    [0.0]
    """
    last_s = max(0.0, duration_s - window_s)
    count = math.ceil(round(last_s / stride_s, 6))
    return [*(round(k * stride_s, 6) for k in range(count)), round(last_s, 6)]


def plan_pieces(duration_s: float, window_s: float, stride_s: float) -> list[tuple[float, float | None]]:
    """Parts ``(start_s, end_s)`` of a video, of about :data:`_PIECE_S`, that have all windows between them.

    The last one has no end: it goes to that of the video, which its header may not know exactly.
    """
    per_piece = max(1, int((_PIECE_S - window_s) / stride_s) + 1)
    num_windows = len(window_starts(duration_s, window_s, stride_s))
    begins_s = [k * per_piece * stride_s for k in range(max(1, math.ceil((num_windows - 1) / per_piece)))]
    length_s = (per_piece - 1) * stride_s + window_s
    return [*((begin_s, begin_s + length_s) for begin_s in begins_s[:-1]), (begins_s[-1], None)]


def detect(windows: Sequence[Prediction], threshold: float) -> list[Detection]:
    """The signs in a video.

    A window speaks for the time around its middle, up to halfway to the middles of its neighbours.
    Neighbouring windows with the same gloss are one detection. Of detections whose most probable windows
    overlap by half or more, only the most probable one is kept; others of the same gloss extend it.

    Args:
        windows: predictions in the order of their time.
        threshold: the least probability of a window that counts.
    """
    borders = _borders(windows)
    runs: list[tuple[Detection, Prediction]] = []  # with the most probable window
    for (gloss, counts), group in groupby(
        enumerate(windows), key=lambda one: (one[1].gloss, one[1].probability >= threshold)
    ):
        if counts:
            members = list(group)
            start_s, end_s = borders[members[0][0]], borders[members[-1][0] + 1]
            best = max((window for _, window in members), key=lambda window: window.probability)
            runs.append((Detection(gloss, start_s, end_s, best.probability), best))
    kept: list[tuple[Detection, Prediction]] = []
    for run, best in sorted(runs, key=lambda one: -one[0].probability):
        rivals = [i for i, (_, other) in enumerate(kept) if _overlap(best, other) >= _SAME_SIGN]
        if not rivals:
            kept.append((run, best))
            continue
        rival, of_rival = kept[rivals[0]]
        if rival.gloss == run.gloss:
            start_s, end_s = min(rival.start_s, run.start_s), max(rival.end_s, run.end_s)
            kept[rivals[0]] = replace(rival, start_s=start_s, end_s=end_s), of_rival
    return sorted((detection for detection, _ in kept), key=lambda one: one.start_s)


def _borders(windows: Sequence[Prediction]) -> list[float]:
    """The times between which windows speak: those of window ``i`` are items ``i`` and ``i + 1``."""
    if not windows:
        return []
    middles = [(window.start_s + window.end_s) / 2 for window in windows]
    between = [(earlier + later) / 2 for earlier, later in pairwise(middles)]
    return [windows[0].start_s, *between, windows[-1].end_s]


def _overlap(one: Prediction, other: Prediction) -> float:
    """The time that two windows have in common, as a share of the shorter one."""
    common_s = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    return common_s / min(one.end_s - one.start_s, other.end_s - other.start_s)
