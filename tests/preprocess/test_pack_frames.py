"""Packs of frames: read like files of their own, and safe to make, replace and interrupt."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from rich.progress import Progress

from asl.contract import frame_packs
from asl.contract.frame_packs import FramePackError, Packed, pack_path
from asl.contract.frame_store import (
    FrameSpec,
    FrameStoreError,
    Origin,
    forget_frames,
    frames_path,
    has_frames,
    open_frames,
    read_origin,
    read_shape,
    write_frames,
)
from asl.preprocess.clips import pack_frames as module
from asl.preprocess.clips.pack_frames import pack_frames

SPEC = FrameSpec(short_side=16)


def store(frames_dir: Path, video_id: str, *, value: int, count: int = 20) -> Path:
    """Store ``count`` frames of one grey level."""
    path = frames_path(frames_dir, SPEC, video_id)
    made_from = Origin(key=f"{value}", source="raw.mp4", start_s=0.0, end_s=-1.0, fps=25.0, short_side=16)
    write_frames(path, np.full((count, 16, 20, 3), value, np.uint8), np.arange(count) / 25, made_from)
    return path


def grey(path: Path) -> int:
    frames, times_s, _ = open_frames(path)
    assert times_s == pytest.approx(np.arange(len(frames)) / 25)
    assert not frames.flags.writeable
    assert len(set(frames.flatten().tolist())) == 1
    made_from = read_origin(path)
    assert made_from is not None
    assert made_from.key == str(frames[0, 0, 0, 0])
    assert read_shape(path) == frames.shape
    return int(frames[0, 0, 0, 0])


def pack(frames_dir: Path, *, pack_bytes: int = 1 << 30) -> int:
    return pack_frames(frames_dir / SPEC.name, Progress(disable=True), pack_bytes=pack_bytes)


def names(frames_dir: Path) -> list[str]:
    folder = frames_dir / SPEC.name
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_packed_frames_are_read_by_the_same_path(tmp_path: Path) -> None:
    paths = [store(tmp_path, f"v{i}", value=i) for i in range(5)]
    before = [path.read_bytes() for path in paths]
    os.utime(paths[0], (1, 1))  # before the first year that ZIP knows
    assert pack(tmp_path, pack_bytes=2 * len(before[0])) == 5
    assert names(tmp_path) == ["packs/000.zip", "packs/001.zip", "packs/002.zip"]
    assert [grey(path) for path in paths] == list(range(5))
    assert all(has_frames(path) for path in paths)
    with zipfile.ZipFile(pack_path(tmp_path / SPEC.name, 0)) as first:
        assert [first.read(path.name) for path in paths[:2]] == before[:2]
    assert pack(tmp_path) == 0


def test_frames_that_no_pack_has_are_missing(tmp_path: Path) -> None:
    store(tmp_path, "v0", value=0)
    pack(tmp_path)
    path = frames_path(tmp_path, SPEC, "v1")
    assert (read_shape(path), read_origin(path), has_frames(path)) == (None, None, False)
    with pytest.raises(FileNotFoundError):
        open_frames(path)


def test_a_mapped_file_and_a_reader_that_looked_before_are_not_disturbed(tmp_path: Path) -> None:
    path = store(tmp_path, "v0", value=3)
    frames = open_frames(path).frames
    pack(tmp_path)
    assert (frames == 3).all()
    store(tmp_path, "v1", value=4)
    assert grey(path) == 3  # the index of the first pack is known now
    pack(tmp_path)
    assert grey(frames_path(tmp_path, SPEC, "v1")) == 4


def test_a_clip_that_is_cut_again_does_not_get_its_packed_frames_back(tmp_path: Path) -> None:
    path, *_ = [store(tmp_path, video_id, value=1) for video_id in ("v0", "v1", "v2")]
    pack(tmp_path)
    forget_frames(tmp_path, ["v0"])
    assert read_shape(path) is None
    pack(tmp_path)  # as if the new cut failed
    assert read_shape(path) is None
    store(tmp_path, "v0", value=2)
    assert grey(path) == 2
    pack(tmp_path)
    assert grey(path) == 2
    assert names(tmp_path) == ["packs/000.zip", "packs/001.zip"]
    forget_frames(tmp_path, ["v0"])
    assert read_shape(path) is None  # nor those of the first pack
    forget_frames(tmp_path, ["never stored"])


def test_folders_are_listed_once_for_all_clips_that_are_cut_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video_ids = [f"v{i}" for i in range(20)]
    for video_id in video_ids:
        store(tmp_path, video_id, value=1)
    pack(tmp_path)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    forget_frames(tmp_path, video_ids)
    assert listed.count(str(tmp_path / SPEC.name / "packs")) == 1
    assert listed.count(str(tmp_path / SPEC.name)) == 0
    assert all(read_shape(tmp_path / SPEC.name / f"{video_id}.safetensors") is None for video_id in video_ids)


def test_a_pack_that_is_hardly_used_is_written_again_without_the_rest(tmp_path: Path) -> None:
    paths = [store(tmp_path, f"v{i}", value=i) for i in range(4)]
    size = paths[0].stat().st_size
    pack(tmp_path)
    forget_frames(tmp_path, ["v0", "v1", "v2"])
    store(tmp_path, "v0", value=9)
    assert pack(tmp_path) == 1
    assert names(tmp_path) == ["packs/001.zip"]
    assert pack_path(tmp_path / SPEC.name, 1).stat().st_size < 2.5 * size
    assert [grey(path) for path in (paths[0], paths[3])] == [9, 3]
    assert [read_shape(path) for path in paths[1:3]] == [None, None]


def test_a_reader_finds_frames_whose_pack_is_written_again_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [store(tmp_path, f"v{i}", value=i) for i in range(4)]
    pack(tmp_path)
    forget_frames(tmp_path, ["v0", "v1", "v2"])
    open_entry = Packed.open

    def open_late(packed: Packed) -> tuple[IO[bytes], int]:
        if packed.pack.name == "000.zip":
            pack(tmp_path)
        return open_entry(packed)

    monkeypatch.setattr(Packed, "open", open_late)
    assert grey(paths[3]) == 3
    assert names(tmp_path) == ["packs/001.zip"]


def test_the_number_of_a_pack_is_used_once(tmp_path: Path) -> None:
    path = store(tmp_path, "v0", value=1)
    pack(tmp_path)
    forget_frames(tmp_path, ["v0"])
    pack(tmp_path)
    assert names(tmp_path) == ["packs/000.zip", "v0.safetensors"]
    store(tmp_path, "v0", value=2)
    assert pack(tmp_path) == 1
    assert names(tmp_path) == ["packs/001.zip"]
    assert grey(path) == 2


def test_an_incomplete_file_is_not_packed(tmp_path: Path) -> None:
    path = store(tmp_path, "v0", value=1)
    path.write_bytes(path.read_bytes()[:-1])
    assert pack(tmp_path) == 0
    assert names(tmp_path) == ["v0.safetensors"]


def test_a_run_killed_at_any_moment_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the nth change of the disk, for every n; nothing is cleaned up afterwards."""

    class Killed(BaseException):
        pass

    left = 0

    def mortal(function: object) -> object:
        def run(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return function(*args, **kwargs)  # type: ignore[operator]

        return run

    expected, killed = [10, 11, 12, 3], 0
    while True:
        frames_dir = tmp_path / str(killed)
        paths = [store(frames_dir, f"v{i}", value=i) for i in range(4)]
        pack(frames_dir)
        forget_frames(frames_dir, ["v0", "v1", "v2"])
        for i in range(3):
            store(frames_dir, f"v{i}", value=10 + i)
        left = killed
        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "mkdir"):
                patch.setattr(Path, name, mortal(getattr(Path, name)))
            patch.setattr(module.os, "fsync", mortal(os.fsync))
            try:
                pack(frames_dir, pack_bytes=1)
            except Killed:
                killed += 1
            else:
                break
        assert [grey(path) for path in paths] == expected
        pack(frames_dir)
        assert [grey(path) for path in paths] == expected
        assert not list((frames_dir / SPEC.name).glob("*.safetensors"))
    assert killed > 20


def test_frames_that_training_made_meanwhile_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path, "v0", value=1)

    def replaced(folder: Path) -> None:
        store(tmp_path, "v0", value=2)
        os.utime(path, (5, 5))

    monkeypatch.setattr(module, "sync_folder", replaced)
    pack(tmp_path)
    assert grey(path) == 2


def test_a_full_disk_loses_nothing_and_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path, "v0", value=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(FrameStoreError, match=r"000\.zip.*No space left.*frames\.pack=false"):
        pack(tmp_path)
    assert names(tmp_path) == ["v0.safetensors"]
    assert grey(path) == 1


def test_a_damaged_pack_is_named(tmp_path: Path) -> None:
    path = store(tmp_path, "v0", value=1)
    pack(tmp_path)
    pack_path(tmp_path / SPEC.name, 0).write_bytes(b"no pack")
    frame_packs._read_packs.cache_clear()  # as in another process
    with pytest.raises(FramePackError, match=r"000\.zip is damaged.*Delete it"):
        read_shape(path)
