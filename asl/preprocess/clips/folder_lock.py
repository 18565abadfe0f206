"""Lock the folders that a run writes to, so that two runs never write the same clips.

A run writes a small file into each folder and then looks for those of other runs. It changes the time of its
files every few seconds, so that other machines see that it lives. This needs no file locks, which network
file systems may not offer: after a machine has made a file in a folder, it lists the folder anew.
"""

from __future__ import annotations

import _thread
import json
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from asl.errors import UserError
from asl.files import atomic_write_text
from asl.machine import is_running, process_space, process_start

#: Seconds between two signs of life of a run, and without one after which it counts as ended if its process
#: cannot be seen from here.
HEARTBEAT_S = 15.0
SILENT_S = 90.0

#: A run that finds another one which began as recently tries again: both may have seen each other.
_JUST_NOW_S = 2.0
_TRIES = 5

_PATTERN = ".run-*.lock"


class FolderInUseError(UserError):
    """Another run writes to the same folder."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run writes about itself into the folders that it locks."""

    host: str
    space: str  # see process_space
    pid: int
    started: int  # see process_start
    since: float  # seconds since 1970
    shards: str = (
        ""  # the set of shards to which the run belongs; shards of one set do not exclude each other
    )
    shard: int = -1

    def excludes(self, other: Run) -> bool:
        """Whether the two must not write to the same folder."""
        return not self.shards or self.shards != other.shards or self.shard == other.shard

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).isoformat(" ", "seconds")
        shard = f"shard.index={self.shard}, " if self.shards else ""
        return f"{shard}process {self.pid} on {self.host}, since {since}"


@contextmanager
def locked_folders(
    *folders: Path, shards: str = "", shard: int = -1, on_wait: Callable[[str], None] = lambda message: None
) -> Iterator[Run]:
    """Create folders and lock them for this process. Yields what they tell about it.

    A lock of a process of this machine that has ended does not count, however it ended. One of another
    machine counts as long as it gives signs of life.

    Args:
        folders: where the run writes.
        shards: name of the set of shards to which the run belongs. Empty: it excludes all others.
        shard: its number in the set.
        on_wait: called with a message if the lock of another machine may be that of a run that has ended,
            which takes up to ``SILENT_S`` to be known.

    Raises:
        FolderInUseError: another run has locked one of the folders, or has taken this lock over.
        UserError: a folder cannot be written to.
    """
    own = Run(
        host=socket.gethostname(),
        space=process_space(),
        pid=os.getpid(),
        started=process_start(os.getpid()),
        since=time.time(),
        shards=shards,
        shard=shard,
    )
    files: list[Path] = []
    with ExitStack() as closing:
        for folder in dict.fromkeys(folders):
            try:
                file = _lock(folder, own, on_wait)
            except OSError as error:
                raise UserError(
                    f"{folder}: {error.strerror or error}. A run writes to this folder"
                ) from error
            closing.callback(file.unlink, missing_ok=True)
            files.append(file)
        heart = _Heart(files)
        closing.callback(heart.stop)
        try:
            yield own
        except KeyboardInterrupt:
            if heart.lost is None:
                raise
            raise FolderInUseError(
                f"{heart.lost} was given to another run, because this one gave no sign of life for "
                f"{SILENT_S:g} s. What is done is kept; start it again when the other one has ended"
            ) from None


def _lock(folder: Path, own: Run, on_wait: Callable[[str], None]) -> Path:
    """Lock one folder; returns the file that is the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _PATTERN.replace("*", secrets.token_hex(8))
    for tries_left in reversed(range(_TRIES)):
        atomic_write_text(file, json.dumps(asdict(own)))
        rivals = _rivals(file, own)
        if not rivals:
            return file
        file.unlink(missing_ok=True)
        rival, run = rivals[0]
        if run.space != own.space and _falls_silent(rival, run, on_wait):
            rival.unlink(missing_ok=True)
        elif time.time() - run.since > _JUST_NOW_S or not tries_left:
            break
        else:
            time.sleep(random.uniform(0, 0.5))
    raise FolderInUseError(
        f"{folder} is being written by another run ({run}). Wait for it, or use another paths.data_dir"
    )


def _rivals(file: Path, own: Run) -> list[tuple[Path, Run]]:
    """The locks of other runs that exclude this one and may live; those of ended ones are removed."""
    now = file.stat().st_mtime  # by the clock of the file system, like those of the others
    rivals = []
    for other in file.parent.glob(_PATTERN):
        if other == file:
            continue
        try:
            with other.open(
                encoding="utf-8"
            ) as content:  # network file systems tell the time anew after open
                run = Run(**json.load(content))
                silent_s = now - os.fstat(content.fileno()).st_mtime
        except (OSError, ValueError, TypeError):
            continue  # it has just been released
        if not is_running(run.pid, run.started) if run.space == own.space else silent_s > SILENT_S:
            other.unlink(missing_ok=True)
        elif own.excludes(run):
            rivals.append((other, run))
    return rivals


def _falls_silent(lock: Path, run: Run, on_wait: Callable[[str], None]) -> bool:
    """Watch the lock of another machine: False as soon as it shows a sign of life, True if it does not."""
    told, first, start = False, _mtime_ns(lock), time.monotonic()
    while first is not None and time.monotonic() - start < SILENT_S:
        time.sleep(min(1.0, HEARTBEAT_S))
        if _mtime_ns(lock) not in (first, None):
            return False
        if not lock.exists():
            return True
        if not told and time.monotonic() - start > 2 * HEARTBEAT_S:
            on_wait(f"waiting for a run that seems to have ended ({run})")
            told = True
    return True


def _mtime_ns(lock: Path) -> int | None:
    try:
        with lock.open() as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


class _Heart:
    """Gives signs of life in a thread. If a lock has been removed, it interrupts the main thread."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.lost: Path | None = None  # the folder
        self._files, self._stopping = files, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopping.wait(HEARTBEAT_S):
            for file in self._files:
                try:
                    os.utime(file)
                except FileNotFoundError:
                    self.lost = file.parent
                    # Shells let programs that they start in the background ignore SIGINT.
                    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
                    _thread.interrupt_main(signal.SIGTERM if ignored else signal.SIGINT)
                    return
                except OSError:  # a network file system that does not answer: it may later
                    pass
