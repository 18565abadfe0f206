"""The whole of preprocessing, on a small demo with every kind of raw file."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import decord
import pytest
from raw_videos import frame_numbers, write_raw

from asl.codecs.probe import probe
from asl.contract.manifest import COLUMNS, read_manifest
from asl.contract.paths import Paths
from asl.datasets.wlasl import Wlasl
from asl.errors import UserError
from asl.files import temp_path
from asl.preprocess.audit.settings import AuditSettings
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.folder_lock import FolderInUseError, locked_folders
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.pipeline import preprocess
from asl.preprocess.sources.settings import MatchingSettings
from asl.workers import Workers

NO_PROCESS = 2**22 + 1  # above the largest number that Linux gives to a process


def settings(data_dir, *, name="demo", metadata="demo.json", **changes):
    paths = Paths.below(data_dir)
    lengths = str(data_dir / "metadata" / "demo_lengths.json") if name == "demo" else None
    dataset = Wlasl(
        name=name, root=paths.raw_dir, metadata=str(data_dir / "metadata" / metadata), lengths=lengths
    )
    return PreprocessConfig(**{"paths": paths, "dataset": dataset, "probe": 0, **changes})


def problems(data_dir):
    (path,) = (data_dir / "metadata").glob("*_preprocess_errors.csv")
    with path.open(newline="") as file:
        return {row["video_id"]: row for row in csv.DictReader(file)}


def summary(data_dir):
    (path,) = (data_dir / "metadata").glob("*_preprocess_summary.json")
    return json.loads(path.read_text())


def write_times(data_dir):
    return {path: path.stat().st_mtime_ns for path in (data_dir / "videos").rglob("*.mp4")}


@pytest.fixture(scope="module")
def done(demo_dir, tmp_path_factory):
    """The demo, preprocessed; to be read, not written to."""
    data_dir = tmp_path_factory.mktemp("done")
    (data_dir / "raw").symlink_to(demo_dir / "raw")
    shutil.copytree(demo_dir / "metadata", data_dir / "metadata")
    preprocess(settings(data_dir, probe=2))
    return data_dir


@pytest.fixture
def again(done, tmp_path):
    """A copy of what was preprocessed, to be changed and run again."""
    shutil.copytree(done, tmp_path / "again", symlinks=True)
    return tmp_path / "again"


@pytest.fixture(scope="module")
def truth(demo_dir):
    return json.loads((demo_dir / "metadata" / "demo_truth.json").read_text())["instances"]


def test_every_clip_holds_exactly_the_frames_that_were_asked_for(done, truth):
    clips = {clip.video_id: clip for clip in read_manifest(done / "metadata" / "demo_manifest.csv")}
    assert set(clips) == {video_id for video_id, true in truth.items() if true["outcome"] == "clip"}
    for video_id, clip in clips.items():
        true = truth[video_id]
        meant = list(range(true["first_frame"], true["last_frame"] + 1))
        assert frame_numbers(done / clip.path) == meant, (video_id, true["note"])
        assert (clip.num_frames, clip.source) == (len(meant), true["raw"])
        even = (true["width"] // 2 * 2, true["height"] // 2 * 2)
        assert (clip.width, clip.height) == even, (video_id, true["note"])
        assert probe(done / clip.path).is_plain


def test_decord_reads_what_the_manifest_says(done):
    for clip in read_manifest(done / "metadata" / "demo_manifest.csv"):
        reader = decord.VideoReader(str(done / clip.path), num_threads=1)
        assert len(reader) == clip.num_frames
        assert reader[0].shape == (clip.height, clip.width, 3)
        assert reader.get_frame_timestamp(len(reader) - 1)[0] < clip.duration_s


def test_what_needs_no_encoding_is_copied(done, truth):
    lines = (done / "metadata" / "clip_proofs.jsonl").read_text().splitlines()
    copied = {entry["video_id"]: entry["proof"]["copied"] for entry in map(json.loads, lines)}
    assert copied == {v: true["can_be_copied"] for v, true in truth.items() if true["outcome"] == "clip"}


def test_every_row_without_a_clip_is_named_with_its_reason(done, truth):
    reasons = {
        "missing": {"no file", "shared name"},  # or a file of its name that is somebody else's
        "ambiguous": {"shared name"},
        "damaged": {"damaged source", "unreadable file"},
        "past_end": {"segment past the end"},
    }
    found = problems(done)
    assert set(found) == {video_id for video_id, true in truth.items() if true["outcome"] != "clip"}
    for video_id, row in found.items():
        assert row["reason"] in reasons[truth[video_id]["outcome"]], row
        assert row["error"]
    assert list(next(iter(found.values())))[:2] == ["video_id", "error"]


def test_the_manifest_is_in_a_fixed_order_with_paths_from_the_data_folder(done):
    text = (done / "metadata" / "demo_manifest.csv").read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    clips = read_manifest(done / "metadata" / "demo_manifest.csv")
    for clip in clips:
        assert clip.path == f"videos/{clip.split}/{clip.gloss}/{clip.video_id}.mp4"
    keys = [(["train", "val", "test"].index(clip.split), clip.label, clip.video_id) for clip in clips]
    assert keys == sorted(keys)


def test_the_summary_counts_what_the_files_say(done, truth):
    told, clips = summary(done), read_manifest(done / "metadata" / "demo_manifest.csv")
    assert told["clips"] == len(clips) == told["copied"] + told["encoded"]
    assert told["instances"] == len(truth)
    assert sum(row["count"] for row in told["missing"]) == len(problems(done))
    assert {split: row["clips"] for split, row in told["splits"].items()} == {
        split: sum(clip.split == split for clip in clips) for split in ("train", "val", "test")
    }
    assert told["stale"] == []
    assert told["trim"]["name"] in ("cpu", "nvenc")  # whatever this machine has
    assert told["trim"]["why"]
    assert told["capabilities"]["gpu"]["detail"]


def test_the_nested_form_gives_the_same_manifest_and_audit(done, again):
    (again / "metadata" / "demo_manifest.csv").unlink()
    preprocess(settings(again, metadata="demo_nested.json", trim=TrimSettings(workers=1)))
    assert summary(again)["reused"] == summary(again)["clips"]
    for name in ("metadata/demo_manifest.csv", "metadata/demo_audit.json"):  # in any number of processes
        assert (again / name).read_bytes() == (done / name).read_bytes()


# ---------------------------------------------------------------- running again


def test_a_second_run_redoes_only_what_is_not_right(done, again):
    clips = read_manifest(again / "metadata" / "demo_manifest.csv")
    missing, damaged = (again / clip.path for clip in clips[:2])
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-100])
    before = write_times(again)
    preprocess(settings(again))
    after = write_times(again)
    assert {path for path in after if after[path] != before.get(path)} == {missing, damaged}
    for name in ("demo_manifest.csv", "demo_preprocess_errors.csv"):
        assert (again / "metadata" / name).read_text() == (done / "metadata" / name).read_text()


def test_overwrite_redoes_all(again):
    before = write_times(again)
    preprocess(settings(again, overwrite=True))
    after = write_times(again)
    assert before.keys() == after.keys()
    assert all(after[path] != before[path] for path in after)


def test_files_that_no_clip_owns_are_reported_and_left_and_half_files_removed(again):
    videos = again / "videos"
    (videos / "train" / "foreign.mp4").write_bytes(b"x")
    half = temp_path(videos / "train" / "00001.mp4", pid=NO_PROCESS)
    of_another_machine = videos / "train" / ".00001.0123abcd-77.part.mp4"
    for path in (half, of_another_machine):
        path.write_bytes(b"x")
    preprocess(settings(again))
    assert summary(again)["stale"] == ["train/foreign.mp4"]
    assert (videos / "train" / "foreign.mp4").exists()
    assert not half.exists()
    assert of_another_machine.exists()
    assert "foreign" not in (again / "metadata" / "demo_manifest.csv").read_text()


# ---------------------------------------------------------------- the audit


def rows(data_dir):
    clips = read_manifest(data_dir / "metadata" / "demo_manifest.csv")
    return {clip.video_id: clip for clip in clips}


def test_the_manifest_says_how_each_source_is_known_and_what_the_audit_found(done, truth):
    clips = rows(done)
    known = {clip.match for clip in clips.values()}
    assert known == {"video_id", "youtube_id", "url_name", "evidence"}
    by_length = [v for v, true in truth.items() if true["note"] == "shares its name, its length tells"]
    assert [clips[video_id].match for video_id in by_length] == ["evidence"]
    found = json.loads(Paths.below(done).audit("demo").read_text())
    leaking = [pair for pair in found["pairs"] if pair["leakage"]]
    assert leaking
    for pair in leaking:
        assert "leakage" in clips[pair["first"]].flags
        assert "leakage" in clips[pair["second"]].flags
        assert pair["first"] in clips[pair["second"]].copies.split()
        assert pair["second"] in clips[pair["first"]].copies.split()
    assert any("conflict" in clip.flags for clip in clips.values())


def series(truth):
    """video_ids of two signs of one signer that look alike, and of a copy of the second."""
    return [video_id for video_id, true in truth.items() if true["note"].startswith("series of one signer")]


def test_of_clips_that_look_alike_only_copies_are_flagged(done, truth):
    clips, (one, other, copy) = rows(done), series(truth)
    found = json.loads((done / "metadata" / "demo_audit.json").read_text())
    by_content = [pair for pair in found["pairs"] if pair["kind"] == "same content"]
    assert [(pair["first"], pair["second"]) for pair in by_content] == [(other, copy)]
    assert [(pair["first"], pair["second"]) for pair in found["rejected"]] == [(one, other), (one, copy)]
    assert summary(done)["audit"]["rejected"] == 2
    assert [clips[video_id].flags for video_id in (one, other, copy)] == ["", "leakage", "leakage"]
    assert [clips[video_id].copies for video_id in (one, other, copy)] == ["", copy, other]


def test_drop_train_takes_the_train_copy_out_and_nothing_else(done, again, truth):
    config = settings(again)
    config.audit = AuditSettings(leakage="drop_train")
    preprocess(config)
    before, after = rows(done), rows(again)
    gone = set(before) - set(after)
    assert gone
    assert set(after) < set(before)
    one, _, copy = series(truth)
    assert one not in gone
    assert copy in gone
    for video_id in gone:
        assert (before[video_id].split, problems(again)[video_id]["stage"]) == ("train", "audit")
    assert not [clip for clip in after.values() if "leakage" in clip.flags and clip.split == "train"]
    assert summary(again)["stale"] == []  # it is a good clip, only not for this manifest


def test_the_usual_rule_is_followed_when_it_is_asked_for(again):
    config = settings(again)
    config.matching = MatchingSettings(policy="url_name")
    preprocess(config)
    usual = summary(again)["url_name_rule"]
    assert sum(summary(again)["matched_by"].values()) == usual["rows"]
    assert usual["wrong_at_least"] >= 1


def test_a_suspect_is_kept_with_a_flag_or_dropped(tmp_path):
    config = small(tmp_path, {"frame_end": -1}, {"frame_end": -1, "url": "http://x.example/b.mp4"})
    write_raw(tmp_path / "raw" / "b.mp4", duration_s=3)
    lengths = {"v0": {"action": [0, 1, 52]}, "v1": {"action": [0, 1, 300]}}
    (tmp_path / "metadata" / "nslt.json").write_text(json.dumps(lengths))
    config.dataset.lengths = str(tmp_path / "metadata" / "nslt.json")
    preprocess(config)
    manifest = tmp_path / "metadata" / "small_manifest.csv"
    assert {clip.video_id: clip.flags for clip in read_manifest(manifest)} == {"v0": "", "v1": "suspect"}
    assert "is 3.00 s long, but 12.00 s were published" in summary(tmp_path)["suspects"]["v1"]
    config.matching = MatchingSettings(suspect="drop")
    preprocess(config)
    assert [clip.video_id for clip in read_manifest(manifest)] == ["v0"]
    assert problems(tmp_path)["v1"]["reason"] == "suspect"


def test_the_end_tolerance_can_be_widened_and_narrowed_again(tmp_path):
    config = small(tmp_path, {"frame_end": 60})  # of 50
    with pytest.raises(UserError, match="not one clip"):
        preprocess(config)
    assert problems(tmp_path)["v0"]["reason"] == "segment past the end"
    config.matching = MatchingSettings(end_tolerance_s=0.4)
    preprocess(config)
    (clip,) = read_manifest(tmp_path / "metadata" / "small_manifest.csv")
    assert (clip.num_frames, clip.end_s) == (50, 2.0)
    config.matching = MatchingSettings()
    with pytest.raises(UserError, match="not one clip"):
        preprocess(config)


# ---------------------------------------------------------------- small folders of their own


def small(tmp_path, *rows):
    """A data folder with one raw video of 2 s at 25 fps, and these rows on it."""
    write_raw(tmp_path / "raw" / "a.mp4")
    full = []
    for i, row in enumerate(rows):
        start = {"gloss": "book", "split": "train", "video_id": f"v{i}", "url": "http://x.example/a.mp4"}
        full.append(start | {"frame_start": 1, "frame_end": 10, "fps": 25} | row)
    (tmp_path / "metadata").mkdir(exist_ok=True)
    (tmp_path / "metadata" / "small.json").write_text(json.dumps(full))
    return settings(tmp_path, name="small", metadata="small.json")


def test_names_that_would_leave_the_folder_write_nothing_there(tmp_path):
    data = tmp_path / "data"
    preprocess(small(data, {}, {"gloss": "../../evil"}, {"video_id": "/tmp/evil"}, {"split": "../train"}))
    clips = {clip.video_id: clip for clip in read_manifest(data / "metadata" / "small_manifest.csv")}
    files = {path.relative_to(data).as_posix() for path in (data / "videos").rglob("*.mp4")}
    assert files == {clips["v0"].path, clips["v1"].path}
    assert clips["v0"].path == "videos/train/book/v0.mp4"
    assert re.fullmatch(r"videos/train/evil-[0-9a-f]{8}/v1\.mp4", clips["v1"].path)
    assert clips["v1"].gloss == "../../evil"
    assert all(data / "videos" / "train" in path.parents for path in tmp_path.rglob("*evil*"))
    errors = [row["error"] for row in problems(data).values()]
    assert [error[:6] for error in errors] == ["row 3:", "row 4:"]


def test_strict_exits_with_1_if_a_clip_failed_but_still_writes_everything(tmp_path):
    config = small(tmp_path, {}, {"frame_start": 90, "frame_end": 99})
    config.strict = True
    with pytest.raises(SystemExit) as raised:
        preprocess(config)
    assert raised.value.code == 1
    assert len(read_manifest(tmp_path / "metadata" / "small_manifest.csv")) == 1


def test_strict_does_not_mind_files_that_were_never_downloaded(tmp_path):
    config = small(tmp_path, {}, {"url": "http://x.example/b.mp4"})
    config.strict = True
    preprocess(config)
    assert problems(tmp_path)["v1"]["error"].startswith("no file: download http://x.example/b.mp4 as v1.mp4")


def test_two_data_sets_in_one_folder_keep_their_files_apart(tmp_path):
    preprocess(small(tmp_path, {}))
    before = {path: path.read_bytes() for path in (tmp_path / "metadata").glob("small_*")}
    config = small(tmp_path, {"video_id": "w0"}, {"video_id": "w1", "url": "http://x.example/b.mp4"})
    config.dataset.name = "other"
    preprocess(config)
    assert {path: path.read_bytes() for path in before} == before
    written = {path.name.removeprefix("other_") for path in (tmp_path / "metadata").glob("other_*")}
    assert written == {path.name.removeprefix("small_") for path in before}
    assert len(written) == 6  # manifest, label map, errors, audit, summary, report


def test_not_one_clip_is_an_error_that_says_where_to_look(tmp_path):
    with pytest.raises(UserError, match=r"not one clip.*small_preprocess_errors\.csv"):
        preprocess(small(tmp_path, {"url": "http://x.example/b.mp4"}))


def test_folders_are_locked_before_workers_start_and_until_they_have_ended(tmp_path, monkeypatch):
    locked = []
    end = Workers.end

    def note_lock(workers):
        end(workers)
        locked.append(len(list((tmp_path / "videos").glob(".run-*.lock"))))

    monkeypatch.setattr(Workers, "end", note_lock)
    config = small(tmp_path, {})
    preprocess(config)
    assert locked == [1]
    with locked_folders(tmp_path / "frames"), pytest.raises(FolderInUseError):
        preprocess(config)
    assert locked == [1]  # none were started


def test_a_missing_raw_folder_is_an_error_that_names_it(tmp_path):
    config = small(tmp_path, {})
    shutil.rmtree(tmp_path / "raw")
    with pytest.raises(UserError, match=r"raw: no such folder \(dataset\.root, by default paths\.raw_dir\)"):
        preprocess(config)


def test_a_clip_that_takes_too_long_is_given_up_and_reported(tmp_path):
    config = small(tmp_path, {"frame_end": -1, "url": "http://x.example/long.mp4"})
    write_raw(tmp_path / "raw" / "long.mp4", duration_s=60, rotation=90)
    config.trim = TrimSettings(timeout_s=0.2, preset="veryslow")
    with pytest.raises(UserError, match="not one clip"):
        preprocess(config)
    assert problems(tmp_path)["v0"]["reason"] == "time limit"
    assert "trim.timeout_s=" in problems(tmp_path)["v0"]["error"]
    assert not [path for path in (tmp_path / "videos").rglob("*") if path.suffix == ".mp4"]


def test_videos_elsewhere_get_absolute_paths(tmp_path):
    config = small(tmp_path / "data", {})
    config.paths.videos_dir = str(tmp_path / "elsewhere")
    preprocess(config)
    (clip,) = read_manifest(tmp_path / "data" / "metadata" / "small_manifest.csv")
    assert Path(clip.path) == tmp_path / "elsewhere" / "train" / "book" / "v0.mp4"


def test_a_removed_source_takes_its_clip_out_of_the_manifest_and_makes_it_stale(tmp_path):
    config = small(tmp_path, {}, {"url": "http://x.example/b.mp4"})
    write_raw(tmp_path / "raw" / "b.mp4")
    preprocess(config)
    (tmp_path / "raw" / "b.mp4").unlink()
    preprocess(config)
    assert [clip.video_id for clip in read_manifest(tmp_path / "metadata" / "small_manifest.csv")] == ["v0"]
    assert summary(tmp_path)["stale"] == ["train/book/v1.mp4"]


def test_what_a_disk_changes_by_itself_is_found_with_verify_full(tmp_path):
    config = small(tmp_path, {})
    preprocess(config)
    clip = tmp_path / "videos" / "train" / "book" / "v0.mp4"
    right, times = clip.read_bytes(), (clip.stat().st_atime_ns, clip.stat().st_mtime_ns)
    changed = right[:-1] + bytes([right[-1] ^ 1])
    clip.write_bytes(changed)
    os.utime(clip, ns=times)
    preprocess(config)
    assert clip.read_bytes() == changed
    config.verify = "full"
    preprocess(config)
    assert clip.read_bytes() == right
