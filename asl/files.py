"""Files that are whole or not there: written temp_path, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

#: Marks a file that is still being written, wherever asl writes one. The name starts with a dot.
PART = ".part"


def temp_path(path: Path) -> Path:
    """The name under which ``path`` is written until it is whole: same folder, same ending."""
    return path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")


def remove_temp_files(folder: Path) -> None:
    """Clear away what killed processes left half written, in the folder and below."""
    for part in folder.rglob(f".*{PART}*"):
        part.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that becomes ``path`` when the block ends well; until then ``path`` is untouched.

    The bytes are on the disk before the name is theirs, and the name changes hands within one folder,
    so a reader, also after a crash, finds the old file or the new one. ``sync=False`` leaves it to the
    system when they are on the disk: for what can be made again after the machine itself went down.
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


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode())


def atomic_link(source: Path, target: Path) -> None:
    """Give a whole file a second name, at once and without its bytes being written again.

    The two are one file until either name is given to another one, which is how files are replaced here.
    Where a file can have one name only, it is copied.
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
    """Copy a file, whole or not at all."""
    with atomic_write(target) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
