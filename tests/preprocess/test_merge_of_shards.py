"""Which shards have done their work, and what the merge takes from them."""

from __future__ import annotations

import dataclasses
import os
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from composing import composed
from rich.progress import Progress
from test_cut import make_cut
from test_cutting import Device, NoWorkers
from test_frames_of_clips import ORIGIN, SPEC, store

from asl.codecs.encoder import x264
from asl.codecs.frame_collector import FramesRequest
from asl.config.setting import ConfigError
from asl.contract.frame_store import frames_path
from asl.contract.paths import Paths
from asl.errors import UserError
from asl.preprocess.clips.backend import Choice
from asl.preprocess.clips.cutting import CutFailure, CutResults, cut_all
from asl.preprocess.clips.folder_lock import locked_folders
from asl.preprocess.clips.frames import FramesOutcome
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof_log import ProofLog, join_logs, request_of
from asl.preprocess.shards import merge
from asl.preprocess.shards.files import ShardFiles, proof_logs
from asl.preprocess.shards.merge import (
    UnfinishedShardsError,
    find_count,
    join_shards,
    merge_command,
    shard_command,
)
from asl.preprocess.shards.record import read_record, recorded

QUALITY = [20, "ultrafast", 23, False]


def plan(folder: Path, video_ids: str, **changes: object) -> list[Cut]:
    """Cuts of one source, without frames."""
    source = folder / "a.mp4"
    if not source.exists():
        source.write_text("source")
    return [
        make_cut(
            source,
            folder / "videos" / "train" / "book" / f"{video_id}.mp4",
            **{"video_id": video_id, "start_s": Fraction(1, 2), "end_s": Fraction(3, 2), **changes},
        )
        for video_id in video_ids
    ]


def shards(folder: Path) -> Path:
    return Paths.below(folder).shards("demo", 2)


def cut_shard(folder: Path, index: int, cuts: list[Cut], *, failing: str = "") -> None:
    """Do the work of a shard, as the pipeline does."""
    files = ShardFiles(shards(folder), index)
    with locked_folders(files.folder) as run, recorded(files.record, run) as record:
        asked = {cut.video_id: request_of(cut) for cut in cuts}
        results = cut_all(
            cuts,
            ProofLog(files.proof_log),
            NoWorkers(),  # type: ignore[arg-type]
            Progress(disable=True),
            frames_dir=folder / "frames",
            accelerator=Device(failing),
            overwrite=False,
            read_bytes=False,
            timeout_s=7,
        )
        record.backend, record.encoder, record.quality = "cpu", cuts[0].encoder.as_dict(), QUALITY
        record.take(cuts, asked, results)


def merged(folder: Path, *shares: list[Cut], quality: list[object] = QUALITY) -> tuple[CutResults, Choice]:
    paths = Paths.below(folder)
    join_logs(paths.proof_log, proof_logs(Path(paths.metadata_dir)))
    log = ProofLog(paths.proof_log)
    return join_shards(shares, shards(folder), log, quality=quality, read_bytes=False)


def unfinished(
    folder: Path, *shares: list[Cut], quality: list[object] = QUALITY
) -> tuple[tuple[int, ...], str]:
    with pytest.raises(UnfinishedShardsError) as raised:
        merged(folder, *shares, quality=quality)
    return raised.value.indices, str(raised.value)


def test_clips_and_failures_of_all_shards_are_joined(tmp_path: Path) -> None:
    first, second = plan(tmp_path, "12"), plan(tmp_path, "34")
    cut_shard(tmp_path, 0, first, failing="2")
    cut_shard(tmp_path, 1, second)
    for _ in range(2):  # the second time, the logs are joined already
        results, choice = merged(tmp_path, first, second)
        assert sorted(results.proofs) == ["1", "3", "4"]
        assert results.failures == {"2": CutFailure("a.mp4 is damaged", "damaged source", 0.5, 1.5)}
        assert (results.reused, choice) == (3, Choice("cpu", "in 2 shards"))


def test_a_shard_whose_work_has_changed_is_to_be_started_again(tmp_path: Path) -> None:
    first, second = plan(tmp_path, "12"), plan(tmp_path, "34")
    cut_shard(tmp_path, 0, first, failing="2")
    cut_shard(tmp_path, 1, second)
    indices, message = unfinished(tmp_path, first, plan(tmp_path, "345"))
    assert indices == (1,)
    assert "shard.index=1 lacks 1 clips, which are new or have changed since it ended" in message
    assert unfinished(tmp_path, plan(tmp_path, "12", end_tolerance_s=Fraction(1)), second)[0] == (0,)
    assert unfinished(tmp_path, plan(tmp_path, "12", audio=True), second)[0] == (0,)
    assert unfinished(tmp_path, first, second, quality=[21, *QUALITY[1:]])[0] == (0, 1)
    second[0].target.write_text("damaged")
    assert unfinished(tmp_path, first, second)[0] == (1,)
    cut_shard(tmp_path, 1, second)
    os.utime(first[0].source, ns=(5, 5))
    assert unfinished(tmp_path, first, second)[0] == (0, 1)


