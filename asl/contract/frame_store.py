"""Stored frames: one file per clip with its decoded frames, small and uncompressed.

``preprocess.py`` stores the frames while it proves a clip. ``train.py`` reads them, and stores those that are
missing. A file is a safetensors file with ``frames`` (T, H, W, 3) uint8 and ``times_s`` (T,) float64; it can
be mapped into memory. Its header says from which source and segment and with which settings it was made, so
that frames of another clip are not used by mistake::

    data/frames/25fps_128px/69241.safetensors

Files of many clips can be packed, see :mod:`asl.contract.frame_packs`. They are read by the same path.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from asl.config.setting import setting
from asl.contract.frame_packs import packed_files
from asl.contract.time_grid import grid_length
from asl.errors import UserError
from asl.files import atomic_write, temp_path
from asl.messages import format_bytes

VERSION = 1  # increase it when the same clip and settings give different frames

Frames = npt.NDArray[np.uint8]  # (T, H, W, 3), RGB
_CHANNELS = 3
_MAX_HEADER_BYTES = 1 << 20  # a file of another format may declare any length


class FrameStoreError(UserError):
    """Frames that cannot be stored."""


@dataclass(kw_only=True)
class FrameSpec:
    """Which frames of a clip are stored, and their size."""

    fps: float | None = setting(
        25.0, "time grid of the stored frames, points per second; null: native frames", gt=0
    )
    short_side: int = setting(128, "pixels of the shorter side; smaller pictures are not enlarged", ge=16)

    @property
    def name(self) -> str:
        """Name of the folder for frames with these settings: ``25fps_128px``, ``native_128px``."""
        return ("native" if self.fps is None else f"{self.fps:g}fps") + f"_{self.short_side}px"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """``(height, width)`` of the stored frames of a video of ``width`` x ``height`` pixels.

        >>> FrameSpec().size(640, 480)
        (128, 171)
        """
        scale = min(1.0, self.short_side / min(width, height))
        return round(height * scale), round(width * scale)

    def count(self, duration_s: float, num_frames: int) -> int:
        """Number of frames that are stored of a clip of ``duration_s`` seconds and ``num_frames`` frames."""
        return num_frames if self.fps is None else grid_length(round(duration_s, 6), self.fps)


@dataclass(kw_only=True)
class FrameSettings(FrameSpec):
    """Stored frames. ``preprocess.py`` and ``train.py`` need the same settings."""

    enabled: bool = setting(True, "store frames; false: training decodes clips each time they are drawn")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source, segment and settings from which a file of frames was made. It is part of the header."""

    key: str  # hash of everything that decides the frames, see origin()
    source: str  # name of the raw file or of the clip's file
    start_s: float  # the frames are of [start_s, end_s) of it
    end_s: float  # -1: to the end
    fps: float | None
    short_side: int
    version: int = VERSION


def origin(spec: FrameSpec, source: Path, start_s: float, end_s: float | None) -> Origin:
    """The origin of the frames of ``[start_s, end_s)`` of a file; ``end_s=None`` is its end.

    Raises:
        OSError: there is no such file.
    """
    stat = source.stat()
    end = -1.0 if end_s is None else float(end_s)
    decisive = [source.name, stat.st_size, stat.st_mtime_ns, float(start_s), end]
    decisive += [spec.fps, spec.short_side, VERSION]
    key = hashlib.blake2b(json.dumps(decisive).encode(), digest_size=10).hexdigest()
    return Origin(
        key=key,
        source=source.name,
        start_s=float(start_s),
        end_s=end,
        fps=spec.fps,
        short_side=spec.short_side,
    )


def frames_path(folder: Path, spec: FrameSpec, video_id: str) -> Path:
    """The file with the frames of a clip in ``folder`` (``paths.frames_dir``)."""
    return folder / spec.name / f"{video_id}.safetensors"


