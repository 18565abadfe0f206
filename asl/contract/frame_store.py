"""Stored frames: one file per clip with its decoded frames, small and uncompressed.

``preprocess.py`` stores the frames while it proves a clip. ``train.py`` reads them, and stores those that are
missing. A file is a safetensors file with ``frames`` (T, H, W, 3) uint8 and ``times_s`` (T,) float64; it can
be mapped into memory. Its header says from which source and segment and with which settings it was made, and
which part of the pictures it holds, so that frames of another clip are not used by mistake::

    data/frames/25fps_128px/69241.safetensors

Files of many clips can be packed, see :mod:`asl.contract.frame_packs`. They are read by the same path.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asl.config.setting import setting
from asl.contract.frame_packs import open_packed, packed_files
from asl.contract.manifest import Box
from asl.contract.time_grid import grid_length
from asl.errors import UserError
from asl.files import atomic_write, temp_path
from asl.messages import format_bytes

VERSION = 1  # increase it when the same clip and settings give different frames

#: Value of ``frames.crop`` and ``data.crop``.
SIGNER = "signer"

#: The stored square is larger by it than ``frames.enlarge`` says: of 128 pixels, training chooses 112.
MARGIN = 128 / 112

Frames = npt.NDArray[np.uint8]  # (T, H, W, 3), RGB
_CHANNELS = 3
_ROUNDING = 1e-6  # pixels by which a product of shares may be off
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
    crop: str = setting(
        "none",
        "signer: store only the square around the signer's box, for data.crop=signer; the whole picture "
        "where there is none",
        choices=["none", SIGNER],
    )
    enlarge: float = setting(1.2, "crop=signer: the largest data.enlarge for which the square suffices", gt=0)

    @property
    def name(self) -> str:
        """Name of the folder for frames with these settings: ``25fps_128px``, ``native_128px_signer1.2``."""
        name = ("native" if self.fps is None else f"{self.fps:g}fps") + f"_{self.short_side}px"
        return name if self.crop != SIGNER else f"{name}_{SIGNER}{self.enlarge:g}"

    def part(self, width: int, height: int, box: Box | None) -> Box | None:
        """The part of a picture of ``width`` x ``height`` pixels that is stored. None: all of it.

        With ``crop=signer`` it is the square around the signer's box, moved inside the picture and no larger
        than it. So it has all that training may ask for, whether or not its own square is moved inside. Its
        edges are even, as samples of colour are of 2x2 pixels.

        >>> FrameSpec(crop="signer").part(640, 360, (0.1, 0.25, 0.3, 0.75))
        (0.00625, 0.15555555555555556, 0.39375, 0.8444444444444444)
        """
        if self.crop != SIGNER or box is None:
            return None
        left, top, right, bottom = box
        side = longer_side(box, width, height) * self.enlarge * MARGIN
        first_column, end_column = _moved_inside(width * (left + right) / 2, side, width)
        first_row, end_row = _moved_inside(height * (top + bottom) / 2, side, height)
        if (end_column - first_column, end_row - first_row) == (width, height):
            return None
        return first_column / width, first_row / height, end_column / width, end_row / height

    def size(self, width: int, height: int) -> tuple[int, int]:
        """``(height, width)`` of the stored frames of pictures, or parts of them, of so many pixels.

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


def longer_side(box: Box, width: int, height: int) -> float:
    """The longer side in pixels of a box in a picture of ``width`` x ``height`` pixels."""
    left, top, right, bottom = box
    return max(height * (bottom - top), width * (right - left))


def _moved_inside(middle: float, side: float, length: int) -> tuple[int, int]:
    """The pixels ``[first, end)`` of one axis, even numbers, that hold a square which is moved inside."""
    side = min(side, length)
    start = min(max(middle - side / 2, 0.0), length - side)
    first, end = math.floor((start + _ROUNDING) / 2), math.ceil((start + side - _ROUNDING) / 2)
    return 2 * first, min(2 * end, length)


