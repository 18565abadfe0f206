"""All clips of a run: which are to be cut, cutting them side by side, keeping what is right already."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rich.progress import Progress

from asl.codecs.encoder import Encoder
from asl.config import PreprocessConfig
from asl.datasets.instance import Instance
from asl.errors import UserError
from asl.files import remove_temp_files
from asl.preprocess.clips.frames import ClipFrames, FramesOutcome, asked_frames
from asl.preprocess.clips.proof_log import ProofLog, asked_for
from asl.preprocess.clips.trim import Cut, Proof, TrimError, trim_together
from asl.preprocess.gpu.frame_jobs import Gpu
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import USUAL, RawVideo
from asl.workers import Done, Failed, Workers

#: Segments of one source that are cut together. More would decode less twice, and lose more to a kill.
GROUP = 8


class FolderInUseError(UserError):
    """Another run writes the same clips."""


@dataclass(frozen=True)
class CutFailure:
    """A clip that could not be made."""

    error: str
    reason: str  # a short cause, the same for all clips that it concerns: reports count by it
    start_s: float
    end_s: float | None


@dataclass(frozen=True)
class CutResults:
    """What became of the clips, by video_id."""

    proofs: Mapping[str, Proof]
    failures: Mapping[str, CutFailure]
    reused: int  # proofs of clips that were there and right
    frames: FramesOutcome


def plan_cuts(
    config: PreprocessConfig,
    encoder: Encoder,
    instances: Iterable[Instance],
    matches: Mapping[str, Match | Unmatched],
    raw_videos: Mapping[str, RawVideo],
) -> list[Cut]:
    """One cut for each instance that has a source.

    Args:
        config: of the run.
        encoder: of clips that cannot be copied.
        instances: rows of the metadata.
        matches: their sources, by video_id.
        raw_videos: what is known of the raw files, by their path in the raw folder.
    """
    frame_s = 1 / Fraction(config.dataset.fps).limit_denominator(1001)
    tolerance_s = config.matching.end_tolerance_s
    cuts = []
    for instance in instances:
        found = matches[instance.video_id]
        if isinstance(found, Unmatched):
            continue
        start_s, end_s = instance.start_s, instance.end_s
        source = Path(config.paths.raw_dir) / found.source
        cuts.append(
            Cut(
                video_id=instance.video_id,
                source=source,
                target=clip_path(config, instance),
                strip=strip_path(config, instance.video_id),
                start_s=start_s,
                end_s=end_s,
                end_tolerance_s=frame_s if tolerance_s is None else Fraction(tolerance_s),
                encoder=encoder,
                audio=config.trim.audio,
                frames=asked_frames(config, instance.video_id, source, start_s, end_s),
                raw=raw_videos.get(found.source),
            )
        )
    return cuts


def clip_path(config: PreprocessConfig, instance: Instance) -> Path:
    """Where an instance's clip lies. The folder is the official split, also where another one is used."""
    return Path(config.paths.videos_dir) / instance.split / instance.gloss / f"{instance.video_id}.mp4"


def strip_path(config: PreprocessConfig, video_id: str) -> Path:
    """Where the pictures of an instance's clip lie."""
    return Path(config.paths.metadata_dir) / "strips" / f"{video_id}.jpg"


