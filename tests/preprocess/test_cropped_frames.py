"""Frames of the square around the signer, from raw files to what training reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asl.contract.frame_store import frames_path, open_frames
from asl.contract.manifest import Clip, read_manifest
from asl.contract.paths import Paths
from asl.data.frames.missing import find_missing
from asl.data.frames.on_device import FramesOnDevice
from asl.data.frames.on_host import FramesOnHost
from asl.data.frames.store import read_stored_frames
from asl.data.framing import Framing
from asl.data.readers.decord import DecordReader
from asl.data.readers.frames import FramesReaderSettings
from asl.data.sampling import Sampling
from asl.datasets.csv_table import CsvTable
from asl.demo.raw_files import _set_rotation
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.pack_frames import StoredFrameSettings
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.pipeline import preprocess

WHOLE, PART = StoredFrameSettings(), StoredFrameSettings(crop="signer")
BOXES = {  # of a video: width, height and rotation of the file, and the signer's box in the upright picture
    "landscape": (640, 360, 0, "0.1 0.1 0.3 0.7"),  # the square reaches beyond the left edge
    "portrait": (270, 480, 0, "0.25 0.3 0.75 0.6"),
    "turned": (360, 640, 90, "0.3 0.55 0.7 0.85"),
    "odd": (321, 241, 0, "0.55 0.15 0.95 0.7"),
    "tall": (426, 240, 0, "0.3 0 0.7 1"),  # higher than the picture once it is enlarged
    "free": (320, 240, 0, ""),
}


def coordinates(width: int, height: int) -> NDArray[np.uint8]:
    """A picture whose red says how far right a pixel lies and whose green says how far down."""
    y, x = np.mgrid[:height, :width]
    channels = 30 + 200 * (x + 0.5) / width, 30 + 200 * (y + 0.5) / height, np.full(x.shape, 60)
    return np.stack(channels, axis=2).round().astype(np.uint8)


def write_coordinates(path: Path, width: int, height: int, rotation: int) -> None:
    stored = np.ascontiguousarray(np.rot90(coordinates(width, height), rotation // 90))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height = stored.shape[1], stored.shape[0]
        stream.pix_fmt = "yuv444p" if width % 2 else "yuv420p"
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    if rotation:
        _set_rotation(path, rotation, (width, height))


def edges(picture: NDArray[np.uint8]) -> list[float]:
    """The left, right, top and bottom edge of a part of :func:`coordinates`, in shares of the whole."""
    shown = picture[..., 2] > 30  # not black
    shares = (picture.astype(float) - 30) / 200
    found = []
    for axis, channel in ((1, 0), (0, 1)):
        positions = np.indices(shown.shape)[axis][shown] + 0.5
        slope, start = np.polyfit(positions, shares[..., channel][shown], 1)
        found += [start, start + slope * picture.shape[axis]]
    return found


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both kinds of frames, made one after the other."""
    folder = tmp_path_factory.mktemp("cropped")
    (folder / "raw").mkdir()
    for name, (width, height, rotation, _) in BOXES.items():
        write_coordinates(folder / "raw" / f"{name}.mp4", width, height, rotation)
    rows = [
        {"path": f"{name}.mp4", "gloss": name, "split": "train", "box": box}
        for name, (*_, box) in BOXES.items()
    ]
    (folder / "metadata").mkdir()
    with (folder / "metadata" / "videos.csv").open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for frames in (WHOLE, PART):
        run(folder, frames)
    return folder


def run(folder: Path, frames: StoredFrameSettings) -> None:
    preprocess(
        PreprocessConfig(
            paths=Paths.below(folder),
            dataset=CsvTable(
                name="videos",
                root=str(folder / "raw"),
                metadata=str(folder / "metadata" / "videos.csv"),
            ),
            trim=TrimSettings(name="cpu", workers=1, preset="ultrafast"),
            frames=frames,
            probe=0,
        )
    )


def clips_of(folder: Path) -> dict[str, Clip]:
    return {clip.gloss: clip for clip in read_manifest(folder / "metadata" / "videos_manifest.csv")}


def test_another_crop_makes_frames_anew_and_no_clip(data_dir: Path) -> None:
    (summary,) = (data_dir / "metadata").glob("*_preprocess_summary.json")
    told = json.loads(summary.read_text())
    assert told["frames"]["host"] == len(BOXES)
    assert told["reused"] == len(BOXES)
    folders = sorted(path.name for path in (data_dir / "frames").iterdir() if path.is_dir())
    assert folders == ["25fps_128px", "25fps_128px_signer1.2"]
    clips = list(clips_of(data_dir).values())
    files = [data_dir / clip.path for clip in clips]
    assert not find_missing(clips, files, folder=data_dir / "frames", spec=PART)


@pytest.mark.parametrize("name", BOXES)
def test_the_stored_part_is_what_its_header_says(data_dir: Path, name: str) -> None:
    clip = clips_of(data_dir)[name]
    stored = open_frames(frames_path(data_dir / "frames", PART, clip.video_id))
    assert min(stored.frames.shape[1:3]) == 128
    left, top, right, bottom = stored.part or (0, 0, 1, 1)
    assert (stored.part is None) == (name == "free")
    assert edges(stored.frames[0]) == pytest.approx([left, right, top, bottom], abs=0.01)


@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
@pytest.mark.parametrize("name", BOXES)
def test_training_sees_the_same_square_of_parts_whole_pictures_and_files(
    data_dir: Path, name: str, fit: str
) -> None:
    clip = clips_of(data_dir)[name]
    file, frames_dir = data_dir / clip.path, data_dir / "frames"
    framing = Framing(resize=[128, 128], crop_size=112, crop="signer", fit=fit)
    square = framing.square(clip.height, clip.width, clip.signer_box)
    expected = [0.0, 1.0, 0.0, 1.0]
    if square is not None:
        columns, rows = (square.left, square.left + square.side), (square.top, square.top + square.side)
        expected = [*(x / clip.width for x in columns), *(y / clip.height for y in rows)]
    for reader in (
        FramesReaderSettings().build(PART, frames_dir),
        FramesReaderSettings().build(WHOLE, frames_dir),
        DecordReader(),
    ):
        how: dict[str, Any] = {"sampling": Sampling(clip_len=2), "framing": framing}
        picture = reader.read(clip, reader.source(clip, file), **how)[0]
        assert edges(picture) == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize("fit", ["squeeze", "crop"])
def test_parts_are_read_alike_wherever_frames_are_kept(data_dir: Path, fit: str) -> None:
    clips = list(clips_of(data_dir).values())
    paths = [frames_path(data_dir / "frames", PART, clip.video_id) for clip in clips]
    framing = Framing(resize=[128, 128], crop_size=112, crop="signer", fit=fit)
    counts = [6] * len(clips)
    device = FramesOnDevice(clips, paths, counts, framing=framing, device=torch.device("cpu"))
    host = FramesOnHost(clips, paths, counts, framing=framing, pin=False)
    drawn = torch.arange(6 * len(clips)).view(-1, 6)
    assert torch.equal(device[drawn], host[drawn])
    host.close()
    for index, clip in enumerate(clips):
        expected = read_stored_frames(clip, paths[index], np.arange(6), framing)
        assert np.array_equal(device[drawn[index : index + 1]][0].numpy(), expected)
