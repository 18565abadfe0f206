"""One clip: cut, written temp_path, proven, renamed. Runs in a worker process that may be killed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from asl.codecs.decoder import FrameCallback, decode_file
from asl.codecs.encode import encode_segment
from asl.codecs.encoder import Encoder
from asl.codecs.frame_collector import FrameCollector, FramesRequest
from asl.codecs.probe import VideoInfo
from asl.codecs.segments import SegmentReader, decode_segment
from asl.codecs.stream_copy import copy_video
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError
from asl.files import atomic_write, temp_path
from asl.preprocess.audit import fingerprint
from asl.preprocess.audit.fingerprint import frames_to_keep, to_text
from asl.preprocess.clips import thumbnails as strip
from asl.preprocess.clips.thumbnails import frames_to_show
from asl.preprocess.sources.raw_files import USUAL, RawVideo

#: How far a written time stamp may lie from the one that was meant: containers round to their
#: own tick, 1/1000 s in Matroska; a frame at 60 fps is 16 times as long.
_ROUNDING_S = Fraction(1, 1000)


class TrimError(Exception):
    """Why a clip could not be made. Plain text, so that it crosses processes."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason)
        self.message = message  # names the file
        self.reason = reason  # a short cause, the same for all clips that it concerns: reports count by it

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is asked for: one clip."""

    video_id: str
    source: Path
    target: Path
    strip: Path  # where its pictures go, see strip.py
    start_s: Fraction
    end_s: Fraction | None  # None: to the end of the source
    end_tolerance_s: Fraction  # how far the segment may reach past the source's end
    encoder: Encoder
    audio: bool
    frames: FramesRequest | None = None  # for training, made in the same pass; None: not here
    raw: RawVideo | None = None  # what the source's header says; None: it could not be opened

    @property
    def is_whole(self) -> bool:
        return self.start_s == 0 and self.end_s is None

    def likely_length(self) -> tuple[float, float]:
        """About how many seconds and frames the clip will have, by the source's header."""
        raw = self.raw or USUAL
        end_s = raw.duration_s if self.end_s is None else float(self.end_s)
        duration_s = max(0.0, end_s - float(self.start_s)) or USUAL.duration_s
        return duration_s, duration_s * (raw.fps or USUAL.fps)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was found when the finished clip was decoded, frame by frame."""

    num_frames: int
    fps: float  # num_frames / duration_s
    duration_s: float
    width: int
    height: int
    start_s: float  # of the source
    end_s: float  # of the source; where the segment asks "to the end", that end
    copied: bool  # without re-encoding
    size: int  # bytes
    digest: str  # BLAKE2b-160 of the file
    fingerprint: str  # see fingerprint.py


def trim_together(cuts: tuple[Cut, ...]) -> list[Proof | TrimError]:
    """Make clips of one source, one after the other; in rising order nothing is decoded twice."""
    results: list[Proof | TrimError] = []
    with SegmentReader(cuts[0].source, hwaccel=cuts[0].encoder.hwaccel) as reader:
        for cut in cuts:
            try:
                results.append(trim(cut, reader))
            except TrimError as error:
                results.append(error)
    return results


def trim(cut: Cut, reader: SegmentReader | None = None) -> Proof:
    """Make the clip ``cut.target`` and prove it.

    Args:
        cut: what is asked for.
        reader: of its source, from the clip before.

    Raises:
        TrimError: naming the source and what is wrong; there is then no file under the target's
            name that was not there before.
    """
    cut.target.parent.mkdir(parents=True, exist_ok=True)
    part = temp_path(cut.target)
    try:
        proof = _write_and_prove(cut, part, reader)
        part.replace(cut.target)
        return proof
    except VideoError as error:
        raise TrimError(f"{cut.source.name} {error}", error.reason) from None
    except OSError as error:  # a full disk, a folder without rights
        raise TrimError(f"{cut.target}: {error.strerror or error}", "not writable") from None
    finally:
        part.unlink(missing_ok=True)


def keep_frames(work: tuple[Cut, Proof]) -> None:
    """Make the frames alone, of a clip that is there and right.

    Raises:
        TrimError: naming the source and what is wrong.
    """
    cut, proof = work
    if cut.frames is None:
        return
    keeper = FrameCollector(cut.frames.spec)
    try:
        decode_segment(cut.source, keeper.add, start_s=cut.start_s, end_s=cut.end_s)
        keeper.write(cut.frames, duration_s=proof.duration_s, num_frames=proof.num_frames)
    except VideoError as error:
        raise TrimError(f"{cut.source.name} {error}", error.reason) from None
    except OSError as error:
        raise TrimError(f"{cut.frames.path}: {error.strerror or error}", "not writable") from None


def file_digest(path: Path) -> str:
    """BLAKE2b-160 of a file's bytes, in hex; clips are small enough to be read at once."""
    return hashlib.blake2b(path.read_bytes(), digest_size=20).hexdigest()


