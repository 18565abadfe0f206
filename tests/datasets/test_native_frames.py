"""Spans that are counted in the source's own frames."""

from __future__ import annotations

from fractions import Fraction

import pytest

from asl.datasets.native_frames import frame_rate, span_of_frames


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (29.97, Fraction(30000, 1001)),
        (29.97002997, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (30.0, Fraction(30)),
        (10.0, Fraction(10)),
        (12.5, Fraction(25, 2)),
    ],
)
def test_rounded_broadcast_rates_become_exact(fps: float, rate: Fraction) -> None:
    assert frame_rate(fps) == rate


@pytest.mark.parametrize("fps", [0, -25.0, float("nan"), float("inf")])
def test_what_is_no_rate(fps: float) -> None:
    with pytest.raises(ValueError, match="is no frame rate"):
        frame_rate(fps)


@pytest.mark.parametrize("milliseconds", [False, True])
@pytest.mark.parametrize("fps", [23.976, 25.0, 29.97, 30.0, 59.94])
def test_a_span_holds_its_frames_and_no_other_in_any_container(fps: float, milliseconds: bool) -> None:
    times = [i / frame_rate(fps) for i in range(200)]
    if milliseconds:  # as Matroska and WebM store them
        times = [Fraction(round(time * 1000), 1000) for time in times]
    for start, end in ((0, 1), (0, 52), (52, 53), (52, 131)):
        start_s, end_s = span_of_frames(start, end, fps)
        assert [i for i, time in enumerate(times) if start_s <= time < end_s] == list(range(start, end))


def test_spans_that_touch_meet_at_one_time() -> None:
    assert span_of_frames(0, 52, 29.97)[1] == span_of_frames(52, 60, 29.97)[0]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5), (0, 10**400)])
def test_what_is_no_span(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"start={start}, end={end} is no span of frames"):
        span_of_frames(start, end, 25)
