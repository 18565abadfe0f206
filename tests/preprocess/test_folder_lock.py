"""Folders that a run locks for itself."""

import errno
import os

import pytest

from asl import machine
from asl.errors import UserError
from asl.preprocess.clips.folder_lock import FolderInUseError, locked_folders


def test_a_second_run_on_the_same_folder_is_told_so(tmp_path):
    videos, frames = tmp_path / "videos", tmp_path / "frames"
    with (
        locked_folders(videos, frames),
        pytest.raises(FolderInUseError, match=r"frames is being written by another run.*paths\.data_dir"),
        locked_folders(tmp_path / "others", frames),
    ):
        pytest.fail("locked twice")
    with locked_folders(videos, frames):
        pass


def test_a_file_system_without_locks_is_not_another_run(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(machine, "_lock", refuse)
    with pytest.raises(UserError) as raised, locked_folders(tmp_path / "videos"):
        pytest.fail("locked")
    assert not isinstance(raised.value, FolderInUseError)
    assert str(raised.value) == (
        f"{tmp_path}/videos/.lock cannot be locked: its file system offers no file locks "
        f"({os.strerror(errno.ENOLCK)}). Use a folder on another file system: paths.data_dir=..., "
        "or paths.videos_dir=..., paths.frames_dir=... and paths.metadata_dir=..."
    )