def _write_and_prove(cut: Cut, part: Path, reader: SegmentReader | None) -> Proof:
    keeper = FrameCollector(cut.frames.spec) if cut.frames else None
    each = keeper.add if keeper else None
    if cut.is_whole:
        try:
            meant = copy_video(cut.source, part, audio=cut.audio)
            proof = _prove(cut, part, meant, copied=True, each=each)
            _write_frames(cut, keeper, proof)
            return proof
        except VideoError:
            pass  # turned, of another codec, not exact: then it is encoded, or found damaged there
    meant = encode_segment(
        cut.source,
        part,
        start_s=cut.start_s,
        end_s=cut.end_s,
        encoder=cut.encoder,
        audio=cut.audio,
        reader=reader,
        on_frame=each,
    )
    _check_end(cut, meant)
    proof = _prove(cut, part, meant, copied=False)
    _write_frames(cut, keeper, proof)
    return proof


def _write_frames(cut: Cut, keeper: FrameCollector | None, proof: Proof) -> None:
    if cut.frames is None or keeper is None:
        return
    try:
        keeper.write(cut.frames, duration_s=proof.duration_s, num_frames=proof.num_frames)
    except OSError as error:
        raise TrimError(
            f"{cut.frames.path}: {error.strerror or error}. Keep frames elsewhere (paths.frames_dir=...) or "
            "not at all (frames.enabled=false)",
            "not writable",
        ) from None


def _check_end(cut: Cut, meant: Timeline) -> None:
    if cut.end_s is not None and meant.source_ended and cut.end_s - meant.end > cut.end_tolerance_s:
        raise VideoError(
            f"ends at {float(meant.end):.3f} s, but the segment goes to {float(cut.end_s):.3f} s "
            f"({float(cut.end_s - meant.end):.3f} s more)",
            "segment past the end",
        )


def _prove(
    cut: Cut, part: Path, meant: Timeline, *, copied: bool, each: FrameCallback | None = None
) -> Proof:
    """Decode every frame of the written file, hold it against what was meant, and keep its pictures."""
    count = len(meant.times)
    decoded = decode_file(
        part,
        thumbnail_frames=frames_to_keep(count),
        thumbnail_side=fingerprint.SIDE,
        picture_frames=frames_to_show(count),
        picture_side=strip.SIDE,
        on_frame=each,
    )
    got, info = decoded.timeline, decoded.info
    _check_form(info)
    if len(got.times) != len(meant.times):
        raise VideoError(f"gave {len(got.times)} frames instead of {len(meant.times)}", "not proven")
    zero = meant.times[0]
    worst = max(abs((m - zero) - g) for m, g in zip(meant.times, got.times, strict=True))
    # How long the last frame is shown is a guess in some containers (Matroska); its time is not.
    end_rounding_s = meant.end - meant.times[-1] if copied else _ROUNDING_S
    if worst > _ROUNDING_S or abs(meant.duration - got.duration) > end_rounding_s:
        raise VideoError(
            f"gave a clip of {float(got.duration):.3f} s instead of {float(meant.duration):.3f} s, "
            f"its frames up to {float(worst):.3f} s away from their time",
            "not proven",
        )
    with atomic_write(cut.strip, sync=False) as file:
        file.write(strip.to_jpeg(decoded.pictures))
    end_s = meant.end if cut.end_s is None else min(cut.end_s, meant.end)
    return Proof(
        num_frames=len(got.times),
        fps=float(len(got.times) / got.duration),
        duration_s=float(got.duration),
        width=info.width,
        height=info.height,
        start_s=float(cut.start_s),
        end_s=float(end_s),
        copied=copied,
        size=part.stat().st_size,
        digest=file_digest(part),
        fingerprint=to_text(decoded.thumbnails),
    )


def _check_form(info: VideoInfo) -> None:
    if not info.is_plain:
        turned = info.orientation_filters or "nothing"
        form = f"{info.codec} {info.pix_fmt} {info.width}x{info.height}, turned by {turned}"
        raise VideoError(f"gave {form}", "not proven")
