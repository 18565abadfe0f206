"""Paths of clip files, and the errors for files that are missing or cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asl.contract.manifest import Clip
from asl.errors import UserError
from asl.messages import listed_lines


class ClipError(UserError):
    """A clip of the manifest whose file is missing or cannot be read."""

    def __init__(self, message: str) -> None:
        # DataLoader raises a worker's error again with the worker's traceback before the message: drop it.
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


_CUT_AGAIN = (
    "The file was damaged or changed after the manifest was written. Delete it, then cut it again "
    "and write the manifest anew with: python preprocess.py"
)


def unreadable_clip(clip: Clip, path: Path, reason: str, *, remedy: str = _CUT_AGAIN) -> ClipError:
    """Return the error for a clip that cannot be decoded. The message says how to replace the file.

    Args:
        clip: row of the manifest.
        path: the clip's file, or that of its frames.
        reason: what is wrong with the file.
        remedy: how to replace it.
    """
    return ClipError(
        f"clip {clip.video_id} ({clip.gloss!r}, {clip.split}) cannot be read: {reason}\n"
        f"  file: {path}\n{remedy}"
    )


def clip_paths(clips: Sequence[Clip], data_dir: Path) -> list[Path]:
    """Return the file of each clip.

    Raises:
        ClipError: files are missing. The message has their number and the first few.
    """
    paths = [data_dir / clip.path for clip in clips]
    missing = [
        f"{clip.video_id}: {path}" for clip, path in zip(clips, paths, strict=True) if not path.is_file()
    ]
    if missing:
        raise ClipError(
            f"{len(missing)} of {len(clips)} clips in the manifest have no file:\n{listed_lines(missing)}\n"
            "Write the clips and the manifest anew with: python preprocess.py "
            "(paths in the manifest are relative to paths.data_dir)"
        )
    return paths
