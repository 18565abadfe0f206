"""Stored frames: atomic writes, origins, sizes, and free disk space."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asl.contract import frame_store
from asl.contract.frame_store import (
    FrameSettings,
    FrameSpec,
    FrameStoreError,
    Origin,
    check_space,
    forget_frames,
    frames_path,
    open_frames,
    origin,
    part_pixels,
    read_origin,
    read_shape,
    store_bytes,
    write_frames,
)
from asl.contract.manifest import Box


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "raw.mp4"
    path.write_bytes(b"video")
    return path


def some_frames(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)


def test_written_frames_are_read_back_memory_mapped_and_read_only(tmp_path: Path, source: Path) -> None:
    path = frames_path(tmp_path / "frames", FrameSpec(), "00001")
    made_from = origin(FrameSpec(), source, 1.0, None)
    write_frames(path, some_frames(), np.arange(5) / 25, made_from)
    frames, times, _ = open_frames(path)
    assert isinstance(frames, np.memmap)
    assert not frames.flags.writeable
    assert np.array_equal(frames, some_frames())
    assert times.tolist() == (np.arange(5) / 25).tolist()
    assert read_shape(path) == (5, 6, 8, 3)
    assert read_origin(path) == made_from
    assert [file.name for file in path.parent.iterdir()] == ["00001.safetensors"]


def test_safetensors_can_read_the_file(tmp_path: Path, source: Path) -> None:
    from safetensors.numpy import load_file

    write_frames(
        tmp_path / "a.safetensors", some_frames(), np.arange(5), origin(FrameSpec(), source, 0, None)
    )
    tensors = load_file(tmp_path / "a.safetensors")
    assert np.array_equal(tensors["frames"], some_frames())


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_truncated_file_has_no_shape(tmp_path: Path, source: Path, keep: int) -> None:
    path = tmp_path / "a.safetensors"
    write_frames(path, some_frames(), np.arange(5), origin(FrameSpec(), source, 0, None))
    path.write_bytes(path.read_bytes()[:keep])
    assert read_shape(path) is None


def test_a_file_with_more_than_its_frames_has_no_shape(tmp_path: Path, source: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_frames(path, some_frames(), np.arange(5), origin(FrameSpec(), source, 0, None))
    path.write_bytes(path.read_bytes() + b"x")
    assert read_shape(path) is None


def test_a_file_of_another_format_has_no_origin_and_no_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 100)
    assert (read_origin(path), read_shape(path)) == (None, None)
    assert read_origin(tmp_path / "nothing") is None


def test_a_failed_write_leaves_no_file(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match="No space"):
        write_frames(
            tmp_path / "f" / "a.safetensors", some_frames(), [0] * 5, origin(FrameSpec(), source, 0, None)
        )
    assert not list((tmp_path / "f").iterdir())


def test_the_key_changes_with_everything_that_decides_the_frames(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [
        origin(FrameSpec(), source, 0, None).key,
        origin(FrameSpec(), source, 1, None).key,
        origin(FrameSpec(), source, 0, 2).key,
        origin(FrameSpec(fps=None), source, 0, None).key,
        origin(FrameSpec(short_side=96), source, 0, None).key,
    ]
    monkeypatch.setattr(frame_store, "VERSION", 99)
    keys.append(origin(FrameSpec(), source, 0, None).key)
    monkeypatch.undo()
    source.write_bytes(b"another video")
    keys.append(origin(FrameSpec(), source, 0, None).key)
    assert len(set(keys)) == len(keys)


def test_each_setting_has_its_own_folder_and_forget_frames_deletes_all(tmp_path: Path, source: Path) -> None:
    specs = [FrameSpec(), FrameSpec(fps=None), FrameSpec(short_side=96), FrameSpec(fps=12.5)]
    for spec in specs:
        write_frames(
            frames_path(tmp_path / "f", spec, "1"), some_frames(), [0] * 5, origin(spec, source, 0, None)
        )
    names = {path.parent.name for path in (tmp_path / "f").rglob("*.safetensors")}
    assert names == {"25fps_128px", "native_128px", "25fps_96px", "12.5fps_128px"}
    forget_frames(tmp_path / "f", ["1"])
    assert not list((tmp_path / "f").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(640, 480, (128, 171)), (480, 640, (171, 128)), (1280, 720, (128, 228)), (144, 108, (108, 144))],
)
def test_frames_are_shrunk_to_the_short_side_and_never_enlarged(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    assert FrameSpec().size(width, height) == expected


def test_the_space_needed_is_printed_and_too_little_free_space_is_an_error(tmp_path: Path) -> None:
    needed = store_bytes(FrameSpec(), [(2.0, 60, 640, 480), (1.0, 30, 1280, 720)])
    assert needed == 50 * 128 * 171 * 3 + 25 * 128 * 228 * 3
    assert store_bytes(FrameSpec(fps=None), [(2.0, 60, 640, 480)]) == 60 * 128 * 171 * 3
    assert check_space(tmp_path, needed, 2).startswith("frames of 2 clips: 5 MB in ")
    with pytest.raises(FrameStoreError, match=r"frames\.short_side.*frames\.enabled=false.*reader=decord"):
        check_space(tmp_path, 10**18, 2)


def test_an_origin_holds_source_and_segment(source: Path) -> None:
    made_from = origin(FrameSpec(), source, 0.5, 2.5)
    fields = dataclasses.asdict(made_from)
    assert (fields["source"], fields["start_s"], fields["end_s"]) == ("raw.mp4", 0.5, 2.5)


def test_frames_that_were_stored_before_are_still_known(source: Path) -> None:
    """A change of these keys has every stored frame made again."""
    os.utime(source, ns=(0, 1_700_000_000_123_456_789))
    whole, part = origin(FrameSpec(), source, 0, None), origin(FrameSpec(fps=None), source, 0.5, 2.5)
    common = {"source": "raw.mp4", "short_side": 128, "version": 1}
    assert whole == Origin(key="0464e5ff43b0db0ee31a", start_s=0.0, end_s=-1.0, fps=25.0, **common)
    assert part == Origin(key="09d95c658efc1fdbb130", start_s=0.5, end_s=2.5, fps=None, **common)


BOX = (0.1, 0.25, 0.3, 0.75)


def test_a_part_is_stored_around_the_signer_only_and_named_in_the_header(
    tmp_path: Path, source: Path
) -> None:
    spec = FrameSpec(crop="signer")
    assert FrameSpec().part(640, 360, BOX) is None
    assert spec.part(640, 360, None) is None
    part = spec.part(640, 360, BOX)
    assert part_pixels(part, 640, 360) == (4, 56, 248, 248)
    assert spec.size(248, 248) == (128, 128)
    made_from = origin(spec, source, 0, None, part)
    assert made_from != origin(spec, source, 0, None)
    assert made_from != origin(spec, source, 0, None, spec.part(640, 360, (0.1, 0.25, 0.3, 0.8)))
    path = frames_path(tmp_path / "frames", spec, "1")
    assert path.parent.name == "25fps_128px_signer1.2"
    write_frames(path, some_frames(), np.arange(5) / 25, made_from)
    assert open_frames(path).part == part
    assert read_origin(path) == made_from


def test_the_header_of_an_earlier_version_names_no_part(tmp_path: Path, source: Path) -> None:
    path, made_from = tmp_path / "a.safetensors", origin(FrameSpec(), source, 0, None)
    write_frames(path, some_frames(), np.arange(5) / 25, made_from)
    assert open_frames(path).part is None
    content = path.read_bytes()
    named = rb", \"part\": null"
    assert named in content
    path.write_bytes(content.replace(named, b" " * len(named)))
    assert open_frames(path).part is None
    assert read_origin(path) == made_from


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.0, 0.0, 0.3, 0.5), (0, 0, 264, 264)),  # moved inside
        ((0.7, 0.5, 1.0, 1.0), (376, 96, 264, 264)),
        ((0.4, 0.0, 0.6, 1.0), (72, 0, 496, 360)),  # as high as the picture
        ((0.0, 0.0, 1.0, 1.0), None),
    ],
    ids=str,
)
def test_a_part_lies_in_the_picture(box: Box, pixels: tuple[int, ...] | None) -> None:
    part = FrameSpec(crop="signer").part(640, 360, box)
    assert (None if part is None else part_pixels(part, 640, 360)) == pixels


def test_frames_are_stored_unless_they_are_switched_off() -> None:
    assert FrameSettings().enabled
    assert not FrameSettings(enabled=False, short_side=96).enabled


def test_the_folder_is_created_and_one_that_cannot_be_is_an_error(tmp_path: Path, source: Path) -> None:
    check_space(tmp_path / "deep" / "frames", 1, 1)
    check_space(tmp_path / "deep" / "frames", 1, 1)
    assert (tmp_path / "deep" / "frames").is_dir()
    with pytest.raises(FrameStoreError, match=r"raw\.mp4: (File exists|Not a directory).*paths\.frames_dir"):
        check_space(source, 1, 1)
    assert source.read_bytes() == b"video"


def test_the_space_may_be_used_up_to_the_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    assert "5 MB free" in check_space(tmp_path, 5_000_000, 1)
    with pytest.raises(FrameStoreError, match="5 MB free"):
        check_space(tmp_path, 5_000_001, 1)
