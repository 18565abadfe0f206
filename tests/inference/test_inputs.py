"""The videos that ``input=`` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from asl.inference.inputs import InputError, camera_number, find_videos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MKV", "notes.txt", ".hidden.mp4", "deeper/c.webm", "odd[1].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_stands_for_its_videos_and_those_of_its_folders(folder: Path) -> None:
    names = [file.relative_to(folder).as_posix() for file in find_videos([str(folder)])]
    assert names == ["a.MKV", "b.mp4", "deeper/c.webm", "odd[1].mp4"]


def test_files_and_patterns_keep_their_order_and_come_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = find_videos(["deeper/c.webm", "b*.mp4", "**/*.webm", "odd[1].mp4", "missing.mp4"])
    assert [str(file) for file in found] == ["deeper/c.webm", "b.mp4", "odd[1].mp4", "missing.mp4"]
    assert find_videos([str(folder / "?.mp4")]) == [folder / "b.mp4"]


def test_a_folder_or_pattern_without_videos_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder has no video"):
        find_videos([str(tmp_path / "empty")])
    with pytest.raises(InputError, match="no file fits this pattern"):
        find_videos([str(folder / "*.mov")])


def test_a_camera_is_the_only_input() -> None:
    assert camera_number(["camera:2"]) == 2
    assert camera_number(["a.mp4", "b.mp4"]) is None
    with pytest.raises(InputError, match="a camera is the only input"):
        camera_number(["camera:0", "a.mp4"])