def test_the_encoders_of_the_shards_machines_count_not_that_of_the_merge(tmp_path: Path) -> None:
    cuts = plan(tmp_path, "12")
    cut_shard(tmp_path, 0, cuts, failing="2")
    others = [dataclasses.replace(cut, encoder=x264(crf=23, preset="fast")) for cut in cuts]
    results, _ = merged(tmp_path, others, [])
    assert (sorted(results.proofs), sorted(results.failures)) == (["1"], ["2"])


def test_frames_that_are_missing_are_the_work_of_their_shard_unless_it_failed_to_make_them(
    tmp_path: Path,
) -> None:
    cuts = [
        dataclasses.replace(
            cut, frames=FramesRequest(frames_path(tmp_path / "frames", SPEC, cut.video_id), SPEC, ORIGIN)
        )
        for cut in plan(tmp_path, "12")
    ]
    cut_shard(tmp_path, 0, cuts)
    assert "shard.index=0 lacks the frames of 2 clips" in unfinished(tmp_path, cuts)[1]
    store(cuts[0])
    record = shards(tmp_path) / "0.json"
    record.write_text(record.read_text().replace('"no_frames": {}', '"no_frames": {"2": "a.mp4 is damaged"}'))
    results, _ = merged(tmp_path, cuts)
    assert (results.frames.there, dict(results.frames.failed)) == (1, {"2": "a.mp4 is damaged"})
    without = [dataclasses.replace(cut, frames=None) for cut in cuts]
    assert merged(tmp_path, without)[0].frames == FramesOutcome()
    store(cuts[1])  # by a later run
    assert merged(tmp_path, cuts)[0].frames == FramesOutcome(there=2)


def test_a_shard_that_failed_or_was_stopped_says_so(tmp_path: Path) -> None:
    cuts = plan(tmp_path, "1")
    files = ShardFiles(shards(tmp_path), 0)
    for error, told in (
        (UserError("the disk is full"), "the disk is full"),
        (KeyboardInterrupt(), "it was stopped"),
    ):
        with pytest.raises(type(error)), locked_folders(files.folder) as run, recorded(files.record, run):
            raise error
        host = os.uname().nodename
        assert (
            f"shard.index=0 failed (process {os.getpid()} on {host}, since " in unfinished(tmp_path, cuts)[1]
        )
        assert f"): {told}\n" in unfinished(tmp_path, cuts)[1]
    files.record.write_text('{"state": "finished"}')  # of another version
    assert read_record(files.record) is None
    message = unfinished(tmp_path, cuts)[1]
    assert f"shard.index=0 has a damaged record, {files.record}" in message
    assert "set of" not in message
    files.record.unlink()
    start_shard(Paths.below(tmp_path).shards("demo", 4))
    message = unfinished(tmp_path, cuts)[1]
    assert "shard.index=0 was never started" in message
    assert "There are shards of a set of 4, too: python preprocess.py merge=true shard.count=4" in message


def test_shards_without_any_source_need_not_be_started(tmp_path: Path) -> None:
    cuts = plan(tmp_path, "1")
    cut_shard(tmp_path, 0, cuts)
    assert sorted(merged(tmp_path, cuts, [])[0].proofs) == ["1"]


def start_shard(folder: Path) -> None:
    """Leave what a shard leaves that has just started."""
    with locked_folders(folder) as run, recorded(ShardFiles(folder, 0).record, run):
        pass


def test_the_merge_finds_the_number_of_shards(tmp_path: Path) -> None:
    paths = Paths.below(tmp_path)
    with pytest.raises(UserError, match=rf"no shard of demo was started with paths\.metadata_dir={tmp_path}"):
        find_count(paths, "demo")
    start_shard(paths.shards("demo", 16))
    start_shard(paths.shards("other", 2))
    paths.shards("demo", 5).mkdir()  # none of this set was started, as after merge=true shard.count=5
    (paths.shards("demo", 5) / "sources.0.json").touch()
    assert find_count(paths, "demo") == 16
    start_shard(paths.shards("demo", 4))
    with pytest.raises(UserError, match=r"has sets of 4, 16 shards of demo\. Say which with shard\.count"):
        find_count(paths, "demo")


def test_commands_have_the_other_keys_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "HydraConfig", SimpleNamespace(initialized=lambda: True))
    own = ["--config-dir", "a b", "merge=true", "dataset=demo", "shard.count=4", "overwrite=true"]
    monkeypatch.setattr(sys, "argv", ["preprocess.py", *own])
    program = "python preprocess.py --config-dir 'a b' dataset=demo"
    assert shard_command(3, 4) == f"{program} overwrite=true shard.index=3 shard.count=4"
    assert merge_command(4) == f"{program} merge=true shard.count=4"  # which cuts nothing


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["shard.index=0"], "shard.index=0: needs shard.count, the number of shards"),
        (["shard.index=4", "shard.count=4"], "shard.index=4: shards are counted from 0, so the last is 3"),
        (["shard.count=4"], "shard.count=4: needs shard.index, a launcher that starts all shards"),
        (
            ["merge=true", "shard.index=1", "shard.count=4"],
            "merge=true, shard.index=1: the merge is a run after",
        ),
        (["merge=true", "overwrite=true"], "merge=true, overwrite=true: the merge cuts nothing"),
        (["shard.count=0"], "shard.count=0: must be at least 1"),
    ],
)
def test_keys_that_contradict_each_other(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message.replace(".", r"\.")):
        composed("preprocess", *overrides)
