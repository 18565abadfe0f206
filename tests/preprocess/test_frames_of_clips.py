"""Which clips of a run have no frames yet, and who makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress
from test_cut import make_cut

from asl.codecs.frame_collector import FramesRequest
from asl.contract.frame_store import FrameSpec, Origin, write_frames
from asl.preprocess.clips.accelerator import FramesByDevice
from asl.preprocess.clips.frames import FramesOutcome, make_missing_frames, without_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.workers import Done, Failed

SPEC = FrameSpec(short_side=16)
ORIGIN = Origin(key="a", source="a.mp4", start_s=0.0, end_s=-1.0, fps=25.0, short_side=16)
PROOF = Proof(
    **{"num_frames": 6, "fps": 30.0, "duration_s": 0.2, "width": 64, "height": 48, "start_s": 0.0},
    **{"end_s": 0.2, "copied": False, "size": 1, "digest": "", "fingerprint": ""},
)


def cuts(folder: Path, video_ids: str) -> list[Cut]:
    """Cuts of clips of five grid points, with frames to be stored."""
    return [
        make_cut(
            folder / "a.mp4",
            folder / "videos" / "train" / "book" / f"{video_id}.mp4",
            video_id=video_id,
            frames=FramesRequest(folder / f"{video_id}.safetensors", SPEC, ORIGIN),
        )
        for video_id in video_ids
    ]


def store(cut: Cut, *, count: int = 5, key: str = "a") -> None:
    assert cut.frames is not None
    pictures = np.zeros((count, 16, 21, 3), np.uint8)
    write_frames(cut.frames.path, pictures, np.arange(count) / 25, dataclasses.replace(ORIGIN, key=key))


def test_frames_are_missing_unless_they_are_complete_and_of_this_source(tmp_path: Path) -> None:
    wanted = cuts(tmp_path, "123456")
    for cut in wanted[:2]:
        store(cut)
    store(wanted[2], count=4)
    store(wanted[3], count=6)
    store(wanted[4], key="b")
    unwanted = dataclasses.replace(wanted[5], video_id="7", frames=None)
    proofs = dict.fromkeys("134567", PROOF)  # the second clip is not proven
    missing = without_frames([unwanted, *wanted], proofs)
    assert [cut.video_id for cut in missing] == ["2", "3", "4", "5", "6"]


class Device:
    """Makes or refuses the frames of clips that the host did not claim."""

    def __init__(self, stored: str, refused: Sequence[Cut]) -> None:
        self.stored, self.refused = stored, refused

    def claim_for_host(self, video_id: str) -> bool:
        return video_id not in self.stored and video_id not in [cut.video_id for cut in self.refused]

    def finish(self, proofs: dict[str, Proof], workers: Any) -> FramesByDevice:
        return FramesByDevice(len(self.stored), self.refused, {"too wide": len(self.refused)})


class InProcess:
    """Stands for worker processes; clips of ``failing`` fail."""

    count = 3

    def __init__(self, failing: str = "") -> None:
        self.failing, self.done = failing, []  # type: ignore[var-annotated]

    def run_lazily(
        self, function: Any, tasks: Iterator[tuple[Cut, Proof]], *, ahead: int, timeout_s: float
    ) -> Iterator[Any]:
        assert (ahead, timeout_s) == (6, 7)
        for task in tasks:
            video_id = task[0].video_id
            self.done.append(video_id)
            yield Failed(task, None, "crashed", "crash") if video_id in self.failing else Done(task, None)


@pytest.mark.parametrize(
    ("stored", "refused", "failing", "by_host", "expected"),
    [
        ("", "", "", ["1", "2", "3"], FramesOutcome(4, 3, 0, {"too wide": 0})),
        ("12", "", "", ["3"], FramesOutcome(4, 1, 2, {"too wide": 0})),
        ("1", "2", "", ["3", "2"], FramesOutcome(4, 2, 1, {"too wide": 1})),
        (
            "1",
            "2",
            "23",
            ["3", "2"],
            FramesOutcome(4, 0, 1, {"too wide": 1}, {"2": "crashed", "3": "crashed"}),
        ),
    ],
)
def test_the_host_makes_what_it_claims_and_what_the_device_refuses(
    tmp_path: Path, stored: str, refused: str, failing: str, by_host: list[str], expected: FramesOutcome
) -> None:
    wanted = cuts(tmp_path, "1234")
    workers, progress = InProcess(failing), Progress(disable=True)
    outcome = make_missing_frames(
        wanted,
        dict.fromkeys("123", PROOF),  # the fourth clip could not be made
        Device(stored, [cut for cut in wanted if cut.video_id in refused]),  # type: ignore[arg-type]
        workers,  # type: ignore[arg-type]
        progress,
        there=4,
        timeout_s=7,
    )
    assert workers.done == by_host
    assert outcome == expected
    assert [task.total for task in progress.tasks] == [3]
    assert progress.tasks[0].completed == 3


def test_there_is_no_bar_where_nothing_is_missing(tmp_path: Path) -> None:
    progress = Progress(disable=True)
    device, workers = Device("", []), InProcess()
    outcome = make_missing_frames([], {}, device, workers, progress, there=7, timeout_s=7)  # type: ignore[arg-type]
    assert outcome == FramesOutcome(there=7, refused_by_gpu={"too wide": 0})
    assert [task.visible for task in progress.tasks] == [False]
