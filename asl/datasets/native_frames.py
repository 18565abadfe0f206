"""Spans that the metadata counts in the source's own frames."""

from __future__ import annotations

from fractions import Fraction

#: More frames than any video has: a year at 30 a second.
_MOST_FRAMES = 10**9

#: Metadata gives rates with two or three decimals, as 29.97 and 23.976.
_ROUNDING = 0.005


def frame_rate(fps: float) -> Fraction:
    """The exact rate: rounded decimals of the broadcast rates, which are whole numbers / 1.001, become exact.

    Raises:
        ValueError: it is not above 0.

    >>> frame_rate(29.97), frame_rate(25.0), frame_rate(12.5)
    (Fraction(30000, 1001), Fraction(25, 1), Fraction(25, 2))
    """
    if not 0 < fps < 1000:
        raise ValueError(f"fps={fps!r} is no frame rate")
    if fps == round(fps):
        return Fraction(round(fps))
    broadcast = Fraction(round(fps * 1.001) * 1000, 1001)
    return broadcast if abs(fps - broadcast) <= _ROUNDING else Fraction(fps).limit_denominator(1001)


def span_of_frames(start: int, end: int, fps: float) -> tuple[Fraction, Fraction]:
    """The span ``[start_s, end_s)`` of the frames ``start, ..., end - 1``, counted from 0.

    Its borders lie in the middle between two frames: containers round the times of frames, Matroska and WebM
    to a millisecond, and a border at a frame's own time would take one more frame or one less.

    Raises:
        ValueError: there is no such span or rate.

    >>> span_of_frames(0, 25, 25)
    (Fraction(0, 1), Fraction(49, 50))
    """
    if not 0 <= start < end <= _MOST_FRAMES:
        raise ValueError(f"start={start}, end={end} is no span of frames from 0, without the last")
    rate, half = frame_rate(fps), Fraction(1, 2)
    return max(Fraction(0), (start - half) / rate), (end - half) / rate
