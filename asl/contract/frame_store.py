"""Decoded frames of clips: scaled down, uncompressed, one memory-mapped file per clip.

Besides the manifest, this is the contract between the two programs: ``preprocess.py`` writes the frames
while it proves a clip; ``train.py`` reads them and makes those that are missing. A file is a safetensors
file with ``frames`` (T, H, W, 3) uint8 and ``times_s`` (T,) float64. Its header has the origin of the
frames, so that those of another source, segment or size are never mistaken for the right ones::

    data/frames/25fps_128px/69241.safetensors
"""

from __future__ import annotations

import dataclasses
import errno
import glob
import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.config.setting import setting
from asl.contract.time_grid import grid_length
from asl.errors import UserError
from asl.files import temp_path
from asl.messages import format_bytes

VERSION = 1  # increase it whenever the same clip and settings give other frames

Frames = npt.NDArray[np.uint8]  # (T, H, W, 3), RGB
_CHANNELS = 3
_LONGEST_HEADER = 1 << 20  # bytes; another kind of file can begin with any number


class FrameStoreError(UserError):
    """Frames cannot be stored."""


@dataclass(kw_only=True)
class FrameSpec:
    """Which frames of a clip are stored, and their size."""

    fps: float | None = setting(25.0, "time grid of the kept frames; null: native frames", gt=0)
    short_side: int = setting(128, "pixels of the shorter side; smaller pictures stay as they are", ge=16)

    @property
    def name(self) -> str:
        """The folder name of such frames: ``25fps_128px``, ``native_128px``."""
        return ("native" if self.fps is None else f"{self.fps:g}fps") + f"_{self.short_side}px"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """``(height, width)`` of the stored frames of a video of ``width`` x ``height`` pixels.

        >>> FrameSpec().size(640, 480)
        (128, 171)
        """
        scale = min(1.0, self.short_side / min(width, height))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def count(self, duration_s: float, num_frames: int) -> int:
        """The number of frames stored of a clip."""
        return num_frames if self.fps is None else grid_length(round(duration_s, 6), self.fps)


@dataclass(kw_only=True)
class FrameSettings(FrameSpec):
    """Decoded frames that preprocessing keeps for training; both programs need the same settings."""

    enabled: bool = setting(True, "keep them; false: training decodes clips whenever they are drawn")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source and the settings from which frames were made; stored in the file's header."""

    key: str  # hash of everything that determines the frames, see origin()
    source: str  # the raw file's name, or the clip's
    start_s: float  # [start_s, end_s) of it; end_s is -1 for "to the end"
    end_s: float
    fps: float | None
    short_side: int
    version: int = VERSION


def origin(spec: FrameSpec, source: Path, start_s: float, end_s: float | None) -> Origin:
    """The origin of frames of the span ``[start_s, end_s)`` of a file.

    Args:
        spec: which frames.
        source: the raw file or the clip.
        start_s: seconds from its first frame.
        end_s: None for "to the end".

    Raises:
        OSError: the file does not exist.
    """
    stat = source.stat()
    end = -1.0 if end_s is None else float(end_s)
    decides = [source.name, stat.st_size, stat.st_mtime_ns, float(start_s), end]
    decides += [spec.fps, spec.short_side, VERSION]
    key = hashlib.blake2b(json.dumps(decides).encode(), digest_size=10).hexdigest()
    return Origin(
        key=key,
        source=source.name,
        start_s=float(start_s),
        end_s=end,
        fps=spec.fps,
        short_side=spec.short_side,
    )


def frames_path(folder: Path, spec: FrameSpec, video_id: str) -> Path:
    """The file of a clip's frames."""
    return folder / spec.name / f"{video_id}.safetensors"


def write_frames(path: Path, frames: Frames, times_s: npt.ArrayLike, made_from: Origin) -> None:
    """Write a clip's frames atomically.

    Args:
        path: see :func:`frames_path`.
        frames: ``(T, H, W, 3)`` uint8, RGB.
        times_s: ``(T,)`` seconds from the clip's first frame.
        made_from: their origin, for the header.

    Raises:
        OSError: the disk is full, or the folder is not writable.
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


def read_origin(path: Path) -> Origin | None:
    """The origin of a file of frames. None if the file is missing or of another kind."""
    try:
        return Origin(**json.loads(_header(path)[0]["__metadata__"]["origin"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_shape(path: Path) -> tuple[int, int, int, int] | None:
    """The shape ``(T, H, W, 3)`` in a file's header. None if the file is missing or incomplete."""
    try:
        header, start = _header(path)
        count, height, width, channels = header["frames"]["shape"]
        end = start + max(header[name]["data_offsets"][1] for name in ("frames", "times_s"))
        whole = path.stat().st_size == end and channels == _CHANNELS
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (count, height, width, channels) if whole else None


def open_frames(path: Path) -> tuple[Frames, npt.NDArray[np.float64]]:
    """The frames ``(T, H, W, 3)``, memory-mapped read-only, and their times ``(T,)`` in seconds.

    Raises:
        OSError: the file does not exist.
        ValueError: it is incomplete.
    """
    header, start = _header(path)
    times, frames = (header[name]["data_offsets"][0] + start for name in ("times_s", "frames"))
    shape = tuple(header["frames"]["shape"])
    return np.memmap(path, np.uint8, "r", frames, shape), np.fromfile(
        path, np.float64, shape[0], offset=times
    )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and the position of its data in bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _LONGEST_HEADER)))
    return header, 8 + length


def forget_frames(folder: Path, video_id: str) -> None:
    """Remove a clip's frames of every spec. Call it before the clip is replaced by another."""
    for path in folder.glob(f"*/{glob.escape(video_id)}.safetensors"):
        path.unlink(missing_ok=True)


def store_bytes(spec: FrameSpec, clips: Iterable[tuple[float, int, int, int]]) -> int:
    """The number of bytes that the frames of clips need.

    Args:
        spec: which frames.
        clips: ``(duration_s, num_frames, width, height)`` of each clip.
    """
    total = 0
    for duration_s, num_frames, width, height in clips:
        rows, columns = spec.size(width, height)
        total += spec.count(duration_s, num_frames) * rows * columns * _CHANNELS
    return total


def check_space(folder: Path, needed: int, clips: int) -> str:
    """Check that frames fit on the disk; creates the folder if missing.

    Args:
        folder: ``paths.frames_dir``.
        needed: bytes.
        clips: number of clips, for the message.

    Returns:
        A message with the bytes needed and free.

    Raises:
        FrameStoreError: there is not enough space, or the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FrameStoreError(
            f"{folder}: {error.strerror or error}. Keep frames elsewhere (paths.frames_dir=...) or not at "
            "all (frames.enabled=false)"
        ) from error
    message = f"frames of {clips} clips: {format_bytes(needed)} in {folder} ({format_bytes(free)} free)"
    if needed > free:
        raise FrameStoreError(
            f"{message}. Keep them elsewhere (paths.frames_dir=...), smaller (frames.short_side=96), or not "
            "at all (frames.enabled=false; training then decodes clips whenever they are drawn: "
            "reader=decord)"
        )
    return message
