"""Make one clip: write it to a temporary file, prove it, rename it. Runs in worker processes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from asl.codecs.encode import encode_segment
from asl.codecs.frame_collector import FrameCollector
from asl.codecs.segments import SegmentReader, decode_segment
from asl.codecs.stream_copy import copy_video
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import NOT_WRITABLE, VideoError
from asl.files import atomic_write, temp_path
from asl.machine import end_process_after
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, prove


class CutError(Exception):
    """Why a clip could not be made. Holds text only, so that it can be pickled."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason)
        self.message = message  # names the file
        self.reason = reason  # short, the same for every clip with this cause: reports count by it

    def __str__(self) -> str:
        return self.message


def make_clips(
    cuts: tuple[Cut, ...], clip_limit_s: float | None = None, offer_to: int | None = None
) -> list[Proof | CutError]:
    """Make clips of one source in turn. If they are in order of their start, no frame is decoded twice.

    Each result but the last one is also given to another process at once, see :func:`take_result`.

    Args:
        cuts: the clips.
        clip_limit_s: the process is ended if one of them takes longer. None: it is not.
        offer_to: pid of the process that takes the results. None: it is this one.
    """
    results: list[Proof | CutError] = []
    with SegmentReader(cuts[0].source, hwaccel=cuts[0].encoder.hwaccel) as reader:
        for cut in cuts:
            end_process_after(clip_limit_s)
            try:
                results.append(make_clip(cut, reader))
            except CutError as error:
                results.append(error)
            finally:
                end_process_after(None)
            if cut is not cuts[-1]:
                _offer_result(cut, results[-1], offer_to)
    return results


def take_result(cut: Cut) -> Proof | CutError | None:
    """The result of a clip that :func:`make_clips` has made while it makes others; its file is removed.

    None if there is none, also where it could not be written.
    """
    path = _result_path(cut)
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    path.unlink()
    return CutError(**fields) if "reason" in fields else Proof(**fields)


def _offer_result(cut: Cut, result: Proof | CutError, pid: int | None) -> None:
    fields = vars(result) if isinstance(result, CutError) else asdict(result)
    with suppress(OSError), atomic_write(_result_path(cut, pid), sync=False) as file:
        file.write(json.dumps(fields).encode())


def _result_path(cut: Cut, pid: int | None = None) -> Path:
    """A temporary file of a process beside the clip, which the next run removes if this one is killed."""
    return temp_path(cut.target.with_suffix(".result"), pid=pid)


def make_clip(cut: Cut, reader: SegmentReader | None = None) -> Proof:
    """Make and prove ``cut.target``, and store its frames if ``cut.frames`` is set.

    Args:
        cut: the clip.
        reader: its source, opened for an earlier clip; None: the source is opened.

    Raises:
        CutError: the clip could not be made. ``cut.target`` is then as it was before.
    """
    part = temp_path(cut.target)
    try:
        cut.target.parent.mkdir(parents=True, exist_ok=True)
        proof = _write_and_prove(cut, part, reader)
        part.replace(cut.target)
        return proof
    except VideoError as error:
        raise CutError(f"{cut.source.name} {error}", error.reason) from None
    except OSError as error:  # a full disk, a folder without write permission
        raise CutError(f"{cut.target}: {error.strerror or error}", NOT_WRITABLE) from None
    finally:
        part.unlink(missing_ok=True)


def make_frames(task: tuple[Cut, Proof]) -> None:
    """Store the frames of a clip that is already made and proven.

    Raises:
        CutError: the source cannot be decoded, or the frames cannot be written.
    """
    cut, proof = task
    if cut.frames is None:
        return
    collector = FrameCollector(cut.frames.spec, cut.frames.origin.part)
    try:
        decode_segment(cut.source, collector.add, start_s=cut.start_s, end_s=cut.end_s)
    except VideoError as error:
        raise CutError(f"{cut.source.name} {error}", error.reason) from None
    _write_frames(cut, collector, proof)


def _write_and_prove(cut: Cut, part: Path, reader: SegmentReader | None) -> Proof:
    if cut.is_whole:
        try:
            return _copy_and_prove(cut, part)
        except VideoError:
            pass  # rotated, another codec, or not exact: encoding works, or says what is damaged
    collector = _collector(cut)
    expected = encode_segment(
        cut.source,
        part,
        start_s=cut.start_s,
        end_s=cut.end_s,
        encoder=cut.encoder,
        audio=cut.audio,
        reader=reader,
        on_frame=collector.add if collector else None,
    )
    check_end(cut, expected)
    proof = prove(part, cut, expected, copied=False)
    _write_frames(cut, collector, proof)
    return proof


def _copy_and_prove(cut: Cut, part: Path) -> Proof:
    """Raises VideoError if the source cannot be copied exactly."""
    collector = _collector(cut)
    expected = copy_video(cut.source, part, audio=cut.audio, is_yuv420p=cut.can_be_copied_unopened)
    proof = prove(part, cut, expected, copied=True, on_frame=collector.add if collector else None)
    _write_frames(cut, collector, proof)
    return proof


def check_end(cut: Cut, encoded: Timeline) -> None:
    """Raise VideoError if a segment goes further past the end of its source than it may."""
    if cut.end_s is not None and encoded.source_ended and cut.end_s - encoded.end > cut.end_tolerance_s:
        raise VideoError(
            f"ends at {float(encoded.end):.3f} s, but the segment goes to {float(cut.end_s):.3f} s "
            f"({float(cut.end_s - encoded.end):.3f} s more)",
            "segment past the end",
        )


def _collector(cut: Cut) -> FrameCollector | None:
    return FrameCollector(cut.frames.spec, cut.frames.origin.part) if cut.frames else None


def _write_frames(cut: Cut, collector: FrameCollector | None, proof: Proof) -> None:
    if cut.frames is None or collector is None:
        return
    try:
        collector.write(cut.frames, duration_s=proof.duration_s, num_frames=proof.num_frames)
    except OSError as error:
        raise CutError(
            f"{cut.frames.path}: {error.strerror or error}. Keep frames elsewhere (paths.frames_dir=...) or "
            "not at all (frames.enabled=false)",
            NOT_WRITABLE,
        ) from None
