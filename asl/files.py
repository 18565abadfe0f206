"""Read and write files. A file is written under a temporary name and renamed when complete."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

#: Part of the name of every file that is not complete yet; these names start with a dot.
PART = ".part"


def temp_path(path: Path) -> Path:
    """The name under which ``path`` is written until it is complete: same folder, same suffix."""
    return path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")


def remove_temp_files(folder: Path, *, subfolders: bool = True) -> None:
    """Remove incomplete files that killed processes left in the folder, and in its ``subfolders``."""
    pattern = f".*{PART}*"
    for part in folder.rglob(pattern) if subfolders else folder.glob(pattern):
        part.unlink(missing_ok=True)


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
