"""The rows of the manifest, and files that belong to none."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import make_clip
from instances import make_instance

from asl.contract.manifest import Clip, write_manifest
from asl.contract.paths import Paths
from asl.datasets.instance import Box
from asl.preprocess.clips.manifest_rows import manifest_rows, stale_files
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideo

THIRD = 1 / 3
RAW = RawVideo(4.0, 64, 48)
PROOF = Proof(
    **{"num_frames": 25, "fps": 25 + THIRD, "duration_s": 1 + THIRD, "width": 64, "height": 48},
    **{"start_s": 2 + THIRD, "end_s": 3 + 2 * THIRD, "copied": False, "size": 1, "digest": ""},
    fingerprint="",
)


def rows(paths: Paths) -> list[Clip]:
    instances = [
        make_instance("5", "", split="val"),
        make_instance("6", "", split="val"),
        make_instance("4", "", split="test"),
        make_instance("9", "", gloss="go/on", signer_id="3", box=Box(16, 12, 48, 48)),
        make_instance("2", "", split="train"),
        make_instance("1", "", split="train"),
        make_instance("3", "", split="val"),
    ]
    matches = {one.video_id: Match(f"raw {one.video_id}.mp4", "url_name") for one in instances}
    proofs = dict.fromkeys("912346", PROOF)  # 5 was not made
    labels = {"book": 1, "go/on": 0}
    return manifest_rows(
        instances,
        {**matches, "6": Unmatched("no file", "")},
        proofs,
        labels,
        paths,
        dataset="signs",
        folders={"book": "book", "go/on": "go-on"},
        raw_videos={"raw 9.mp4": RAW},
    )


def test_there_is_a_row_for_each_proven_clip_by_split_label_and_video_id(tmp_path: Path) -> None:
    clips = rows(Paths.below(tmp_path))
    assert [clip.video_id for clip in clips] == ["9", "1", "2", "3", "4"]
    assert clips[0] == Clip(
        **{
            "split": "train",
            "gloss": "go/on",
            "label": 0,
            "video_id": "9",
            "path": "videos/train/go-on/9.mp4",
        },
        **{"num_frames": 25, "fps": 25.333333, "duration_s": 1.333333, "width": 64, "height": 48},
        **{"signer_id": "3", "source": "raw 9.mp4", "start_s": 2.333333, "end_s": 3.666667},
        **{"match": "url_name", "dataset": "signs", "box": "0.25 0.25 0.75 1"},
    )


def test_the_box_is_empty_where_the_source_is_suspect_or_of_unknown_size(tmp_path: Path) -> None:
    instance = make_instance("9", "", box=Box(16, 12, 48, 48))
    for found in (Match("a.mp4", "path", "is long"), Match("b.mp4", "path")):
        (clip,) = manifest_rows(
            *([instance], {"9": found}, {"9": PROOF}, {"book": 0}, Paths.below(tmp_path)),
            dataset="signs",
            folders={"book": "book"},
            raw_videos={"a.mp4": RAW},
        )
        assert clip.box == ""


def test_clips_outside_of_the_data_folder_have_absolute_paths(tmp_path: Path) -> None:
    paths = Paths.below(tmp_path / "data")
    paths.videos_dir = str(tmp_path / "elsewhere")
    assert rows(paths)[0].path == (tmp_path / "elsewhere" / "train" / "go-on" / "9.mp4").as_posix()


@pytest.mark.parametrize("absolute", [False, True])
def test_files_that_are_no_clip_of_this_run_are_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos" / "train" / "go").mkdir(parents=True)
    files = ["train/go/1.mp4", "val/go/2.mp4", "b.txt"]
    target = Path("videos/train/go/1.mp4")
    paths = Paths(videos_dir="videos", metadata_dir="metadata")
    assert stale_files(paths, files, [target.resolve() if absolute else target], dataset="own") == [
        "b.txt",
        "val/go/2.mp4",
    ]


def test_clips_of_other_data_sets_are_not_stale(tmp_path: Path) -> None:
    paths = Paths.below(tmp_path)
    clips = [make_clip("train", 0, number) for number in range(4)]
    Path(paths.metadata_dir).mkdir(parents=True)
    write_manifest(paths.manifest("other"), clips[:1])
    write_manifest(paths.manifest("own"), clips[1:3])  # of an earlier run
    paths.manifest("damaged").write_text("no manifest")
    targets = [tmp_path / clips[1].path]
    assert stale_files(
        paths, [clip.path.removeprefix("videos/") for clip in clips], targets, dataset="own"
    ) == [
        "train/book/train002.mp4",
        "train/book/train003.mp4",
    ]
