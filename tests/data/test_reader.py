"""Reading clips with decord: frames, shapes, and errors that name the clip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip, write_clip

from asl.data.clip_files import ClipError
from asl.data.framing import Framing
from asl.data.readers.decord import DecordReader, scalable
from asl.data.sampling import Sampling

READER = DecordReader()
EVERY = Sampling(clip_len=12, frame_stride=1)


def levels(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean())) for frame in frames]


def test_frames_are_scaled_rgb_bytes_in_order(tmp_path: Path) -> None:
    grey = list(range(20, 140, 10))
    write_clip(tmp_path / "a.mp4", grey=grey)
    frames = READER.read(
        make_clip("train", 0, 0), tmp_path / "a.mp4", sampling=EVERY, framing=Framing(resize=[20, 30])
    )
    assert frames.shape == (12, 20, 30, 3)
    assert frames.dtype == np.uint8
    assert levels(frames) == pytest.approx(grey, abs=3)


def test_clips_of_varying_frame_rate_are_read_by_time(tmp_path: Path) -> None:
    # The third frame is on display from 0.08 to 0.32 s: six points of the 25 fps grid.
    starts = [0.0, 0.04, 0.08, 0.32, 0.36, 0.40]
    write_clip(tmp_path / "a.mp4", grey=[20, 60, 100, 140, 180, 220], starts_s=starts)
    clip = dataclasses.replace(make_clip("train", 0, 0, num_frames=6), duration_s=0.44)
    sampling = Sampling(clip_len=11, frame_stride=1)
    frames = READER.read(clip, tmp_path / "a.mp4", sampling=sampling, framing=Framing(resize=[24, 30]))
    assert levels(frames) == pytest.approx([20, 60, 100, 100, 100, 100, 100, 100, 140, 180, 220], abs=3)


def test_of_50_frames_per_second_every_second_one_is_read(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", grey=list(range(20, 140, 10)), fps=50)
    clip = make_clip("train", 0, 0, fps=50)
    frames = READER.read(
        clip,
        tmp_path / "a.mp4",
        sampling=Sampling(clip_len=6, frame_stride=1),
        framing=Framing(resize=[24, 30]),
    )
    assert levels(frames) == pytest.approx([20, 40, 60, 80, 100, 120], abs=3)


def test_decord_scales_correctly_to_all_widths_that_are_allowed(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", grey=list(range(20, 140, 10)))
    for width in range(8, 200, 4):
        if scalable(width):
            frames = READER.read(
                make_clip("train", 0, 0),
                tmp_path / "a.mp4",
                sampling=EVERY,
                framing=Framing(resize=[16, width]),
            )
            assert levels(frames) == pytest.approx(list(range(20, 140, 10)), abs=3)
    assert all(scalable(width) for width in (64, 112, 128, 171, 224, 256))
    assert not scalable(24)


def write_broken_clip(path: Path, how: str) -> None:
    write_clip(path, grey=list(range(20, 140, 10)))
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "text":
        path.write_bytes(b"<html>404</html>" * 100)
    elif how == "other clip":
        write_clip(path, grey=[20, 30])
    elif how == "missing":
        path.unlink()


@pytest.mark.parametrize("how", ["empty", "cut short", "text", "other clip", "missing"])
def test_the_error_of_an_unreadable_clip_names_clip_file_and_remedy(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.mp4"
    write_broken_clip(path, how)
    with pytest.raises(ClipError) as caught:
        READER.read(make_clip("train", 1, 7), path, sampling=EVERY, framing=Framing(resize=[24, 30]))
    message = str(caught.value)
    assert "train107" in message
    assert "'drink'" in message
    assert str(path) in message
    assert "python preprocess.py" in message
    assert "Traceback" not in message
