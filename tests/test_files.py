"""Atomic writes, links and copies of files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from asl.files import (
    atomic_link,
    atomic_write,
    atomic_write_text,
    remove_temp_files,
    temp_path,
    walk_files,
    write_new,
)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def write_and_die() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the n")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_and_die()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_link_replaces_its_target_and_is_independent_of_later_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    first, second = tmp_path / "best.pt", tmp_path / "last.pt"
    atomic_write_text(first, "epoch 1")
    atomic_write_text(second, "epoch 0")

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    atomic_link(first, second)
    assert second.read_text() == "epoch 1"
    assert first.samefile(second) is links
    atomic_write_text(second, "epoch 2")
    assert (first.read_text(), second.read_text()) == ("epoch 1", "epoch 2")
    atomic_write_text(first, "epoch 3")
    assert (first.read_text(), second.read_text()) == ("epoch 3", "epoch 2")
    assert len(list(tmp_path.iterdir())) == 2


NO_PROCESS = 2**22 + 1  # above the largest number that Linux gives to a process


def test_incomplete_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "sub/b.safetensors"):
        temp_path(tmp_path / name, pid=NO_PROCESS).write_text("half")
    for name in ("sub/whole.mp4", ".hidden"):
        (tmp_path / name).write_text("whole")
    assert remove_temp_files(tmp_path, subfolders=False) == []
    assert len(list(tmp_path.rglob("*.*"))) == 3
    assert remove_temp_files(tmp_path) == ["sub/whole.mp4"]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [".hidden", "whole.mp4"]
    assert remove_temp_files(tmp_path / "nowhere") == []


def test_incomplete_files_of_live_processes_and_of_other_machines_stay_for_a_day(tmp_path: Path) -> None:
    live = temp_path(tmp_path / "a.mp4")
    elsewhere = [tmp_path / ".b.0123abcd-77.part.mp4", tmp_path / ".c.77.part.mp4"]
    for path in (live, *elsewhere):
        path.write_text("half")
    remove_temp_files(tmp_path)
    assert set(tmp_path.iterdir()) == {live, *elsewhere}
    for path in (live, *elsewhere):
        os.utime(path, (1e9, 1e9))
    remove_temp_files(tmp_path)
    assert set(tmp_path.iterdir()) == {live}
    remove_temp_files(tmp_path, own=True)
    assert not live.exists()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_exists_is_not_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    assert write_new(tmp_path / "a.json", "first")
    assert not write_new(tmp_path / "a.json", "second")
    assert (tmp_path / "a.json").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_files_are_walked_but_not_behind_links(tmp_path: Path) -> None:
    for name in ("a/b/1.mp4", "a/2.mp4", "3.mp4", "other/4.mp4"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "top" / "a")
    (tmp_path / "top" / "5.mp4").symlink_to(tmp_path / "top" / "3.mp4")
    (tmp_path / "top" / "broken.mp4").symlink_to(tmp_path / "nowhere")

    def walked(**choice: Any) -> list[str]:
        return sorted(path for path, _ in walk_files(tmp_path / "top", **choice))

    assert walked() == ["3.mp4", "5.mp4", "a/2.mp4", "a/b/1.mp4", "other/4.mp4"]
    assert walked(subfolders=False) == ["3.mp4", "5.mp4"]
    assert walked(without=(tmp_path / "top" / "a").resolve()) == ["3.mp4", "5.mp4", "other/4.mp4"]
