"""Find the clips whose frames are not stored, and decode and store them before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asl.codecs.decoder import decode_file
from asl.codecs.frame_collector import FrameCollector, FramesRequest
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import (
    VERSION,
    FrameSpec,
    Origin,
    check_space,
    frames_path,
    origin,
    part_pixels,
    read_origin,
    read_shape,
)
from asl.contract.manifest import Box, Clip
from asl.data.clip_files import unreadable_clip
from asl.data.frames.store import FrameStore
from asl.errors import UserError
from asl.terminal import count_progress, print_text
from asl.workers import Failed, run_each

_ROUNDING_S = 1e-3  # times have six decimals in the manifest, three in some containers


@dataclass(frozen=True)
class MissingFrames:
    """A clip whose frames are to be decoded and stored."""

    clip: Clip
    file: Path  # the clip's video file
    target: Path  # the file of its frames
    spec: FrameSpec

    @property
    def part(self) -> Box | None:
        """The part of the clip's pictures that is stored. None: the whole pictures."""
        return self.spec.part(self.clip.width, self.clip.height, self.clip.signer_box)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of that part."""
        return part_pixels(self.part, self.clip.width, self.clip.height)[2:]


def find_missing(
    clips: Sequence[Clip], files: Sequence[Path], *, folder: Path, spec: FrameSpec
) -> list[MissingFrames]:
    """The clips whose stored frames are absent, incomplete, or made from another source or segment.

    Args:
        clips: rows of the manifest.
        files: the clips' video files, in the same order.
        folder: ``paths.frames_dir``.
        spec: which frames are needed.
    """
    needed = [
        MissingFrames(clip, file, frames_path(folder, spec, clip.video_id), spec)
        for clip, file in zip(clips, files, strict=True)
    ]
    return [one for one in needed if not _is_stored(one)]


def make_missing(missing: Sequence[MissingFrames], *, folder: Path, timeout_s: float) -> None:
    """Decode clips in worker processes and store their frames. Prints the disk space needed, and progress.

    Args:
        missing: the result of :func:`find_missing`.
        folder: ``paths.frames_dir``.
        timeout_s: time limit for one clip in seconds.

    Raises:
        ClipError: a clip cannot be read or exceeds the time limit. Frames stored until then are kept.
        FrameStoreError: there is not enough free disk space.
        UserError: the frames cannot be written.
    """
    if not missing:
        return
    console = Console()
    store = FrameStore(folder=folder, spec=missing[0].spec)
    needed_bytes = store.num_bytes(one.clip for one in missing)
    print_text(console, check_space(folder, needed_bytes, len(missing)))
    with count_progress(console) as progress:
        bar = progress.add_task("decoding clips", total=len(missing))
        for ended in run_each(
            make_frames, missing, timeout_s=timeout_s, preload=[__name__, "safetensors.numpy"]
        ):
            if isinstance(ended, Failed):
                raise _explained(ended)
            progress.advance(bar)


def make_frames(one: MissingFrames) -> None:
    """Decode one clip and store its frames. Run this in a worker process: decoders can hang or crash.

    Raises:
        ClipError: the clip cannot be decoded, or is not the one that the manifest describes.
        OSError: the frames cannot be written.
    """
    clip = one.clip
    collector = FrameCollector(one.spec, one.part)
    try:
        decoded = decode_file(one.file, on_frame=collector.add)
    except VideoError as error:
        raise unreadable_clip(clip, one.file, f"the file {error}") from error
    num_frames, info = len(decoded.timeline.times), decoded.info
    if num_frames < clip.num_frames:
        raise unreadable_clip(
            clip, one.file, f"it has {num_frames} frames, the manifest says {clip.num_frames}"
        )
    if (info.width, info.height) != (clip.width, clip.height):
        size, expected = f"{info.width}x{info.height}", f"{clip.width}x{clip.height}"
        raise unreadable_clip(clip, one.file, f"it has {size} pixels, the manifest says {expected}")
    request = FramesRequest(one.target, one.spec, origin(one.spec, one.file, 0.0, None, one.part))
    collector.write(request, duration_s=clip.duration_s, num_frames=clip.num_frames)


def _is_stored(one: MissingFrames) -> bool:
    """Whether the store has these frames: complete, of the right size, and made from the same video."""
    clip, spec = one.clip, one.spec
    shape = (spec.count(clip.duration_s, clip.num_frames), *spec.size(*one.size), 3)
    if read_shape(one.target) != shape:
        return False
    made_from = read_origin(one.target)
    if made_from is None or made_from.version != VERSION:
        return False
    if (made_from.fps, made_from.short_side, made_from.part) != (spec.fps, spec.short_side, one.part):
        return False
    return _is_of_segment(made_from, clip) or made_from == origin(spec, one.file, 0.0, None, one.part)


def _is_of_segment(made_from: Origin, clip: Clip) -> bool:
    """Whether the frames were made from the clip's segment of its raw file, which need not exist any more."""
    return (
        made_from.source == Path(clip.source).name
        and abs(made_from.start_s - clip.start_s) <= _ROUNDING_S
        # The requested segment may end after the file does, or be open-ended (-1).
        and (made_from.end_s < 0 or made_from.end_s >= clip.end_s - _ROUNDING_S)
    )


def _explained(failed: Failed[MissingFrames]) -> BaseException:
    """The exception to raise for a failed task."""
    one, error = failed.task, failed.error
    if isinstance(error, OSError):
        why = error.strerror or error
        return UserError(f"{one.target}: {why}; keep frames elsewhere: paths.frames_dir=...")
    return error or unreadable_clip(one.clip, one.file, failed.message)  # error is None: it hung or crashed