def cut_all(
    config: PreprocessConfig,
    cuts: Sequence[Cut],
    log: ProofLog,
    workers: Workers,
    progress: Progress,
    *,
    gpu: Gpu | None = None,
) -> CutResults:
    """Make every clip that is not there and right, and the frames of each, in worker processes.

    Args:
        config: of the run.
        cuts: one for each clip.
        log: what was proven before; grows with every clip.
        workers: who cuts.
        progress: where bars are shown.
        gpu: processes that drive a GPU, if it is to make frames; None: the host makes all.
    """
    proofs: dict[str, Proof] = {}
    to_do: list[Cut] = []
    for cut in cuts:
        proof = None if config.overwrite else log.is_right(cut)
        if proof is None:
            to_do.append(cut)
        else:
            proofs[cut.video_id] = proof
    reused = len(proofs)
    # Before the cut: a source that is replaced while it is being cut must not look like the one proven.
    asked = {cut.video_id: asked_for(cut) for cut in to_do}
    frames = ClipFrames(config, cuts, proofs, workers, gpu=gpu)
    failures: dict[str, CutFailure] = {}
    bar = progress.add_task("cutting clips", total=len(cuts), completed=reused)
    timeout_s = config.trim.timeout_s
    again: list[tuple[Cut, ...]] = []  # of groups in which one clip hung or crashed
    for groups in (_groups(to_do, workers.count), again):
        tasks = (tuple(map(frames.for_host, group)) for group in groups)
        ahead = 2 * workers.count
        for ended in workers.run_lazily(trim_together, tasks, ahead=ahead, timeout_s=timeout_s):
            if isinstance(ended, Failed) and len(ended.task) > 1:
                again += [(cut,) for cut in ended.task]
                continue
            results = ended.result if isinstance(ended, Done) else [_failure(ended, timeout_s)]
            for cut, result in zip(ended.task, results, strict=True):
                if isinstance(result, Proof):
                    proofs[cut.video_id] = result
                    log.add(cut, asked[cut.video_id], result)
                else:
                    failures[cut.video_id] = CutFailure(
                        result.message,
                        result.reason,
                        float(cut.start_s),
                        None if cut.end_s is None else float(cut.end_s),
                    )
                progress.advance(bar)
    return CutResults(proofs, failures, reused, frames.finish(proofs, progress))


def _work(cut: Cut) -> float:
    """About how long a cut takes, in milliseconds of one core (of the machine in benchmarks/README.md)."""
    raw, (_, frames) = cut.raw or USUAL, cut.likely_length()
    once = 0.2 + raw.width * raw.height * 2e-6  # decoding a frame and keeping it
    return frames * once * (1 if cut.is_whole and raw.codec == "h264" else 4)  # encoding: three times


def _groups(cuts: Sequence[Cut], workers: int) -> list[tuple[Cut, ...]]:
    """Segments that follow each other in one source are cut together; the longest work comes first."""
    size = min(GROUP, max(1, len(cuts) // (4 * workers)))  # a few groups for each worker
    of_source: dict[Path, list[Cut]] = {}
    for cut in cuts:
        of_source.setdefault(cut.source, []).append(cut)
    groups = []
    for members in of_source.values():
        members.sort(key=lambda cut: (cut.start_s, cut.video_id))
        groups += [tuple(members[i : i + size]) for i in range(0, len(members), size)]
    # Else the longest one may be the last, with one worker at it and the others idle.
    return sorted(groups, key=lambda group: (-sum(map(_work, group)), group[0].video_id))


def _failure(failed: Failed[tuple[Cut, ...]], timeout_s: float) -> TrimError:
    """Of a clip on its own whose worker was killed, crashed, or met a defect of asl."""
    (cut,) = failed.task
    message = f"{cut.source.name} {failed.message}"
    if failed.reason == "time limit":
        message += f"; give it more with trim.timeout_s={2 * timeout_s:g}"
    return TrimError(message, failed.reason)


@contextmanager
def only_run(videos_dir: Path, frames_dir: Path) -> Iterator[None]:
    """Keep a second run out of the same folders, and clear away what a killed one left half done.

    Raises:
        FolderInUseError: another run is at work there. The lock ends with its process, however that ends.
    """
    with ExitStack() as closing:
        for folder in (videos_dir, frames_dir):
            folder.mkdir(parents=True, exist_ok=True)
            lock = closing.enter_context((folder / ".lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FolderInUseError(
                    f"{folder} is being written by another run. Wait for it, or use another paths.data_dir"
                ) from None
        for folder in (videos_dir, frames_dir):
            remove_temp_files(folder)
        try:
            yield
        finally:
            for folder in (videos_dir, frames_dir):
                remove_temp_files(folder)  # of workers that were killed for taking too long
