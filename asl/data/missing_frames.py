"""Before training: which clips have no frames of the right kind yet, and these made from the clips."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asl.contract.frame_store import (
    VERSION,
    FrameSpec,
    Origin,
    check_space,
    frames_path,
    origin,
    read_origin,
    read_shape,
    store_bytes,
    write_frames,
)
from asl.contract.manifest import Clip
from asl.data.clip_files import unreadable
from asl.data.readers.decord import scalable
from asl.errors import UserError
from asl.workers import Failed, run_each

_ROUNDING_S = 1e-3  # the manifest's times have six decimals, containers' three


@dataclass(frozen=True)
class MissingFrames:
    """A clip whose frames are to be made."""

    clip: Clip
    file: Path  # of the clip
    target: Path  # of its frames
    spec: FrameSpec


def find_missing(
    clips: Sequence[Clip], files: Sequence[Path], *, folder: Path, spec: FrameSpec
) -> list[MissingFrames]:
    """The clips whose frames are not there, not whole, or of something else than the manifest says.

    Args:
        clips: rows of the manifest.
        files: the clips' own, in the same order.
        folder: ``paths.frames_dir``.
        spec: which frames are wanted.
    """
    asked = [
        MissingFrames(clip, file, frames_path(folder, spec, clip.video_id), spec)
        for clip, file in zip(clips, files, strict=True)
    ]
    return [one for one in asked if not _is_there(one)]


def make_missing(missing: Sequence[MissingFrames], *, folder: Path, timeout_s: float) -> None:
    """Make frames in worker processes, telling beforehand what space they take.

    Args:
        missing: of :func:`find_missing`.
        folder: ``paths.frames_dir``.
        timeout_s: a clip that takes longer is an error.

    Raises:
        ClipError: naming a clip that cannot be read. What was made until then stays.
        FrameStoreError: the disk has not the space.
        UserError: the frames cannot be written.
    """
    if not missing:
        return
    console = Console()
    needed = sum(store_bytes(one.spec, [_measures(one.clip)]) for one in missing)
    console.print(check_space(folder, needed, len(missing)), soft_wrap=True, markup=False, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("decoding clips once", total=len(missing))
        for ended in run_each(
            make_frames, missing, timeout_s=timeout_s, preload=[__name__, "safetensors.numpy"]
        ):
            if isinstance(ended, Failed):
                raise _explained(ended)
            progress.advance(bar)


def make_frames(one: MissingFrames) -> None:
    """Decode a clip once and keep its frames. Runs in a process that may be killed.

    Raises:
        ClipError: it cannot be read.
        OSError: the frames cannot be written.
    """
    height, width = one.spec.size(one.clip.width, one.clip.height)
    decoded = (height, width)
    if not scalable(width):
        decoded = one.clip.height, next(w for w in itertools.count(one.clip.width) if scalable(w))
    frames, times_s = read_all_frames(one.clip, one.file, size=decoded, fps=one.spec.fps)
    if decoded != (height, width):
        import torch  # takes longer to import than most clips to decode

        from asl.data.stored_frames import scaled

        torch.set_num_threads(1)
        frames = np.concatenate([scaled(torch.from_numpy(f[None]), (height, width)).numpy() for f in frames])
    write_frames(one.target, frames, times_s, origin(one.spec, one.file, 0.0, None))


def _is_there(one: MissingFrames) -> bool:
    clip, spec = one.clip, one.spec
    shape = (spec.count(clip.duration_s, clip.num_frames), *spec.size(clip.width, clip.height), 3)
    if read_shape(one.target) != shape:
        return False
    made_from = read_origin(one.target)
    if made_from is None or made_from.version != VERSION:
        return False
    if (made_from.fps, made_from.short_side) != (spec.fps, spec.short_side):
        return False
    return _is_of_segment(made_from, clip) or made_from == origin(spec, one.file, 0.0, None)


def _is_of_segment(made_from: Origin, clip: Clip) -> bool:
    """Made from the raw file's segment that the manifest names; the raw file itself may be gone."""
    return (
        made_from.source == Path(clip.source).name
        and abs(made_from.start_s - clip.start_s) <= _ROUNDING_S
        # A segment may be asked for a little past the file's end, or to the end, wherever that is.
        and (made_from.end_s < 0 or made_from.end_s >= clip.end_s - _ROUNDING_S)
    )


def _measures(clip: Clip) -> tuple[float, int, int, int]:
    return clip.duration_s, clip.num_frames, clip.width, clip.height


def _explained(failed: Failed[MissingFrames]) -> BaseException:
    """What to raise: the clip's fault, the disk's, or whatever else it was."""
    one, error = failed.task, failed.error
    if isinstance(error, OSError):
        why = error.strerror or error
        return UserError(f"{one.target}: {why}; keep frames elsewhere: paths.frames_dir=...")
    return error or unreadable(one.clip, one.file, failed.message)  # hung or crashed
