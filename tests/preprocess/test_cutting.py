"""All clips of a run: which are reused, cut and failed, and what is kept of each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from test_cut import make_cut
from test_frames_of_clips import ORIGIN, PROOF, SPEC, store

from asl.codecs.frame_collector import FramesRequest
from asl.contract.frame_store import frames_path
from asl.preprocess.clips.accelerator import FramesByDevice
from asl.preprocess.clips.cut import CutError
from asl.preprocess.clips.cutting import CutFailure, CutResults, cut_all
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, file_digest
from asl.preprocess.clips.proof_log import ProofLog, request_of


class Device:
    """Makes every clip but those of ``failing``, and no frames."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.started: list[str] = []
        self.asked: list[str] = []

    def start(self, cuts: Sequence[Cut]) -> None:
        self.started = [cut.video_id for cut in cuts]

    def make_clips(
        self, cuts: Sequence[Cut], workers: Any, *, timeout_s: float
    ) -> Iterator[tuple[Cut, Proof | CutError]]:
        assert timeout_s == 7
        self.asked = [cut.video_id for cut in cuts]
        for cut in cuts:
            if cut.video_id in self.failing:
                yield cut, CutError("a.mp4 is damaged", "damaged source")
            else:
                yield cut, make(cut)

    def claim_for_host(self, video_id: str) -> bool:
        return False

    def finish(self, proofs: dict[str, Proof], workers: Any) -> FramesByDevice:
        return FramesByDevice(published=0)


class NoWorkers:
    """Worker processes that get no task."""

    count = 1

    def run_lazily(self, function: Any, tasks: Iterator[Any], **_: Any) -> list[Any]:
        assert list(tasks) == []
        return []


def make(cut: Cut) -> Proof:
    """Write something in the place of a clip."""
    cut.target.parent.mkdir(parents=True, exist_ok=True)
    cut.target.write_text(f"clip {cut.video_id}")
    end_s = PROOF.end_s if cut.end_s is None else float(cut.end_s)
    size, digest = cut.target.stat().st_size, file_digest(cut.target)
    return dataclasses.replace(PROOF, end_s=end_s, size=size, digest=digest)


@pytest.fixture
def cuts(tmp_path: Path) -> list[Cut]:
    """Four cuts of one source; frames of all but the last are to be stored."""
    source = tmp_path / "a.mp4"
    source.write_text("source")
    return [
        make_cut(
            source,
            tmp_path / "videos" / "train" / "book" / f"{video_id}.mp4",
            video_id=video_id,
            start_s=Fraction(1, 2),
            end_s=None if video_id == "2" else Fraction(3, 2),
            frames=None
            if video_id == "4"
            else FramesRequest(frames_path(tmp_path / "frames", SPEC, video_id), SPEC, ORIGIN),
        )
        for video_id in "1234"
    ]


def run(
    folder: Path, cuts: list[Cut], device: Device, *, overwrite: bool = False
) -> tuple[CutResults, Progress]:
    progress = Progress(disable=True)
    results = cut_all(
        cuts,
        ProofLog(folder / "proofs.jsonl"),
        NoWorkers(),  # type: ignore[arg-type]
        progress,
        frames_dir=folder / "frames",
        accelerator=device,
        overwrite=overwrite,
        read_bytes=False,
        timeout_s=7,
    )
    return results, progress


def test_proofs_and_failures_of_all_clips(tmp_path: Path, cuts: list[Cut]) -> None:
    device = Device(failing="23")
    results, progress = run(tmp_path, cuts, device)
    assert (device.started, device.asked) == (["1", "2", "3"], ["1", "2", "3", "4"])
    assert sorted(results.proofs) == ["1", "4"]
    assert results.proofs["1"].digest == file_digest(cuts[0].target)
    assert results.failures == {
        "2": CutFailure("a.mp4 is damaged", "damaged source", 0.5, None),
        "3": CutFailure("a.mp4 is damaged", "damaged source", 0.5, 1.5),
    }
    assert (results.reused, results.frames.there) == (0, 0)
    assert (progress.tasks[0].total, progress.tasks[0].completed) == (4, 4)


def test_a_later_run_cuts_only_what_is_not_made(tmp_path: Path, cuts: list[Cut]) -> None:
    run(tmp_path, cuts, Device(failing="23"))
    device = Device()
    results, progress = run(tmp_path, cuts, device)
    assert device.asked == ["2", "3"]
    assert (sorted(results.proofs), results.failures, results.reused) == (["1", "2", "3", "4"], {}, 2)
    assert (progress.tasks[0].total, progress.tasks[0].completed) == (4, 4)
    again = Device()
    assert run(tmp_path, cuts, again)[0].reused == 4
    assert again.asked == []
    run(tmp_path, cuts, again, overwrite=True)
    assert again.asked == ["1", "2", "3", "4"]


def test_frames_of_clips_that_are_cut_again_are_removed_and_the_others_are_there(
    tmp_path: Path, cuts: list[Cut]
) -> None:
    run(tmp_path, cuts, Device(failing="3"))
    for cut in cuts[:3]:
        store(cut)
    device = Device()
    results, _ = run(tmp_path, cuts, device)
    stored = [cut.frames is not None and cut.frames.path.exists() for cut in cuts]
    assert stored == [True, True, False, False]
    assert (device.started, results.frames.there) == (["3"], 2)
    assert run(tmp_path, cuts[1:], device)[0].frames.there == 1


def test_a_clip_whose_source_is_replaced_while_it_is_cut_is_cut_again(
    tmp_path: Path, cuts: list[Cut]
) -> None:
    class Replacing(Device):
        def make_clips(self, cuts: Sequence[Cut], *args: Any, **settings: Any) -> Iterator[Any]:
            os.truncate(cuts[0].source, 3)
            return super().make_clips(cuts, *args, **settings)

    before = request_of(cuts[0])
    run(tmp_path, cuts[:1], Replacing())
    assert request_of(cuts[0]) != before
    device = Device()
    run(tmp_path, cuts[:1], device)
    assert device.asked == ["1"]
