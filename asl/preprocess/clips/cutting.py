"""All clips of a run: reuse those that are already made, and cut the others in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from asl.contract.frame_store import forget_frames
from asl.files import remove_temp_files
from asl.preprocess.clips.accelerator import Accelerator
from asl.preprocess.clips.frames import FramesOutcome, make_missing_frames, without_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.clips.proof_log import ProofLog, request_of
from asl.workers import Workers


@dataclass(frozen=True)
class CutFailure:
    """A clip that could not be made."""

    error: str
    reason: str  # short, the same for every clip with this cause: reports count by it
    start_s: float
    end_s: float | None


@dataclass(frozen=True)
class CutResults:
    """Proof or failure of every clip, by video_id."""

    proofs: Mapping[str, Proof]
    failures: Mapping[str, CutFailure]
    reused: int  # how many of the proofs are of clips that an earlier run made
    frames: FramesOutcome


def cut_all(
    cuts: Sequence[Cut],
    log: ProofLog,
    workers: Workers,
    progress: Progress,
    *,
    frames_dir: Path,
    accelerator: Accelerator,
    overwrite: bool,
    read_bytes: bool,
    timeout_s: float,
) -> CutResults:
    """Make every clip that is not already made, and the frames of all clips.

    Args:
        cuts: one for each clip.
        log: the proofs of earlier runs; each new proof is added.
        workers: processes that cut.
        progress: shows a bar for the clips and one for the frames.
        frames_dir: where frames are stored; those of clips that are cut again are removed first.
        accelerator: makes some of the clips or frames on another device.
        overwrite: cut every clip, also those already made.
        read_bytes: see :meth:`ProofLog.find_all`.
        timeout_s: time limit of a clip.
    """
    proofs: dict[str, Proof] = {} if overwrite else log.find_all(cuts, read_bytes=read_bytes)
    reused = len(proofs)
    to_cut = [cut for cut in cuts if cut.video_id not in proofs]
    forget_frames(frames_dir, [cut.video_id for cut in to_cut])
    missing = without_frames(cuts, proofs)
    there = sum(cut.frames is not None for cut in cuts) - len(missing)
    accelerator.start(missing)

    bar = progress.add_task("cutting clips", total=len(cuts), completed=reused)
    # Taken before cutting: if a source is replaced during the run, its clip must not count as made from it.
    requests = {cut.video_id: request_of(cut) for cut in to_cut}
    failures: dict[str, CutFailure] = {}
    with _no_temp_files_left([*to_cut, *missing]):
        for cut, result in accelerator.make_clips(to_cut, workers, timeout_s=timeout_s):
            if isinstance(result, Proof):
                proofs[cut.video_id] = result
                log.add(cut, requests[cut.video_id], result)
            else:
                end_s = None if cut.end_s is None else float(cut.end_s)
                failures[cut.video_id] = CutFailure(result.message, result.reason, float(cut.start_s), end_s)
            progress.advance(bar)
        frames = make_missing_frames(
            missing, proofs, accelerator, workers, progress, there=there, timeout_s=timeout_s
        )
    return CutResults(proofs, failures, reused, frames)


@contextmanager
def _no_temp_files_left(cuts: Sequence[Cut]) -> Iterator[None]:
    """When the block ends, remove what this process and workers that were killed have left of the cuts."""
    try:
        yield
    finally:
        folders = {cut.target.parent for cut in cuts}
        folders |= {cut.frames.path.parent for cut in cuts if cut.frames is not None}
        for folder in folders:
            remove_temp_files(folder, subfolders=False, own=True)
