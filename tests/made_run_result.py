"""Results of runs that were never run, with any instances that a test needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clips import write_clip

from asl.contract.manifest import Clip
from asl.contract.paths import Paths
from asl.datasets.instance import Instance, Metadata
from asl.datasets.wlasl import Wlasl
from asl.preprocess.audit.audit import audit
from asl.preprocess.audit.missing_clips import find_missing_clips
from asl.preprocess.audit.pairs import Kind, make_pair
from asl.preprocess.audit.statistics import compute_statistics
from asl.preprocess.clips.backend import Choice, TrimSettings
from asl.preprocess.clips.cutting import CutResults
from asl.preprocess.clips.frames import FramesOutcome
from asl.preprocess.clips.proof import Proof
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.report.html.thumbnails import ShownClips, collect_shown_clips
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideo
from asl.preprocess.sources.url_name_rule import UrlNameErrors
from asl.workers import Workers

NUM_FRAMES = 9


def instance(video_id: str, gloss: str = "book", split: str = "train", **more: Any) -> Instance:
    """A whole clip of its own URL."""
    fields = {"url": f"https://signs.example/{video_id}.mp4", "site": "signs", "signer_id": "1", **more}
    return Instance(video_id=video_id, gloss=gloss, split=split, **fields)


def make_run_result(
    folder: Path,
    instances: Sequence[Instance],
    *,
    missing: Sequence[str] = (),
    doubts: dict[str, str] | None = None,
    bitstream: dict[str, str] | None = None,
    left_to_cpu: dict[str, int] | None = None,
    pairs: Sequence[tuple[Kind, str, str]] = (),
    dropped: dict[str, list[str]] | None = None,
    seconds_of: dict[str, float] | None = None,
    **more: Any,
) -> RunResult:
    """The result of a run with these instances; no file is read or written.

    Args:
        folder: the data folder.
        instances: all of them; each has a clip unless it is missing or dropped.
        missing: video_ids without a source.
        doubts: evidence against a match, by video_id.
        bitstream: what only the GPU's parser of H.264 found, by video_id.
        left_to_cpu: number of clips that the GPU left to the CPU, by reason.
        pairs: (kind, video_id, video_id) that the audit found.
        dropped: clips that the audit dropped, by video_id, and their copies in val and test.
        seconds_of: durations by video_id; 2 s for the others.
        more: other fields of :class:`RunResult`.
    """
    doubts, dropped, seconds_of = doubts or {}, dropped or {}, seconds_of or {}
    bitstream = bitstream or {}
    by_id = {one.video_id: one for one in instances}
    glosses = tuple(dict.fromkeys(one.gloss for one in instances))
    label_of = {gloss: label for label, gloss in enumerate(glosses)}
    metadata = Metadata(tuple(instances), glosses, ())
    matches: dict[str, Match | Unmatched] = {
        one.video_id: Unmatched("no file", f"download {one.url} as {one.video_id}.mp4")
        if one.video_id in missing
        else Match(f"{one.video_id}.mp4", "video_id", doubts.get(one.video_id))
        for one in instances
    }
    proofs = {
        one.video_id: _proof(bitstream.get(one.video_id, ""))
        for one in instances
        if one.video_id not in missing
    }
    clips = [
        _clip(one, label_of[one.gloss], seconds_of.get(one.video_id, 2.0))
        for one in instances
        if one.video_id in proofs and one.video_id not in dropped
    ]
    found = [make_pair(kind, by_id[first], by_id[second]) for kind, first, second in pairs]
    missing_clips = find_missing_clips(metadata, matches, {}, dropped)
    raw = {f"{video_id}.mp4": RawVideo(2.0, 320, 240, 29.97, "h264", "yuv420p") for video_id in proofs}
    return RunResult(
        **{
            "config": _config(folder),
            "choice": Choice("cpu", "as asked"),
            "capabilities": None,
            "metadata": metadata,
            "raw_files": sorted(raw),
            "raw_videos": raw,
            "matches": matches,
            "cut_results": CutResults(
                proofs, {}, 0, FramesOutcome(host=len(proofs), refused_by_gpu=left_to_cpu or {})
            ),
            "clips": clips,
            "missing": missing_clips,
            "audit": audit(instances, clips, found, min_per_class=5, dropped=dropped),
            "statistics": compute_statistics(
                metadata=metadata,
                matches=matches,
                clips=clips,
                missing=missing_clips,
                proofs=proofs,
                raw_videos=raw,
            ),
            "url_name_errors": UrlNameErrors(40, 20, 11, 7, 6),
            "stale": (),
            "started": "2026-01-02T03:04:05+00:00",
            "seconds": {"matching": 1.5},
            **more,
        }
    )


def write_clips(result: RunResult, grey: Sequence[int] = range(0, 90, 10)) -> None:
    """Files for all clips of the manifest, evenly grey frame by frame."""
    assert len(grey) == NUM_FRAMES
    for clip in result.clips:
        write_clip(Path(result.config.paths.data_dir) / clip.path, grey=grey)


def _config(folder: Path) -> PreprocessConfig:
    dataset = Wlasl(name="made", root=str(folder / "raw"), metadata=str(folder / "metadata" / "made.json"))
    return PreprocessConfig(paths=Paths.below(folder), dataset=dataset, trim=TrimSettings(workers=1))


def _proof(bitstream: str) -> Proof:
    return Proof(
        num_frames=NUM_FRAMES,
        fps=25.0,
        duration_s=NUM_FRAMES / 25,
        width=64,
        height=48,
        start_s=0.0,
        end_s=NUM_FRAMES / 25,
        copied=True,
        size=1,
        digest="",
        fingerprint="",
        bitstream=bitstream,
    )


def _clip(one: Instance, label: int, duration_s: float) -> Clip:
    return Clip(
        split=one.split,
        gloss=one.gloss,
        label=label,
        video_id=one.video_id,
        path=f"videos/{one.split}/{one.gloss}/{one.video_id}.mp4",
        num_frames=NUM_FRAMES,
        fps=25.0,
        duration_s=duration_s,
        width=64,
        height=48,
        signer_id=one.signer_id,
        source=f"{one.video_id}.mp4",
        start_s=0.0,
        end_s=duration_s,
        match="video_id",
    )


def shown_clips_of(result: RunResult) -> ShownClips:
    """The clips that the page shows, with thumbnails made in a worker of their own."""
    with Workers(1) as workers:
        return collect_shown_clips(result, result.config.paths, workers)
