"""Decoded frames of the clips of a run, for training: which are missing, and making those.

Frames are stored while a clip is cut. This module makes the others, of clips that an earlier run cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.progress import Progress

from asl.contract.frame_store import has_frames, part_pixels, read_origin, read_shape, store_bytes
from asl.preprocess.clips.accelerator import Accelerator
from asl.preprocess.clips.cut import make_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.threads import map_in_threads
from asl.workers import Failed, Workers


@dataclass(frozen=True)
class FramesOutcome:
    """How many clips' frames were already stored, made on the host, and made on a GPU."""

    there: int = 0
    host: int = 0
    gpu: int = 0
    refused_by_gpu: Mapping[str, int] = field(default_factory=dict)  # clips by reason; the host made these
    failed: Mapping[str, str] = field(default_factory=dict)  # error by video_id; training tries these again


def space_needed(cuts: Sequence[Cut]) -> tuple[int, int]:
    """Number of clips that have no frames yet, and an estimate of the bytes that these will take."""
    clips = []
    wanted = [(cut, cut.frames, cut.raw) for cut in cuts if cut.frames is not None and cut.raw is not None]
    there = map_in_threads(lambda one: has_frames(one[1].path), wanted)
    for (cut, request, raw), exists in zip(wanted, there, strict=True):
        if not exists:
            duration_s, frames = cut.estimated_length()
            _, _, width, height = part_pixels(request.origin.part, raw.width, raw.height)
            clips.append((request.spec, (duration_s, round(frames), width, height)))
    return len(clips), sum(store_bytes(spec, [clip]) for spec, clip in clips)


def without_frames(cuts: Iterable[Cut], proofs: Mapping[str, Proof]) -> list[Cut]:
    """The cuts whose frames are wanted and not stored. A clip that is not proven yet has none."""
    wanted = [cut for cut in cuts if cut.frames is not None]

    def is_missing(cut: Cut) -> bool:
        return cut.video_id not in proofs or not _are_stored(cut, proofs[cut.video_id])

    return [cut for cut, missing in zip(wanted, map_in_threads(is_missing, wanted), strict=True) if missing]


def make_missing_frames(
    cuts: Sequence[Cut],
    proofs: Mapping[str, Proof],
    accelerator: Accelerator,
    workers: Workers,
    progress: Progress,
    *,
    there: int,
    timeout_s: float,
) -> FramesOutcome:
    """Make the frames that are still missing. Call once, after all clips have been cut.

    Args:
        cuts: those whose frames were missing when the run began.
        proofs: of all clips, by video_id.
        accelerator: was started with ``cuts``.
        workers: host processes.
        progress: shows a bar.
        there: number of clips whose frames were stored when the run began.
        timeout_s: time limit for each clip.
    """
    proven = [cut for cut in cuts if cut.video_id in proofs]
    missing = without_frames(proven, proofs)
    bar = progress.add_task("keeping frames", total=len(missing), visible=bool(missing))
    failed: dict[str, str] = {}

    def make(cuts: Iterable[Cut]) -> None:
        tasks = ((cut, proofs[cut.video_id]) for cut in cuts)
        ahead = 2 * workers.count
        for ended in workers.run_lazily(make_frames, tasks, ahead=ahead, timeout_s=timeout_s):
            if isinstance(ended, Failed):
                failed[ended.task[0].video_id] = ended.message
            progress.advance(bar)

    # Claimed one by one as their turn comes: until then, the other device may still take them.
    make(cut for cut in missing if accelerator.claim_for_host(cut.video_id))
    elsewhere = accelerator.finish(proofs, workers)
    progress.update(bar, completed=len(missing) - len(elsewhere.refused))
    make(elsewhere.refused)
    return FramesOutcome(
        there=there,
        host=len(proven) - elsewhere.published - len(failed),
        gpu=elsewhere.published,
        refused_by_gpu=elsewhere.reasons,
        failed=failed,
    )


def _are_stored(cut: Cut, proof: Proof) -> bool:
    """Whether the store has the frames of this cut, complete."""
    assert cut.frames is not None
    shape = read_shape(cut.frames.path)
    return (
        shape is not None
        and shape[0] == cut.frames.spec.count(proof.duration_s, proof.num_frames)
        and read_origin(cut.frames.path) == cut.frames.origin
    )
