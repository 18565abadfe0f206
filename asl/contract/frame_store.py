"""Every clip decoded once: its frames, small and uncompressed, one file a clip, to be mapped into memory.

The second contract between the two programs, beside the manifest: ``preprocess.py`` writes the frames
while it proves a clip, ``train.py`` reads them and makes those that are missing. A file is a safetensors
file with ``frames`` (T, H, W, 3) uint8 and ``times_s`` (T,) float64, and says in its header what it was
made from, so that frames of another source, segment or size are never taken for the right ones::

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

VERSION = 1  # raise it when the same clip and settings give other frames

Frames = npt.NDArray[np.uint8]  # (T, H, W, 3), RGB
_CHANNELS = 3
_LONGEST_HEADER = 1 << 20  # bytes; a file of another kind may begin with any number


class FrameStoreError(UserError):
    """Frames that cannot be kept."""


@dataclass(kw_only=True)
class FrameSpec:
    """Which frames of a clip are kept, and how large."""

    fps: float | None = setting(25.0, "time grid of the kept frames; null: native frames", gt=0)
    short_side: int = setting(128, "pixels of the shorter side; smaller pictures stay as they are", ge=16)

    @property
    def name(self) -> str:
        """The folder of such frames: ``25fps_128px``, ``native_128px``."""
        return ("native" if self.fps is None else f"{self.fps:g}fps") + f"_{self.short_side}px"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """``(height, width)`` of the kept frames of a picture of ``width`` x ``height`` pixels.

        >>> FrameSpec().size(640, 480)
        (128, 171)
        """
        scale = min(1.0, self.short_side / min(width, height))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def count(self, duration_s: float, num_frames: int) -> int:
        """How many frames of a clip are kept."""
        return num_frames if self.fps is None else grid_length(round(duration_s, 6), self.fps)


@dataclass(kw_only=True)
class FrameSettings(FrameSpec):
    """Decoded frames that preprocessing keeps for training; both programs need the same settings."""

    enabled: bool = setting(True, "keep them; false: training decodes clips whenever they are drawn")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What frames were made from and how; stands in the file's header."""

    key: str  # of all that decides them, see origin()
    source: str  # the raw file's name, or the clip's
    start_s: float  # [start_s, end_s) of it; end_s is -1 for "to the end"
    end_s: float
    fps: float | None
    short_side: int
    version: int = VERSION


def origin(spec: FrameSpec, source: Path, start_s: float, end_s: float | None) -> Origin:
    """What the frames of a span of a file are made from.

    Raises:
        OSError: there is no such file.
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
    """Where the frames of a clip lie."""
    return folder / spec.name / f"{video_id}.safetensors"


def write_frames(path: Path, frames: Frames, times_s: npt.ArrayLike, made_from: Origin) -> None:
    """Write a clip's frames, whole or not at all.

    Args:
        path: see :func:`frames_path`.
        frames: ``(T, H, W, 3)`` uint8, RGB.
        times_s: ``(T,)`` seconds from the clip's first frame.
        made_from: for the header.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    from safetensors import SafetensorError  # not needed by a worker that is only asked to open files
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
    except SafetensorError as error:  # what the library makes of a full disk
        raise OSError(errno.EIO, str(error)) from error
    finally:
        part.unlink(missing_ok=True)


def read_origin(path: Path) -> Origin | None:
    """What a file of frames was made from; None: no such file, or it is none of ours."""
    try:
        return Origin(**json.loads(_header(path)[0]["__metadata__"]["origin"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_shape(path: Path) -> tuple[int, int, int, int] | None:
    """``(T, H, W, 3)`` of a file of frames, from its header; None: it is not there or not whole."""
    try:
        header, start = _header(path)
        count, height, width, channels = header["frames"]["shape"]
        end = start + max(header[name]["data_offsets"][1] for name in ("frames", "times_s"))
        whole = path.stat().st_size == end and channels == _CHANNELS
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (count, height, width, channels) if whole else None


def open_frames(path: Path) -> tuple[Frames, npt.NDArray[np.float64]]:
    """Frames ``(T, H, W, 3)``, mapped into memory and read only, and their times ``(T,)``.

    Raises:
        OSError: no such file.
        ValueError: it is not whole.
    """
    header, start = _header(path)
    times, frames = (header[name]["data_offsets"][0] + start for name in ("times_s", "frames"))
    shape = tuple(header["frames"]["shape"])
    return np.memmap(path, np.uint8, "r", frames, shape), np.fromfile(
        path, np.float64, shape[0], offset=times
    )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's header, and where its data begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _LONGEST_HEADER)))
    return header, 8 + length


def forget_frames(folder: Path, video_id: str) -> None:
    """Remove a clip's frames of every kind, because the clip becomes another one."""
    for path in folder.glob(f"*/{glob.escape(video_id)}.safetensors"):
        path.unlink(missing_ok=True)


def store_bytes(spec: FrameSpec, clips: Iterable[tuple[float, int, int, int]]) -> int:
    """Bytes that frames will take.

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
    """What the store will take, in words.

    Raises:
        FrameStoreError: the disk has less than that, with the ways out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FrameStoreError(
            f"{folder}: {error.strerror or error}. Keep frames elsewhere (paths.frames_dir=...) or not at "
            "all (frames.enabled=false)"
        ) from error
    told = f"frames of {clips} clips: {format_bytes(needed)} in {folder} ({format_bytes(free)} free)"
    if needed > free:
        raise FrameStoreError(
            f"{told}. Keep them elsewhere (paths.frames_dir=...), smaller (frames.short_side=96), or not at "
            "all (frames.enabled=false; training then decodes clips whenever they are drawn: reader=decord)"
        )
    return told
