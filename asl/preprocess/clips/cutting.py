"""All clips of a run: reuse those that are already made, and cut the others in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress

from asl.contract.frame_store import forget_frames
from asl.preprocess.clips.cut import CutError, make_clips
from asl.preprocess.clips.frames import FrameOffload, FramesOutcome, make_missing_frames, without_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.clips.proof_log import ProofLog, request_of
from asl.preprocess.sources.raw_files import USUAL
from asl.workers import Done, Failed, Workers

#: Segments of one source that are cut by one task. More would decode fewer frames twice, but a run that is
#: killed would lose more.
GROUP = 8


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
    offload: FrameOffload,
    overwrite: bool,
    timeout_s: float,
) -> CutResults:
    """Make every clip that is not already made, and the frames of all clips.

    Args:
        cuts: one for each clip.
        log: the proofs of earlier runs; each new proof is added.
        workers: processes that cut.
        progress: shows a bar for the clips and one for the frames.
        frames_dir: where frames are stored; those of clips that are cut again are removed first.
        offload: makes some of the frames on another device.
        overwrite: cut every clip, also those already made.
        timeout_s: time limit for a group of clips of one source.
    """
    proofs: dict[str, Proof] = {}
    for cut in () if overwrite else cuts:
        proof = log.find(cut)
        if proof is not None:
            proofs[cut.video_id] = proof
    reused = len(proofs)
    to_cut = [cut for cut in cuts if cut.video_id not in proofs]
    for cut in to_cut:
        forget_frames(frames_dir, cut.video_id)
    missing = without_frames(cuts, proofs)
    there = sum(cut.frames is not None for cut in cuts) - len(missing)
    offload.start(missing)

    bar = progress.add_task("cutting clips", total=len(cuts), completed=reused)
    # Taken before cutting: if a source is replaced during the run, its clip must not count as made from it.
    requests = {cut.video_id: request_of(cut) for cut in to_cut}
    failures: dict[str, CutFailure] = {}
    for cut, result in _cut(to_cut, workers, offload, timeout_s):
        if isinstance(result, Proof):
            proofs[cut.video_id] = result
            log.add(cut, requests[cut.video_id], result)
        else:
            end_s = None if cut.end_s is None else float(cut.end_s)
            failures[cut.video_id] = CutFailure(result.message, result.reason, float(cut.start_s), end_s)
        progress.advance(bar)
    frames = make_missing_frames(
        missing, proofs, offload, workers, progress, there=there, timeout_s=timeout_s
    )
    return CutResults(proofs, failures, reused, frames)


def _cut(
    cuts: Sequence[Cut], workers: Workers, offload: FrameOffload, timeout_s: float
) -> Iterator[tuple[Cut, Proof | CutError]]:
    """Cut clips in groups; if a group hangs or crashes, cut its clips one by one."""

    def for_host(cut: Cut) -> Cut:
        """Decided when it is the clip's turn: without frames if the other device has taken them."""
        return cut if offload.claim_for_host(cut.video_id) else replace(cut, frames=None)

    singles: list[tuple[Cut, ...]] = []
    for groups in (_groups(cuts, workers.count), singles):
        tasks = (tuple(map(for_host, group)) for group in groups)
        ahead = 2 * workers.count
        for ended in workers.run_lazily(make_clips, tasks, ahead=ahead, timeout_s=timeout_s):
            if isinstance(ended, Done):
                yield from zip(ended.task, ended.result, strict=True)
            elif len(ended.task) > 1:
                singles += [(cut,) for cut in ended.task]
            else:
                yield ended.task[0], _error(ended, timeout_s)


def _groups(cuts: Sequence[Cut], workers: int) -> list[tuple[Cut, ...]]:
    """Consecutive segments of one source form a group. The groups with the most work come first.

    If they came last, one worker would be busy while the others wait.
    """
    size = min(GROUP, max(1, len(cuts) // (4 * workers)))  # at least about four groups for each worker
    of_source: dict[Path, list[Cut]] = {}
    for cut in cuts:
        of_source.setdefault(cut.source, []).append(cut)
    groups = []
    for members in of_source.values():
        members.sort(key=lambda cut: (cut.start_s, cut.video_id))
        groups += [tuple(members[i : i + size]) for i in range(0, len(members), size)]
    return sorted(groups, key=lambda group: (-sum(map(_estimated_ms, group)), group[0].video_id))


def _estimated_ms(cut: Cut) -> float:
    """Estimated time of a cut in milliseconds on one core of the machine in benchmarks/README.md."""
    raw, (_, frames) = cut.raw or USUAL, cut.estimated_length()
    frame_ms = 0.2 + raw.width * raw.height * 2e-6  # decoding a frame and shrinking it
    return frames * frame_ms * (1 if cut.is_whole and raw.codec == "h264" else 4)  # encoding adds three times


def _error(failed: Failed[tuple[Cut, ...]], timeout_s: float) -> CutError:
    """The error of a single clip whose worker was killed or crashed, or raised an unexpected exception."""
    (cut,) = failed.task
    message = f"{cut.source.name} {failed.message}"
    if failed.reason == "time limit":
        message += f"; give it more with trim.timeout_s={2 * timeout_s:g}"
    return CutError(message, failed.reason)
