"""Addresses of what a page shows: pictures inside the page, files beside it."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG as a ``data:`` URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def link_to(file: Path, folder: Path) -> str:
    """The address of a file relative to the page's folder, for ``href``."""
    relative = Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    return quote(relative.encode("utf-8", "surrogateescape"))
