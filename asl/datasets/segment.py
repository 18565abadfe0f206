"""Frame numbers of the metadata to a time span of the file. Exact: fractions, no rounding."""

from __future__ import annotations

from fractions import Fraction


def segment_span(frame_start: int, frame_end: int, fps: float) -> tuple[Fraction, Fraction | None]:
    """The half-open span ``[start_s, end_s)`` in seconds; ``end_s`` is None for "to the end".

    Frames are counted from 1 at ``fps``, whatever the file's own rate, and ``frame_end`` is
    inclusive. The 72 segments that WLASL takes from one 4,232-frame source tile 1…4232 under this
    reading; ``(frame_end - frame_start) / fps`` would lose each one's last frame.

    >>> segment_span(1, -1, 25)
    (Fraction(0, 1), None)
    >>> segment_span(26, 50, 25)  # frames 26, 27, ... 50: the second second
    (Fraction(1, 1), Fraction(2, 1))
    """
    if frame_start < 1 or (frame_end != -1 and frame_end < frame_start):
        raise ValueError(f"no such segment: frame_start={frame_start}, frame_end={frame_end}")
    rate = Fraction(fps).limit_denominator(1001)  # 25.0, and 29.97… as 30000/1001
    start_s = (frame_start - 1) / rate
    return start_s, None if frame_end == -1 else frame_end / rate