def part_pixels(part: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of a part of a picture of ``width`` x ``height`` pixels."""
    if part is None:
        return 0, 0, width, height
    left, top, right, bottom = (round(edge * n) for edge, n in zip(part, 2 * (width, height), strict=True))
    return left, top, right - left, bottom - top


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The source, segment and settings from which a file of frames was made. It is part of the header."""

    key: str  # hash of everything that decides the frames, see origin()
    source: str  # name of the raw file or of the clip's file
    start_s: float  # the frames are of [start_s, end_s) of it
    end_s: float  # -1: to the end
    fps: float | None
    short_side: int
    version: int = VERSION
    part: Box | None = None  # of the pictures; None: the whole pictures


def origin(
    spec: FrameSpec, source: Path, start_s: float, end_s: float | None, part: Box | None = None
) -> Origin:
    """The origin of the frames of ``[start_s, end_s)`` of a file; ``end_s=None`` is its end.

    Args:
        spec: which frames are stored.
        source: the file.
        start_s: seconds.
        end_s: seconds.
        part: the result of :meth:`FrameSpec.part`.

    Raises:
        OSError: there is no such file.
    """
    stat = source.stat()
    end = -1.0 if end_s is None else float(end_s)
    decisive = [source.name, stat.st_size, stat.st_mtime_ns, float(start_s), end]
    decisive += [spec.fps, spec.short_side, VERSION, *(part or ())]
    key = hashlib.blake2b(json.dumps(decisive).encode(), digest_size=10).hexdigest()
    return Origin(
        key=key,
        source=source.name,
        start_s=float(start_s),
        end_s=end,
        fps=spec.fps,
        short_side=spec.short_side,
        part=part,
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
            return _origin_in(stored.header)
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


class StoredFrames(NamedTuple):
    """What a file of frames holds."""

    frames: Frames  # memory-mapped, read-only
    times_s: npt.NDArray[np.float64]  # (T,)
    part: Box | None  # of the clip's pictures; None: the whole pictures


def open_frames(path: Path) -> StoredFrames:
    """Open a file of frames.

    Raises:
        OSError: there is no such file.
        ValueError: the file is incomplete or has another format.
        KeyError: the header lacks an entry.
        TypeError: the header has an entry of a later version.
    """
    with _open(path) as stored:
        times, frames = (
            stored.header[name]["data_offsets"][0] + stored.start for name in ("times_s", "frames")
        )
        shape = tuple(stored.header["frames"]["shape"])
        stored.file.seek(times)
        times_s = np.fromfile(stored.file, np.float64, shape[0])
        pixels = np.memmap(stored.file, np.uint8, "r", frames, shape)
        return StoredFrames(pixels, times_s, _origin_in(stored.header).part)


def _origin_in(header: dict[str, Any]) -> Origin:
    made_from = Origin(**json.loads(header["__metadata__"]["origin"]))
    if made_from.part is None:
        return made_from
    left, top, right, bottom = map(float, made_from.part)
    return dataclasses.replace(made_from, part=(left, top, right, bottom))  # JSON has lists


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
        file, first, size = open_packed(path)
    with file:
        file.seek(first)
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        yield _Stored(file, header, first + 8 + length, size - 8 - length)


def forget_frames(folder: Path, video_ids: Iterable[str]) -> None:
    """Delete the frames of clips that are about to be cut again, those of all settings.

    Where a pack has them, an empty file says that they are no longer the clip's.

    Args:
        folder: ``paths.frames_dir``. It is listed once, whatever the number of clips.
        video_ids: of the clips.
    """
    names = [f"{video_id}.safetensors" for video_id in video_ids]
    for frames in filter(Path.is_dir, folder.glob("*")):
        packed = packed_files(frames)
        for name in names:
            if name in packed:
                with atomic_write(frames / name, sync=False):
                    pass
            else:
                (frames / name).unlink(missing_ok=True)


def store_bytes(spec: FrameSpec, clips: Iterable[tuple[float, int, int, int]]) -> int:
    """Bytes that the frames of clips take.

    Args:
        spec: which frames are stored.
        clips: ``(duration_s, num_frames, width, height)`` of each clip; the pixels are those of the part that
            is stored.
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
