"""The collector keeps, frame by frame, what the time grid chooses with all frames at once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asl.codecs.frame_collector import FrameCollector, FramesRequest
from asl.codecs.pictures import RgbResizer
from asl.contract.frame_store import FrameSpec, open_frames, origin
from asl.contract.time_grid import frames_on_display, grid_length

gaps_ms = st.lists(st.integers(1, 160), min_size=1, max_size=60)  # from frame to frame


class NumberedFrame:
    """Stands for a decoded frame; resized, all its pixels are its number."""

    width, height = 64, 48

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.fixture
def resize_to_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def resize(_: RgbResizer, frame: Any) -> np.ndarray:
        return np.full((1, 1, 3), frame.number, np.uint8)

    monkeypatch.setattr(RgbResizer, "__call__", resize)


def collected(
    folder: Path, collector: FrameCollector, duration_s: float, num_frames: int
) -> tuple[list[int], list[float]]:
    """Numbers and times of the frames that the collector writes."""
    (folder / "raw").touch()
    request = FramesRequest(folder / "a", collector.spec, origin(collector.spec, folder / "raw", 0.0, None))
    collector.write(request, duration_s=duration_s, num_frames=num_frames)
    frames, times_s, _ = open_frames(request.path)
    return frames[:, 0, 0, 0].tolist(), times_s.tolist()


@pytest.mark.usefixtures("resize_to_numbers")
@settings(max_examples=300, deadline=None)  # each writes a file
@given(gaps_ms=gaps_ms, fps=st.sampled_from([25.0, 12.5, 24000 / 1001, 30000 / 1001, 50.0]))
def test_the_collector_and_frames_on_display_choose_the_same_frames(
    tmp_path_factory: pytest.TempPathFactory, gaps_ms: list[int], fps: float
) -> None:
    times = [Fraction(sum(gaps_ms[:i]), 1000) for i in range(len(gaps_ms))]
    duration_s = sum(gaps_ms) / 1000
    collector = FrameCollector(FrameSpec(fps=fps))
    for number, time_s in enumerate(times):
        collector.add(NumberedFrame(number), time_s)  # type: ignore[arg-type]
    points_s = np.arange(grid_length(duration_s, fps)) / fps
    expected = frames_on_display(points_s, [float(time_s) for time_s in times])
    frames, times_s = collected(tmp_path_factory.mktemp("f"), collector, duration_s, len(times))
    assert frames == expected.tolist()
    assert times_s == points_s.tolist()


@pytest.mark.usefixtures("resize_to_numbers")
def test_without_a_grid_every_frame_is_kept_at_its_own_time(tmp_path: Path) -> None:
    collector = FrameCollector(FrameSpec(fps=None))
    for number, time_s in enumerate((Fraction(0), Fraction(1, 100), Fraction(2))):
        collector.add(NumberedFrame(number), time_s)  # type: ignore[arg-type]
    assert collected(tmp_path, collector, 2.04, 3) == ([0, 1, 2], [0.0, 0.01, 2.0])


@pytest.mark.parametrize("fps", [25.0, None])
@pytest.mark.usefixtures("resize_to_numbers")
def test_a_frame_at_time_0_discards_those_of_a_failed_attempt(tmp_path: Path, fps: float | None) -> None:
    collector = FrameCollector(FrameSpec(fps=fps))
    for number, time_s in ((7, 0), (8, Fraction(1, 25)), (0, 0), (1, Fraction(1, 25))):
        collector.add(NumberedFrame(number), Fraction(time_s))  # type: ignore[arg-type]
    assert collected(tmp_path, collector, 0.08, 2)[0] == [0, 1]
