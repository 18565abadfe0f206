"""What differs between operating systems: processor cores, memory, processes and file locks.

The other modules call these functions and contain no code for one system alone.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import importlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import IO, Any

from asl.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PROC_MEMINFO = Path("/proc/meminfo")  # Linux
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux
_CGROUP = Path("/sys/fs/cgroup")  # Linux, version 2, as seen from inside a container

#: Bytes of RAM assumed where the system does not report how much there is.
_ASSUMED_MEMORY = 4 << 30

_LOCK_IS_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
_LOCKS_NOT_OFFERED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class FileLockedError(UserError):
    """Another process holds the lock."""


class FileLocksUnsupportedError(UserError):
    """The file system offers no file locks."""


# ---------------------------------------------------------------- cores and memory


def available_cores() -> int:
    """Number of cores this process may use; in a container or batch job fewer than the machine has."""
    count = len(usable_cores())
    quota = " ".join(_lines(_CGROUP / "cpu.max")).split()  # of time, in a period: "200000 100000"
    if len(quota) == 2 and quota[0].isdigit():
        count = min(count, int(quota[0]) // int(quota[1]))
    task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if task.isdigit():
        count = min(count, int(task))
    return max(1, count)


def usable_cores() -> list[int]:
    """The numbers of the cores on which the system may run this process."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def keep_to_cores(cores: Iterable[int]) -> None:
    """Have the system run this process and its children on these cores alone. No effect outside Linux."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def available_memory() -> int:
    """Bytes of RAM this process can still use without swapping, within the limit of its container.

    Outside Linux the machine's whole RAM is returned, or 4 GiB where the system does not report it.
    """
    free = _total_memory()
    for line in _lines(_PROC_MEMINFO):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = (_lines(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit and used and limit[0].isdigit():
        cache = [int(line.split()[1]) for line in _lines(_CGROUP / "memory.stat") if line.startswith("file ")]
        free = min(free, int(limit[0]) - int(used[0]) + sum(cache))
    return max(0, free)


def _total_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf; not every system has both names
        return _ASSUMED_MEMORY


def _lines(path: Path) -> list[str]:
    """The lines of a text file; none if it does not exist."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


# ---------------------------------------------------------------- processes


def worker_context(preload: Sequence[str] = ()) -> BaseContext:
    """The multiprocessing context for worker processes: forkserver where available, otherwise spawn.

    Never fork: a process with threads (a progress bar has one) would pass their locks on to its children.

    Args:
        preload: names of modules that the forkserver imports once for all workers. It has one server per
            process: names given after its start have no effect. Spawned workers import for themselves.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    return context


def lower_priority(nice: int) -> None:
    """Add ``nice`` to the niceness of this process, see :func:`os.nice`. No effect on Windows."""
    if hasattr(os, "nice"):
        os.nice(nice)


def end_process_after(seconds: float | None) -> None:
    """Let the system end this process after so many seconds, whatever it does then. No effect on Windows.

    Args:
        seconds: replaces those of an earlier call. None: do not end it.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds or 0)  # SIGALRM, which has no handler


@functools.cache
def process_space() -> str:
    """Where the numbers of processes have their meaning, as 8 hex digits: a host since its start.

    Two containers differ if they do not see each other's processes, also on one host.
    """
    boot = _lines(_BOOT_ID)
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())  # Linux
    except OSError:
        namespace = ""
    space = f"{socket.gethostname()} {boot} {namespace}"
    return hashlib.blake2b(space.encode(), digest_size=4).hexdigest()


def process_start(pid: int) -> int:
    """When a process of this host started, in clock ticks since the host did. 0 if that is unknown."""
    stat = _process_stat(pid)
    return int(stat[19]) if stat else 0


def is_running(pid: int, started: int = 0) -> bool:
    """Whether a process of this host has not ended.

    Args:
        pid: its number.
        started: its :func:`process_start`; another process with its number does not count. 0: unknown.
    """
    if os.name == "nt":
        return _is_running_on_windows(pid)
    stat = _process_stat(pid)
    if stat:
        return stat[0] != "Z" and started in (0, int(stat[19]))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_stat(pid: int) -> list[str]:
    """The fields of ``/proc/{pid}/stat`` from the third, the state, on. Empty if there is no such file."""
    return " ".join(_lines(Path(f"/proc/{pid}/stat"))).rpartition(")")[2].split()


def _is_running_on_windows(pid: int) -> bool:
    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(0x100000, False, pid)  # SYNCHRONIZE
    if not handle:
        return bool(kernel.GetLastError() == 5)  # ERROR_ACCESS_DENIED: it is another user's
    running = kernel.WaitForSingleObject(handle, 0) == 0x102  # WAIT_TIMEOUT
    kernel.CloseHandle(handle)
    return bool(running)


# ---------------------------------------------------------------- file locks


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is created if missing and is not deleted.

    The lock ends with the block, or with the process however that ends.

    Args:
        path: a file of its own, which holds no data; its folder exists.

    Raises:
        FileLockedError: another process, or another block of this one, holds the lock.
        FileLocksUnsupportedError: the file system offers no locks.
        OSError: the file cannot be opened.
    """
    with path.open("a") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _LOCK_IS_HELD:
                raise FileLockedError(f"{path} is locked by another process") from None
            if error.errno in _LOCKS_NOT_OFFERED:
                raise FileLocksUnsupportedError(
                    f"{path} cannot be locked: its file system offers no file locks ({error.strerror}). "
                    "Use a folder on another file system"
                ) from error
            raise
        yield  # closing the file releases the lock


def _lock(file: IO[str]) -> None:
    """Lock an open file without waiting. Raises OSError if that is not possible."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt: Any = importlib.import_module("msvcrt")
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
