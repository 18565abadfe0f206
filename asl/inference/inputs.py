"""The videos that ``input=`` names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from asl.codecs.video_file import VIDEO_SUFFIXES
from asl.errors import UserError

_CAMERA = re.compile(r"camera:(\d+)")


class InputError(UserError):
    """An ``input`` that names no video."""


def find_videos(names: Sequence[str]) -> list[Path]:
    """The files that names stand for, in their order, each once.

    Args:
        names: a file, which need not exist; a folder, of which all videos are taken, in its folders too, but
            hidden ones; or a pattern with ``*``, ``?`` or ``**``.

    Raises:
        InputError: a folder has no video, or nothing fits a pattern.
    """
    return list(dict.fromkeys(file for name in names for file in _files(name)))


def _files(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        files = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".") and file.is_file()
        ]
        if not files:
            raise InputError(f"input={name}: the folder has no video ({', '.join(VIDEO_SUFFIXES)})")
        return files
    if path.exists() or not set("*?[") & set(name):
        return [path]
    anchor = Path(path.anchor)
    files = sorted(file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file())
    if not files:
        raise InputError(f"input={name}: no file fits this pattern")
    return files


def camera_number(names: Sequence[str]) -> int | None:
    """The number of the camera that ``camera:0`` names. None if there is none.

    Raises:
        InputError: there are other inputs beside it, or no input at all.
    """
    if not names:
        raise InputError("input: name a video, a folder, a pattern ('clips/*.mp4') or a camera (camera:0)")
    numbers = [int(match[1]) for name in names if (match := _CAMERA.fullmatch(name))]
    if numbers and len(names) > 1:
        raise InputError(f"input=[{','.join(names)}]: a camera is the only input, as input=camera:0")
    return numbers[0] if numbers else None
