"""Prove a clip: decode every frame of the written file and compare their number and times with the plan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from asl.codecs.decoder import DecodedFile, FrameCallback, decode_file
from asl.codecs.probe import VideoInfo
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError
from asl.files import atomic_write
from asl.preprocess.clips import fingerprint, thumbnails
from asl.preprocess.clips.plan import Cut

#: How far a written time stamp may be from the expected one. Containers round to their own tick, which is
#: 1/1000 s in Matroska; a frame at 60 fps is 16 times as long.
_ROUNDING_S = Fraction(1, 1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What decoding every frame of a finished clip gave."""

    num_frames: int
    fps: float  # num_frames / duration_s
    duration_s: float
    width: int
    height: int
    start_s: float  # of the source
    end_s: float  # of the source; the source's end where the cut has no end_s
    copied: bool  # without re-encoding
    size: int  # bytes
    digest: str  # see file_digest
    fingerprint: str  # see fingerprint.py
    bitstream: str = ""  # what the GPU's parser refuses in a clip that the strict decoder takes; "": nothing


def prove(
    path: Path, cut: Cut, expected: Timeline, *, copied: bool, on_frame: FrameCallback | None = None
) -> Proof:
    """Prove that a file is the clip that was meant, and write its thumbnails.

    Args:
        path: the file.
        cut: the clip that was meant.
        expected: when each of its frames is shown, in seconds of the source.
        copied: whether the source was copied, not re-encoded.
        on_frame: called with every decoded frame and its time since the first frame.

    Raises:
        VideoError: a frame cannot be decoded, or the file is not what was meant (reason "not proven").
        OSError: the thumbnails cannot be written.
    """
    count = len(expected.times)
    decoded = decode_file(
        path,
        thumbnail_frames=fingerprint.frames_to_keep(count),
        thumbnail_side=fingerprint.SIDE,
        picture_frames=thumbnails.frames_to_show(count),
        picture_side=thumbnails.SIDE,
        on_frame=on_frame,
    )
    return proof_of(decoded, path, cut, expected, copied=copied)


def proof_of(decoded: DecodedFile, path: Path, cut: Cut, expected: Timeline, *, copied: bool) -> Proof:
    """The proof of a file whose every frame has been decoded. Writes its thumbnails.

    Args:
        decoded: with the thumbnails of ``fingerprint.frames_to_keep`` and the pictures of
            ``thumbnails.frames_to_show``.
        path: see :func:`prove`, like the others.
        cut: likewise.
        expected: likewise.
        copied: likewise.

    Raises:
        VideoError: the file is not what was meant (reason "not proven").
        OSError: the thumbnails cannot be written.
    """
    timeline, info = decoded.timeline, decoded.info
    _check_format(info)
    _check_times(timeline, expected, copied=copied)
    with atomic_write(cut.thumbnails, sync=False) as file:
        file.write(thumbnails.to_jpeg(decoded.pictures))
    return Proof(
        num_frames=len(timeline.times),
        fps=float(len(timeline.times) / timeline.duration),
        duration_s=float(timeline.duration),
        width=info.width,
        height=info.height,
        start_s=float(cut.start_s),
        end_s=float(expected.end if cut.end_s is None else min(cut.end_s, expected.end)),
        copied=copied,
        size=path.stat().st_size,
        digest=file_digest(path),
        fingerprint=fingerprint.to_text(decoded.thumbnails),
    )


def file_digest(path: Path) -> str:
    """BLAKE2b-160 of a file's bytes, in hex. Reads the whole file into memory."""
    return hashlib.blake2b(path.read_bytes(), digest_size=20).hexdigest()


def _check_format(info: VideoInfo) -> None:
    if not info.is_plain:
        turned = info.orientation_filters or "nothing"
        form = f"{info.codec} {info.pix_fmt} {info.width}x{info.height}, turned by {turned}"
        raise VideoError(f"gave {form}", "not proven")


def _check_times(timeline: Timeline, expected: Timeline, *, copied: bool) -> None:
    if len(timeline.times) != len(expected.times):
        raise VideoError(f"gave {len(timeline.times)} frames instead of {len(expected.times)}", "not proven")
    zero = expected.times[0]
    largest_s = max(abs((e - zero) - t) for e, t in zip(expected.times, timeline.times, strict=True))
    # Some containers (Matroska) only guess how long the last frame is shown; its start is exact.
    end_rounding_s = expected.end - expected.times[-1] if copied else _ROUNDING_S
    if largest_s > _ROUNDING_S or abs(expected.duration - timeline.duration) > end_rounding_s:
        raise VideoError(
            f"gave a clip of {float(timeline.duration):.3f} s instead of {float(expected.duration):.3f} s, "
            f"its frames up to {float(largest_s):.3f} s away from their time",
            "not proven",
        )
