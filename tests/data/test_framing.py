"""The part of a picture that the network gets: squares by fit and box, and the pixels in them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import make_clip, write_clip
from hypothesis import assume, given
from hypothesis import strategies as st

from asl.config.setting import find_problems
from asl.contract.frame_store import FrameSettings, FrameSpec, part_pixels
from asl.contract.manifest import Box
from asl.data.frames.missing import find_missing, make_missing
from asl.data.frames.on_device import FramesOnDevice
from asl.data.frames.on_host import FramesOnHost
from asl.data.frames.store import FrameStore, box_in_part, frame_pictures, resize_frames
from asl.data.framing import Framing, Square
from asl.data.readers.decord import DecordReader
from asl.data.readers.frames import FramesReader, FramesReaderSettings
from asl.data.sampling import Sampling
from asl.data.settings import DataSettings
from asl.data.transforms import crop_pictures

SQUARE: dict[str, Any] = {"resize": [128, 128], "crop_size": 112}
SIZES = {"4:3": (120, 160), "16:9": (90, 160), "portrait": (160, 90), "square": (120, 120)}
BOX = (0.25, 0.2, 0.5, 0.8)


@pytest.mark.parametrize(("height", "width"), SIZES.values(), ids=SIZES)
def test_by_default_every_picture_is_squeezed(height: int, width: int) -> None:
    assert Framing().square(height, width) is None
    assert Framing().square(height, width, BOX) is None
    frames = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    framed = frame_pictures(frames, Framing(resize=[32, 43]), BOX)
    assert torch.equal(framed, resize_frames(frames, (32, 43)))


@pytest.mark.parametrize(("height", "width"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("crop", ["none", "signer"])
def test_evaluation_sees_the_whole_padded_picture_or_its_middle_square(
    height: int, width: int, crop: str
) -> None:
    longer, shorter = max(height, width), min(height, width)
    padded = Framing(fit="pad", crop=crop, **SQUARE).square(height, width)
    assert padded is not None
    assert padded.side * 112 / 128 == pytest.approx(longer)
    assert padded.top + padded.side / 2 == pytest.approx(height / 2)
    assert padded.left + padded.side / 2 == pytest.approx(width / 2)
    cropped = Framing(fit="crop", crop=crop, **SQUARE).square(height, width)
    assert cropped == Square((height - shorter) / 2, (width - shorter) / 2, shorter)


def test_evaluation_sees_the_enlarged_square_around_the_signer() -> None:
    square = Framing(crop="signer", enlarge=1.5, **SQUARE).square(100, 200, BOX)
    assert square is not None
    assert square.side * 112 / 128 == pytest.approx(1.5 * 60)  # the box is 50 x 60 pixels
    assert (square.top + square.side / 2, square.left + square.side / 2) == pytest.approx((50, 75))


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 0.3, 0.9), (0.6, 0.1, 1.0, 1.0), (0.1, 0.1, 0.9, 0.9), BOX], ids=str
)
@pytest.mark.parametrize(("height", "width"), SIZES.values(), ids=SIZES)
def test_with_fit_crop_the_square_of_the_signer_stays_inside(box: Box, height: int, width: int) -> None:
    square = Framing(fit="crop", crop="signer", **SQUARE).square(height, width, box)
    assert square is not None
    assert square.side <= min(height, width)
    assert -1e-9 <= square.top <= height - square.side + 1e-9
    assert -1e-9 <= square.left <= width - square.side + 1e-9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "pad"}, "data.resize=[128, 171]: data.fit=pad needs a square; set data.resize=[128,128]"),
        ({"crop": "signer"}, "data.resize=[128, 171]: data.crop=signer needs a square"),
        ({"fit": "zoom"}, "data.fit=zoom: must be one of squeeze, pad, crop"),
        ({"enlarge": 0.0}, "data.enlarge=0.0: must be greater than 0"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_explained(changes: dict[str, Any], message: str) -> None:
    (problem,) = find_problems(DataSettings(**changes), "data.")
    assert problem.startswith(message)


def target(height: int, width: int) -> torch.Tensor:
    """A grey picture with a white disc of a quarter of the shorter side at its centre."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4
    picture = np.where(inside, 255, 90).astype(np.uint8)
    return torch.from_numpy(np.repeat(picture[None, :, :, None], 3, axis=3))


