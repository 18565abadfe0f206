"""Reading the stored frames of a clip: which frames, at which size, and the errors for wrong files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip

from asl.contract.frame_store import FrameSpec, Origin, write_frames
from asl.data.clip_files import ClipError
from asl.data.frames.store import FrameStore, open_stored_frames, read_stored_frames, resize_frames
from asl.data.framing import Framing

CLIP = make_clip("train", 0, 1)
ORIGIN = Origin(key="", source="", start_s=0.0, end_s=-1.0, fps=25.0, short_side=16)
FRAMES = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with ``FRAMES``."""
    file = FrameStore(folder=tmp_path, spec=FrameSpec(short_side=16)).path(CLIP)
    write_frames(file, FRAMES, np.arange(5) / 25, ORIGIN)
    assert file == tmp_path / "25fps_16px" / "train001.safetensors"
    return file


def test_frames_are_read_in_the_order_of_the_indices(path: Path) -> None:
    for indices in ([0, 4, 4, 2], [3]):
        assert np.array_equal(
            read_stored_frames(CLIP, path, np.array(indices), Framing(resize=[6, 8])), FRAMES[indices]
        )


def test_frames_are_resized_with_antialiasing(path: Path) -> None:
    small = read_stored_frames(CLIP, path, np.array([1, 2]), Framing(resize=[3, 2]))
    pictures = torch.from_numpy(FRAMES[1:3]).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(pictures, size=(3, 2), mode="bilinear", antialias=True)
    assert small.shape == (2, 3, 2, 3)
    assert resize_frames(whole := torch.from_numpy(FRAMES), (6, 8)) is whole
    assert np.abs(small - expected.permute(0, 2, 3, 1).numpy()).max() < 1
    for size in ((6, 4), (3, 8)):
        assert resize_frames(torch.from_numpy(FRAMES), size).shape == (5, *size, 3)


def test_an_index_after_the_last_frame_is_an_error_that_names_clip_and_number(path: Path) -> None:
    for index in (5, 6):
        with pytest.raises(ClipError, match=rf"train001.*it has 5 frames; frame {index} was drawn"):
            read_stored_frames(CLIP, path, np.array([0, index, 1]), Framing(resize=[6, 8]))


def test_the_number_of_frames_is_checked_if_it_is_known(path: Path) -> None:
    for count in (None, 5):
        frames, times_s, _ = open_stored_frames(CLIP, path, count=count)
        assert np.array_equal(frames, FRAMES)
        assert times_s.tolist() == [0.0, 0.04, 0.08, 0.12, 0.16]
    for count in (0, 4, 6):
        with pytest.raises(ClipError, match=f"train001.*it has 5 frames instead of {count}"):
            open_stored_frames(CLIP, path, count=count)


def test_a_missing_incomplete_or_foreign_file_is_an_error_that_says_why(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"frames"', b'"images"'))
    with pytest.raises(ClipError, match=r"train001.*frames"):
        open_stored_frames(CLIP, path)
    path.write_bytes(b"\0" * 8)
    with pytest.raises(ClipError, match=r"train001.*Expecting value"):
        open_stored_frames(CLIP, path)
    path.unlink()
    with pytest.raises(
        ClipError, match=r"(?s)train001.*No such file.*Delete it: the next start makes it anew$"
    ):
        open_stored_frames(CLIP, path)
