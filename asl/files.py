"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

#: Marks a file that is still being written, wherever asl writes one. The name starts with a dot.
PART = ".part"


def beside(path: Path) -> Path:
    """The name under which ``path`` is written until it is whole: same folder, same ending."""
    return path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")


def remove_parts(folder: Path) -> None:
    """Clear away what killed processes left half written, in the folder and below."""
    for part in folder.rglob(f".*{PART}*"):
        part.unlink(missing_ok=True)


@contextmanager
def written_beside(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that becomes ``path`` when the block ends well; until then ``path`` is untouched.

    The bytes are on the disk before the name is theirs, and the name changes hands within one folder,
    so a reader, also after a crash, finds the old file or the new one. ``sync=False`` leaves it to the
    system when they are on the disk: for what can be made again after the machine itself went down.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = beside(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_beside(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all."""
    with written_beside(path) as file:
        file.write(text.encode())


def link_beside(source: Path, target: Path) -> None:
    """Give a whole file a second name, at once and without its bytes being written again.

    The two are one file until either name is given to another one, which is how files are replaced here.
    Where a file can have one name only, it is copied.
    """
    part = beside(target)
    try:
        os.link(source, part)
        part.replace(target)
    except OSError:
        copy_beside(source, target)
    finally:
        part.unlink(missing_ok=True)


def copy_beside(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with written_beside(target) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