@pytest.mark.parametrize(("height", "width"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
    "framing",
    [
        Framing(fit="pad", **SQUARE),
        Framing(fit="crop", **SQUARE),
        Framing(crop="signer", **SQUARE),
        Framing(fit="crop", crop="signer", **SQUARE),
    ],
    ids=["pad", "crop", "signer", "signer, crop"],
)
def test_a_disc_stays_round_in_the_middle(framing: Framing, height: int, width: int) -> None:
    box = (0.5 - 25 / width, 0.5 - 30 / height, 0.5 + 25 / width, 0.5 + 30 / height)  # 50 x 60 pixels
    framed = frame_pictures(target(height, width), framing, box)
    assert framed.shape == (1, 128, 128, 3)
    white = framed[0, :, :, 0].numpy() > 170
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    square = framing.square(height, width, box)
    assert square is not None
    expected = min(height, width) / 2 * 128 / square.side
    assert abs(np.ptp(rows) + 1 - expected) <= 2.5
    assert abs(np.ptp(columns) + 1 - expected) <= 2.5
    assert abs(rows.mean() - 63.5) <= 1
    assert abs(columns.mean() - 63.5) <= 1


@pytest.mark.parametrize(("height", "width"), SIZES.values(), ids=SIZES)
def test_evaluation_sees_bars_only_around_a_padded_picture(height: int, width: int) -> None:
    frames = torch.full((1, height, width, 3), 90, dtype=torch.uint8)
    seen = crop_pictures(frame_pictures(frames, Framing(fit="pad", **SQUARE)).numpy(), 112)[0, :, :, 0] == 90
    rows, columns = seen.any(axis=1).sum(), seen.any(axis=0).sum()
    assert abs(rows - 112 * height / max(height, width)) <= 1
    assert abs(columns - 112 * width / max(height, width)) <= 1
    assert seen.sum() == rows * columns
    assert (frame_pictures(frames, Framing(fit="crop", **SQUARE)) == 90).all()


def test_a_square_at_the_edge_of_the_picture_is_black_outside() -> None:
    frames = torch.full((1, 100, 100, 3), 90, dtype=torch.uint8)
    framing = Framing(crop="signer", enlarge=1.0, resize=[40, 40], crop_size=40)
    framed = frame_pictures(frames, framing, (0.0, 0.0, 0.2, 0.4))[0, :, :, 0]  # 10 pixels lie to the left
    assert (framed[:, :10] == 0).all()
    assert (framed[:, 10:] == 90).all()
    tiny = frame_pictures(frames, framing, (0.999, 0.999, 1.0, 1.0))  # less than a pixel
    assert tiny.shape == (1, 40, 40, 3)


edges = st.floats(0, 1).map(lambda share: round(share, 4))


@given(
    size=st.tuples(st.integers(16, 1000), st.integers(16, 1000)),
    corners=st.tuples(edges, edges, edges, edges),
    fit=st.sampled_from(["squeeze", "pad", "crop"]),
    enlarge=st.floats(0.3, 1.5),
)
def test_the_stored_part_has_all_that_training_sees_of_a_square(
    size: tuple[int, int], corners: Box, fit: str, enlarge: float
) -> None:
    (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
    assume(left < right and top < bottom)
    width, height = size
    box = (left, top, right, bottom)
    part = FrameSpec(crop="signer", enlarge=1.5).part(width, height, box)
    first_column, first_row, columns, rows = part_pixels(part, width, height)
    framing = Framing(crop="signer", fit=fit, enlarge=enlarge, **SQUARE)
    square = framing.square(height, width, box)
    assert square is not None
    for first, length, start, whole in (
        (first_column, columns, square.left, width),
        (first_row, rows, square.top, height),
    ):
        assert first % 2 == 0
        assert 0 <= first < first + length <= whole
        assert first <= max(start, 0) + 1e-5
        assert first + length >= min(start + square.side, whole) - 1e-5
    of_part = framing.square(rows, columns, box_in_part(box, part))
    assert of_part is not None
    assert of_part.side == pytest.approx(square.side)
    assert of_part.left == pytest.approx(square.left - first_column, abs=1e-6)
    assert of_part.top == pytest.approx(square.top - first_row, abs=1e-6)


@pytest.mark.parametrize(
    ("framing", "message"),
    [
        (
            {"crop": "none"},
            r"data\.crop=none needs whole pictures, but frames\.crop=signer.*frames\.crop=none",
        ),
        ({"enlarge": 1.3}, r"data\.enlarge=1\.3 .*frames\.enlarge=1\.2 stores: set frames\.enlarge=1\.3 "),
        ({"crop_size": 96}, r"crop_size=96 needs more .*set frames\.enlarge=1\.4 .*, or data\.enlarge=1\.02"),
        ({"enlarge": 1.1}, None),
        ({"fit": "pad"}, None),
        ({"resize": [64, 64], "crop_size": 56}, None),
    ],
    ids=str,
)
def test_a_framing_that_needs_more_than_is_stored_is_explained(
    framing: dict[str, Any], message: str | None
) -> None:
    data = DataSettings(**{"crop": "signer", **SQUARE, **framing})
    problems = list(FramesReaderSettings().problems_with(data, FrameSettings(crop="signer")))
    assert len(problems) == (message is not None)
    assert message is None or re.search(message, problems[0])
    assert not list(FramesReaderSettings().problems_with(data, FrameSettings()))


def test_readers_and_placements_give_the_same_part(tmp_path: Path) -> None:
    clip = dataclasses.replace(make_clip("train", 0, 0), width=96, box="0.1 0.2 0.6 0.9")
    file = tmp_path / clip.path
    write_clip(file, grey=range(40, 160, 10), size=(96, 48))
    store = FrameStore(folder=tmp_path / "frames", spec=FrameSpec())
    make_missing(
        find_missing([clip], [file], folder=store.folder, spec=store.spec), folder=store.folder, timeout_s=60
    )
    sampling = Sampling(clip_len=6, frame_stride=1)
    for how in ({"fit": "pad"}, {"fit": "crop"}, {"crop": "signer"}):
        framing = Framing(resize=[40, 40], crop_size=32, **how)
        decoded = DecordReader().read(clip, file, sampling=sampling, framing=framing)
        stored = FramesReader(store, timeout_s=60).read(
            clip, store.path(clip), sampling=sampling, framing=framing
        )
        assert np.abs(decoded.astype(int) - stored).max() <= 3
        files = [store.path(clip)]
        device = FramesOnDevice([clip], files, [12], framing=framing, device=torch.device("cpu"))
        host = FramesOnHost([clip], files, [12], framing=framing, pin=False)
        drawn = torch.arange(12)[None]
        assert torch.equal(device[drawn], host[drawn])
        host.close()