def write_frames(path: Path, frames: Frames, times_s: npt.ArrayLike, made_from: Origin) -> None:
    """Write the frames of a clip atomically.

    Args:
        path: the result of :func:`frames_path`.
        frames: ``(T, H, W, 3)`` uint8, RGB.
        times_s: ``(T,)`` time stamps in seconds, counted from the clip's first frame.
        made_from: written into the header.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    from safetensors import SafetensorError  # workers that only open files do not need it
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = temp_path(path)
    tensors: dict[str, npt.NDArray[Any]] = {
        "frames": np.ascontiguousarray(frames),
        "times_s": np.asarray(times_s, np.float64),
    }
    try:
        save_file(tensors, part, metadata={"origin": json.dumps(dataclasses.asdict(made_from))})
        part.replace(path)
    except SafetensorError as error:  # raised by the library if the disk is full
        raise OSError(errno.EIO, str(error)) from error
    finally:
        part.unlink(missing_ok=True)


def has_frames(path: Path) -> bool:
    """Whether there is a file of frames, in whatever state, or a pack has it."""
    return path.exists() or path.name in packed_files(path.parent)


def read_origin(path: Path) -> Origin | None:
    """The origin in the header of a file of frames. None if the file is missing or has another format."""
    try:
        with _open(path) as stored:
            return Origin(**json.loads(stored.header["__metadata__"]["origin"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_shape(path: Path) -> tuple[int, int, int, int] | None:
    """``(T, H, W, 3)`` from the header of a file of frames. None if the file is missing or incomplete."""
    try:
        with _open(path) as stored:
            count, height, width, channels = stored.header["frames"]["shape"]
            end = max(stored.header[name]["data_offsets"][1] for name in ("frames", "times_s"))
            complete = stored.num_bytes == end and channels == _CHANNELS
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (count, height, width, channels) if complete else None


def open_frames(path: Path) -> tuple[Frames, npt.NDArray[np.float64]]:
    """Open a file of frames.

    Returns:
        ``(T, H, W, 3)`` uint8, memory-mapped and read-only, and ``(T,)`` times in seconds.

    Raises:
        OSError: there is no such file.
        ValueError: the file is incomplete or has another format.
        KeyError: the header lacks an entry.
    """
    with _open(path) as stored:
        times, frames = (
            stored.header[name]["data_offsets"][0] + stored.start for name in ("times_s", "frames")
        )
        shape = tuple(stored.header["frames"]["shape"])
        stored.file.seek(times)
        times_s = np.fromfile(stored.file, np.float64, shape[0])
        return np.memmap(stored.file, np.uint8, "r", frames, shape), times_s


@dataclass(frozen=True)
class _Stored:
    """An open file of frames, or a pack that has it."""

    file: IO[bytes]
    header: dict[str, Any]  # of safetensors
    start: int  # byte at which the data begin
    num_bytes: int  # of the data


@contextmanager
def _open(path: Path) -> Iterator[_Stored]:
    file: IO[bytes]
    try:
        file, first = path.open("rb"), 0
        size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        packed = packed_files(path.parent).get(path.name)
        if packed is None:
            raise
        (file, first), size = packed.open(), packed.size
    with file:
        file.seek(first)
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        yield _Stored(file, header, first + 8 + length, size - 8 - length)


def forget_frames(folder: Path, video_id: str) -> None:
    """Delete the frames of a clip that is about to be cut again, those of all settings.

    Where a pack has them, an empty file says that they are no longer the clip's.
    """
    name = f"{video_id}.safetensors"
    for frames in filter(Path.is_dir, folder.glob("*")):
        if name in packed_files(frames):
            with atomic_write(frames / name, sync=False):
                pass
        else:
            (frames / name).unlink(missing_ok=True)


def store_bytes(spec: FrameSpec, clips: Iterable[tuple[float, int, int, int]]) -> int:
    """Bytes that the frames of clips take.

    Args:
        spec: which frames are stored.
        clips: ``(duration_s, num_frames, width, height)`` of each clip.
    """
    total = 0
    for duration_s, num_frames, width, height in clips:
        rows, columns = spec.size(width, height)
        total += spec.count(duration_s, num_frames) * rows * columns * _CHANNELS
    return total


def check_space(folder: Path, needed: int, clips: int) -> str:
    """Check that the disk has enough space for frames. Creates the folder.

    Args:
        folder: ``paths.frames_dir``.
        needed: bytes.
        clips: number of clips, for the message.

    Returns:
        One line with the space that is needed and the space that is free.

    Raises:
        FrameStoreError: there is less free space, or the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FrameStoreError(
            f"{folder}: {error.strerror or error}. Store frames elsewhere (paths.frames_dir=...) or not "
            "at all (frames.enabled=false)"
        ) from error
    summary = f"frames of {clips} clips: {format_bytes(needed)} in {folder} ({format_bytes(free)} free)"
    if needed > free:
        raise FrameStoreError(
            f"{summary}. Store them elsewhere (paths.frames_dir=...), smaller (frames.short_side=96), or not "
            "at all (frames.enabled=false; training then decodes clips when they are drawn: reader=decord)"
        )
    return summary
