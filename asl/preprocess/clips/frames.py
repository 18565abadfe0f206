"""The frames that a run keeps for training: which are there, who makes the others, what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from rich.progress import Progress, TaskID

from asl.codecs.frame_collector import FramesRequest
from asl.config import FramesConfig, PreprocessConfig
from asl.contract.frame_store import (
    FrameSpec,
    forget_frames,
    frames_path,
    origin,
    read_origin,
    read_shape,
    store_bytes,
)
from asl.preprocess.clips.trim import Cut, Proof, keep_frames
from asl.preprocess.gpu.dali_frames import FrameJob, refuses
from asl.preprocess.gpu.frame_jobs import Gpu, GpuFrames, doubt, unproven
from asl.workers import Failed, Workers


@dataclass(frozen=True)
class FramesOutcome:
    """How many clips' frames were made by whom."""

    there: int = 0  # already, and right
    host: int = 0
    gpu: int = 0
    refused_by_gpu: Mapping[str, int] = field(default_factory=dict)  # by reason; the host made these
    failed: Mapping[str, str] = field(default_factory=dict)  # by video_id; training makes these itself


def frame_spec(config: FramesConfig) -> FrameSpec:
    """Which frames are kept of each clip."""
    return FrameSpec(fps=config.fps, short_side=config.short_side)


def asked_frames(
    config: PreprocessConfig, video_id: str, source: Path, start_s: Fraction, end_s: Fraction | None
) -> FramesRequest | None:
    """Which frames of a clip are to be kept, and where; None: ``frames.enabled=false``."""
    if not config.frames.enabled:
        return None
    spec = frame_spec(config.frames)
    made_from = origin(spec, source, float(start_s), None if end_s is None else float(end_s))
    return FramesRequest(frames_path(Path(config.paths.frames_dir), spec, video_id), spec, made_from)


def space_needed(cuts: Sequence[Cut]) -> tuple[int, int]:
    """How many clips have no frames yet, and about how many bytes these will take."""
    clips = []
    for cut in cuts:
        raw = cut.raw
        if cut.frames is None or raw is None or cut.frames.path.exists():
            continue
        duration_s, frames = cut.likely_length()
        clips.append((cut.frames.spec, (duration_s, round(frames), raw.width, raw.height)))
    return len(clips), sum(store_bytes(spec, [clip]) for spec, clip in clips)


class ClipFrames:
    """Made before the first cut: starts the GPU, if there is one to use, and forgets what is out of date.

    Args:
        config: of the run.
        cuts: of all clips.
        proofs: of the clips that are there and right, by video_id; the others are going to be cut.
        workers: the host's.
        gpu: processes that drive one, if it is to make frames.
    """

    def __init__(
        self,
        config: PreprocessConfig,
        cuts: Sequence[Cut],
        proofs: Mapping[str, Proof],
        workers: Workers,
        *,
        gpu: Gpu | None = None,
    ) -> None:
        self._workers, self._timeout_s = workers, config.trim.timeout_s
        self._ahead = 2 * workers.count
        self._new = [cut for cut in cuts if cut.video_id not in proofs]
        for cut in self._new:
            forget_frames(Path(config.paths.frames_dir), cut.video_id)
        there = [cut for cut in cuts if cut.video_id in proofs and cut.frames is not None]
        self._without = [cut for cut in there if not _has_frames(cut, proofs[cut.video_id])]
        self._there = len(there) - len(self._without)
        self._refused: dict[str, str] = {}  # by the GPU, by video_id
        self._gpu = None if gpu is None else self._start(gpu)

    def for_host(self, cut: Cut) -> Cut:
        """The cut as the host is to make it now: without frames, if the GPU has taken these."""
        return cut if self._hosts(cut) else replace(cut, frames=None)

    def finish(self, proofs: Mapping[str, Proof], progress: Progress) -> FramesOutcome:
        """After the last cut: make what is missing still.

        Args:
            proofs: of all clips that are there now, by video_id.
            progress: where a bar is shown.
        """
        bar = progress.add_task("keeping frames", total=len(self._without), visible=bool(self._without))
        asked = [cut for cut in (*self._new, *self._without) if cut.frames and cut.video_id in proofs]
        hosts = (cut for cut in self._without if self._hosts(cut))  # decided on when it is their turn
        failed = self._on_host(hosts, proofs, progress, bar)
        by_gpu = 0
        if self._gpu is not None:
            self._gpu.wait()
            taken = [cut for cut in asked if cut.video_id in self._gpu.taken]
            self._refused |= self._gpu.refused
            done = [(cut, proofs[cut.video_id]) for cut in taken if cut.video_id not in self._refused]
            for ended in self._workers.run_each(doubt, done, timeout_s=self._timeout_s):
                why = ended.message if isinstance(ended, Failed) else ended.result
                if why is not None:
                    self._refused[ended.task[0].video_id] = why
            again = [cut for cut in taken if cut.video_id in self._refused]
            for cut in self._new:  # the strict decoder found some damaged
                if cut.frames is not None and cut.video_id not in proofs:
                    unproven(cut.frames.path).unlink(missing_ok=True)
            shown = len(self._without) + len(again)
            redone = {cut.video_id for cut in again}
            there = sum(cut.video_id in self._gpu.taken - redone for cut in self._without)
            progress.update(bar, total=shown, visible=bool(shown), advance=there)
            failed |= self._on_host(again, proofs, progress, bar)
            by_gpu = len(taken) - len(again)
        reasons = Counter(why for video_id, why in self._refused.items() if video_id in proofs)
        return FramesOutcome(
            self._there, len(asked) - by_gpu - len(failed), by_gpu, dict(reasons.most_common()), failed
        )

    def _start(self, gpu: Gpu) -> GpuFrames:
        jobs = []
        for cut in (*self._new, *self._without):
            if cut.frames is None or cut.raw is None:
                continue
            why = refuses(cut.raw)
            if why is not None:
                self._refused[cut.video_id] = why
                continue
            jobs.append(
                FrameJob(
                    video_id=cut.video_id,
                    source=cut.source,
                    start_s=cut.start_s,
                    end_s=cut.end_s,
                    keep=replace(cut.frames, path=unproven(cut.frames.path)),
                    width=cut.raw.width,
                    height=cut.raw.height,
                )
            )
        made = GpuFrames(gpu, jobs, timeout_s=self._timeout_s)
        made.start()
        return made

    def _hosts(self, cut: Cut) -> bool:
        return self._gpu is None or self._gpu.host_takes(cut.video_id)

    def _on_host(
        self, cuts: Iterable[Cut], proofs: Mapping[str, Proof], progress: Progress, bar: TaskID
    ) -> dict[str, str]:
        """Make frames on the host; returns what went wrong, by video_id."""
        failed = {}
        work = ((cut, proofs[cut.video_id]) for cut in cuts)
        for ended in self._workers.run_lazily(
            keep_frames, work, ahead=self._ahead, timeout_s=self._timeout_s
        ):
            if isinstance(ended, Failed):
                failed[ended.task[0].video_id] = ended.message
            progress.advance(bar)
        return failed


def _has_frames(cut: Cut, proof: Proof) -> bool:
    """The clip's frames are there and right."""
    assert cut.frames is not None
    shape = read_shape(cut.frames.path)
    return (
        shape is not None
        and shape[0] == cut.frames.spec.count(proof.duration_s, proof.num_frames)
        and read_origin(cut.frames.path) == cut.frames.origin
    )
