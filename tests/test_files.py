"""Atomic writes, links and copies of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asl.files import atomic_link, atomic_write, atomic_write_text, remove_temp_files


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


def test_incomplete_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in (".a.1.part.mp4", "sub/.b.22.part.safetensors"):
        (tmp_path / name).write_text("half")
    (tmp_path / "sub" / "whole.mp4").write_text("whole")
    remove_temp_files(tmp_path, subfolders=False)
    assert len(list(tmp_path.rglob("*.*"))) == 2
    remove_temp_files(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["whole.mp4"]
