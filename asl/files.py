"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import os
from pathlib import Path

#: Marks a file that is still being written, wherever asl writes one. The name starts with a dot.
PART = ".part"


def beside(path: Path) -> Path:
    """The name under which ``path`` is written until it is whole: same folder, same ending."""
    return path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")


def write_beside(path: Path, text: str) -> None:
    """Write a text file so that a reader never sees half of it, whenever this process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = beside(path)
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
