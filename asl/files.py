"""Read and write files. A file is written under a temporary name and renamed when complete."""

from __future__ import annotations

import csv
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from asl.machine import is_running, process_space

#: Part of the name of every file that is not complete yet; these names start with a dot.
PART = ".part"

_WRITER = re.compile(rf"\.([0-9a-f]{{8}})-(\d+){re.escape(PART)}")

#: An incomplete file that is older was left by a process that has ended, on whatever machine it ran.
_ABANDONED_S = 86_400


def temp_path(path: Path, *, pid: int | None = None) -> Path:
    """The name under which ``path`` is written until it is complete: same folder, same suffix.

    Args:
        path: the file.
        pid: of the process that the file belongs to; None: of this one. Together with its
            :func:`~asl.machine.process_space` it is a part of the name.
    """
    return path.with_name(f".{path.stem}.{process_space()}-{pid or os.getpid()}{PART}{path.suffix}")


def is_abandoned(name: str, path: Path | os.DirEntry[str], *, own: bool = False) -> bool:
    """Whether a file is incomplete and its process has ended.

    Processes of other machines cannot be seen: of theirs, files older than a day count.

    Args:
        name: of the file.
        path: the file.
        own: whether this process counts as ended.
    """
    if not (name.startswith(".") and PART in name):
        return False
    writer = _WRITER.search(name)
    if writer and writer[1] == process_space():
        pid = int(writer[2])
        return own if pid == os.getpid() else not is_running(pid)
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED_S
    except OSError:  # it has just been renamed or removed
        return False


def remove_temp_files(folder: Path, *, subfolders: bool = True, own: bool = False) -> list[str]:
    """Remove incomplete files of processes that have ended, see :func:`is_abandoned`.

    Args:
        folder: where to look; it may be missing.
        subfolders: whether to look in its subfolders, too. Links are not followed.
        own: whether to remove those of this process, too.

    Returns:
        The other files but hidden ones, as POSIX paths relative to the folder, in any order.
    """
    others = []
    for path, entry in walk_files(folder, subfolders=subfolders):
        if is_abandoned(entry.name, entry, own=own):
            Path(entry.path).unlink(missing_ok=True)
        elif not entry.name.startswith("."):
            others.append(path)
    return others


def walk_files(
    folder: Path, *, subfolders: bool = True, without: Path | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a folder, in any order, each after its POSIX path relative to the folder.

    Links to folders are not followed.

    Args:
        folder: where to look; it may be missing.
        subfolders: whether to look in its subfolders, too.
        without: a subfolder that is left out, as :meth:`Path.resolve` returns it.
    """
    waiting = [(str(folder), "")]
    while waiting:
        path, start = waiting.pop()
        try:
            entries = os.scandir(path)
        except FileNotFoundError:  # another process has removed it
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if subfolders and not (without and Path(entry.path).resolve() == without):
                        waiting.append((entry.path, f"{start}{entry.name}/"))
                elif entry.is_file():
                    yield start + entry.name, entry


def write_new(path: Path, text: str) -> bool:
    """Write a text file, UTF-8, atomically, unless it exists. Returns whether it was written.

    Of several machines that try it at the same moment, one succeeds. Where the file system has no hard links,
    more than one may.
    """
    part = temp_path(path)
    try:
        with part.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:
        if path.exists():
            return False
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


@contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` when the block ends without an exception.

    A reader finds the old file or the complete new one at any time, also after a crash.

    Args:
        path: the file; its folder is created if missing.
        sync: flush the bytes to disk before the file is renamed. False is faster, but a power failure can
            leave a damaged file: for files that can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = temp_path(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush the names of the files in a folder to disk, such as after a rename. No effect on Windows."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def atomic_write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file, UTF-8, atomically, see :func:`atomic_write`."""
    with atomic_write(path, sync=sync) as file:
        file.write(text.encode())


def atomic_link(source: Path, target: Path) -> None:
    """Replace ``target`` by a hard link to ``source``, or by a copy where links are not possible.

    Replacing one of the two afterwards, as :func:`atomic_write` does, leaves the other as it is.
    """
    part = temp_path(target)
    try:
        os.link(source, part)
        part.replace(target)
    except OSError:
        atomic_copy(source, target)
    finally:
        part.unlink(missing_ok=True)


def atomic_copy(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    with atomic_write(target) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)


def read_csv(
    path: Path, *, delimiter: str = ",", columns: Sequence[str] | None = None
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a CSV file in UTF-8, and its rows by column, each with the number of its last line.

    Values that a row lacks are empty. A byte order mark, which Excel writes, is ignored.

    Args:
        path: the file.
        delimiter: between values.
        columns: their names if the file has no header. None: its first line names them.

    Raises:
        OSError: the file cannot be opened.
        UnicodeDecodeError: the file is not in UTF-8.
        csv.Error: the file is not CSV.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, columns, delimiter=delimiter, restval="")
        return list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
