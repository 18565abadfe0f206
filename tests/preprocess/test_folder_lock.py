"""Folders that a run locks for itself, or that the shards of one set share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asl.errors import Terminated, UserError
from asl.preprocess.clips import folder_lock
from asl.preprocess.clips.folder_lock import FolderInUseError, locked_folders

HOLD = """
import socket, sys, time
from pathlib import Path
if sys.argv[1]:
    socket.gethostname = lambda: sys.argv[1]
from asl.preprocess.clips import folder_lock
folder_lock.HEARTBEAT_S = 0.05
with folder_lock.locked_folders(Path(sys.argv[2]), shards=sys.argv[3], shard=int(sys.argv[4])):
    print("locked", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(
    folder: Path, *, host: str = "", shards: str = "", shard: int = -1
) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock; ``host`` is the name of the machine on which it thinks it runs."""
    command = [sys.executable, "-c", HOLD, host, str(folder), shards, str(shard)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life that are awaited for a moment only."""
    monkeypatch.setattr(folder_lock, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(folder_lock, "SILENT_S", 3.0)
    monkeypatch.setattr(folder_lock, "_JUST_NOW_S", 0.0)


def locks(folder: Path) -> list[Path]:
    return list(folder.glob(".run-*.lock"))


@pytest.mark.usefixtures("quick")
def test_a_second_run_on_the_same_folder_is_told_so(tmp_path: Path) -> None:
    videos, frames = tmp_path / "videos", tmp_path / "frames"
    with (
        locked_folders(videos, frames),
        pytest.raises(
            FolderInUseError, match=r"frames is being written by another run.*paths\.data_dir"
        ) as no,
        locked_folders(tmp_path / "others", frames),
    ):
        pytest.fail("locked twice")
    assert f"(process {os.getpid()} on " in str(no.value)
    with locked_folders(videos, frames):
        pass
    assert locks(videos) == locks(frames) == locks(tmp_path / "others") == []


@pytest.mark.usefixtures("quick")
def test_shards_of_one_set_share_folders_and_exclude_all_others(tmp_path: Path) -> None:
    with locked_folders(tmp_path, shards="demo of 4", shard=0):
        with locked_folders(tmp_path, shards="demo of 4", shard=1):
            pass
        for others in ({"shards": "demo of 4", "shard": 0}, {"shards": "demo of 2", "shard": 1}, {}):
            with pytest.raises(FolderInUseError, match=r"shard\.index=0, process "):
                locked_folders(tmp_path, **others).__enter__()  # type: ignore[arg-type]
    with locked_folders(tmp_path), pytest.raises(FolderInUseError, match=r"run \(process "):
        locked_folders(tmp_path, shards="demo of 4", shard=1).__enter__()


@pytest.mark.usefixtures("quick")
def test_a_killed_process_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(FolderInUseError, match=f"process {process.pid} on "):
            locked_folders(tmp_path).__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(locks(tmp_path)) == 1
        with locked_folders(tmp_path):
            assert len(locks(tmp_path)) == 1


@pytest.mark.usefixtures("quick")
def test_a_run_of_another_machine_holds_its_lock_as_long_as_it_gives_signs_of_life(tmp_path: Path) -> None:
    told: list[str] = []
    with holder(tmp_path, host="node7", shards="demo of 4", shard=2) as process:
        with locked_folders(tmp_path, shards="demo of 4", shard=1):
            pass
        with pytest.raises(FolderInUseError, match=r"shard\.index=2, process \d+ on node7, since 2"):
            locked_folders(tmp_path).__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked_folders(tmp_path, on_wait=told.append):  # it has not been heard of since
            pass
    assert [f"process {process.pid} on node7" in message for message in told] == [True]


@pytest.mark.usefixtures("quick")
def test_a_lock_of_another_machine_that_is_old_is_taken_at_once(tmp_path: Path) -> None:
    with holder(tmp_path, host="node7"):
        pass
    (lock,) = locks(tmp_path)
    os.utime(lock, (0, 0))
    with locked_folders(tmp_path, on_wait=pytest.fail):
        assert locks(tmp_path) != [lock]


def stop(signum: int, frame: object) -> None:
    """The handler of SIGTERM in programs."""
    raise Terminated


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sigint", [signal.default_int_handler, signal.SIG_IGN], ids=["shell", "background"])
def test_a_run_whose_lock_was_taken_ends(tmp_path: Path, sigint: Any) -> None:
    def lose_the_lock() -> None:
        with locked_folders(tmp_path):
            (lock,) = locks(tmp_path)
            lock.unlink()
            for _ in range(200):
                time.sleep(0.05)

    previous = signal.signal(signal.SIGINT, sigint), signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(FolderInUseError, match="was given to another run"):
            lose_the_lock()
    finally:
        for signum, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
            signal.signal(signum, handler)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "videos").write_text("a file")
    with pytest.raises(UserError, match=f"{tmp_path}/videos: File exists"):
        locked_folders(tmp_path / "videos").__enter__()
