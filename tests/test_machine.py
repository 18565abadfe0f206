"""What differs between operating systems; missing features are simulated."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from asl import machine
from asl.machine import (
    FileLockedError,
    FileLocksUnsupportedError,
    available_cores,
    available_memory,
    is_running,
    lock_file,
    lower_priority,
    process_space,
    process_start,
    worker_context,
)

HOLD_LOCK = """
import sys, pathlib
from asl.machine import lock_file
with lock_file(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


class FakeMsvcrt(types.ModuleType):
    """Windows' module: locks of regions, which the system keeps by file."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.locked: set[tuple[int, int]] = set()

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        stat = os.fstat(descriptor)
        assert (mode, count) == (self.LK_NBLCK, 1)
        if (stat.st_dev, stat.st_ino) in self.locked:
            raise OSError(errno.EACCES, "Permission denied")
        self.locked.add((stat.st_dev, stat.st_ino))


def test_a_lock_excludes_others_until_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    for _ in range(2):
        with (
            lock_file(path),
            pytest.raises(FileLockedError, match=r"\.lock is locked by another process"),
            lock_file(path),
        ):
            pytest.fail("locked twice")


@pytest.mark.slow
def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(FileLockedError), lock_file(path):
            pytest.fail("locked twice")
    finally:
        holder.kill()
        holder.communicate()
    with lock_file(path):
        pass


def test_without_fcntl_the_lock_is_that_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMsvcrt()
    monkeypatch.setattr(machine, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    with lock_file(tmp_path / ".lock"):
        assert len(fake.locked) == 1
        with pytest.raises(FileLockedError), lock_file(tmp_path / ".lock"):
            pytest.fail("locked twice")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(machine, "_lock", refuse)
    message = rf"\.lock cannot be locked: its file system offers no file locks \({os.strerror(code)}\)"
    with pytest.raises(FileLocksUnsupportedError, match=message), lock_file(tmp_path / ".lock"):
        pytest.fail("locked")


def test_a_lock_file_that_cannot_be_opened_is_neither(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), lock_file(tmp_path):
        pytest.fail("locked")


def test_workers_are_never_forked_from_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_context().get_start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert worker_context(["asl.machine"]).get_start_method() == "spawn"


def test_priority_is_lowered_where_the_system_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    monkeypatch.setattr(os, "nice", added.append)
    lower_priority(5)
    assert added == [5]
    monkeypatch.delattr(os, "nice")
    lower_priority(5)


def test_cores_are_those_of_this_process_or_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert available_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert available_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_a_container_and_slurm_may_leave_fewer_cores(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    (linux / "cpu.max").write_text("max 100000\n")
    assert available_cores() == 16
    (linux / "cpu.max").write_text("650000 100000\n")
    assert available_cores() == 6
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert available_cores() == 4
    (linux / "cpu.max").write_text("50000 100000\n")  # half of one
    assert available_cores() == 1


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 3 MB available of 8 MB, no container; its cgroup folder."""
    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text("MemTotal:  8000 kB\nMemAvailable:  3000 kB\n")
    cgroup.mkdir()
    monkeypatch.setattr(machine, "_PROC_MEMINFO", meminfo)
    monkeypatch.setattr(machine, "_CGROUP", cgroup)
    monkeypatch.setattr(machine, "_total_memory", lambda: 8_000_000)
    return cgroup


def test_memory_is_what_linux_and_the_container_leave(linux: Path) -> None:
    assert available_memory() == 3_072_000
    (linux / "memory.max").write_text("2000000\n")
    (linux / "memory.current").write_text("1500000\n")
    assert available_memory() == 500_000
    (linux / "memory.stat").write_text("anon 1\nfile 250000\n")  # files in memory make room
    assert available_memory() == 750_000
    (linux / "memory.max").write_text("max\n")
    assert available_memory() == 3_072_000
    (linux / "memory.max").write_text("1000000\n")
    assert available_memory() == 0


def test_elsewhere_memory_is_that_of_the_machine_or_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_PROC_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}[name])
    assert available_memory() == 4_096_000
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() == 4 << 30


def test_a_process_is_ended_after_its_time_and_not_if_that_was_taken_back():
    code = "import time; from asl.machine import end_process_after as end; end({}); {}; time.sleep({})"
    for first, then, sleep_s, status in (("0.2", "0", 20, -signal.SIGALRM), ("0.2", "end(None)", 0.5, 0)):
        command = [sys.executable, "-c", code.format(first, then, sleep_s)]
        assert subprocess.run(command, timeout=15).returncode == status


@pytest.mark.slow
def test_processes_of_this_machine_that_have_ended_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    started = process_start(process.pid)
    assert is_running(process.pid)
    assert is_running(process.pid, started)
    assert is_running(os.getpid(), process_start(os.getpid()))
    if started:  # where the system tells it
        assert not is_running(process.pid, started + 1)  # another one has got the number
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_running(process.pid) == (started == 0)  # nobody has fetched its exit status
    process.communicate()
    assert not is_running(process.pid)
    assert process_start(process.pid) == 0
    monkeypatch.setattr(machine, "_process_stat", lambda _: [])  # another system
    assert is_running(os.getpid())
    assert not is_running(process.pid)


def test_another_host_is_another_space_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    here = process_space.__wrapped__()
    assert here == process_space() == process_space.__wrapped__()
    assert len(here) == 8
    monkeypatch.setattr("socket.gethostname", lambda: "node7")
    assert process_space.__wrapped__() != here
