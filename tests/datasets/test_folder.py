"""Data sets that are a folder of class folders, and the mistakes of first-time users."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from clips import write_clip
from composing import composed

from asl.contract.manifest import read_manifest
from asl.datasets.folder import Folder
from asl.datasets.instance import Metadata, MetadataError
from asl.preprocess.pipeline import preprocess
from asl.training.run import train


def make_files(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def load(root: Path) -> Metadata:
    return Folder(name="own", root=str(root)).load()


def lines(metadata: Metadata) -> list[str]:
    return [one.error for one in metadata.refused]


def test_class_folders_are_glosses_and_their_files_are_sources(tmp_path: Path) -> None:
    metadata = load(make_files(tmp_path, "go/1.mp4", "thank you/b.MOV", "thank you/a.webm", ".hidden/x.mp4"))
    assert metadata.glosses == ("go", "thank you")
    assert [(one.gloss, one.path, one.split) for one in metadata.instances] == [
        ("go", "go/1.mp4", "train"),
        ("thank you", "thank you/a.webm", "train"),
        ("thank you", "thank you/b.MOV", "train"),
    ]
    assert len({one.video_id for one in metadata.instances}) == 3
    assert metadata.refused == ()


def test_split_folders_are_the_official_split(tmp_path: Path) -> None:
    root = make_files(tmp_path, "train/go/1.mp4", "train/book/1.mp4", "test/go/1.mp4", "val/go/2.mp4")
    metadata = load(root)
    assert [(one.path, one.split) for one in metadata.instances] == [
        ("train/book/1.mp4", "train"),
        ("train/go/1.mp4", "train"),
        ("val/go/2.mp4", "val"),
        ("test/go/1.mp4", "test"),
    ]
    assert Folder(name="own", root=str(root)).load_with_splits() == metadata


def test_a_class_may_be_named_test(tmp_path: Path) -> None:
    metadata = load(make_files(tmp_path, "test/1.mp4", "book/1.mp4"))
    assert (metadata.glosses, {one.split for one in metadata.instances}) == (("book", "test"), {"train"})


def test_without_split_folders_val_and_test_are_made_of_each_class(tmp_path: Path) -> None:
    root = make_files(tmp_path, *(f"{gloss}/{n}.mp4" for gloss in ("a", "b") for n in range(20)), "c/1.mp4")
    metadata = Folder(name="own", root=str(root)).load_with_splits()
    counts = Counter((one.gloss, one.split) for one in metadata.instances)
    made = {(gloss, split): n for gloss in "ab" for split, n in (("train", 14), ("val", 3), ("test", 3))}
    assert counts == {**made, ("c", "train"): 1}
    assert metadata.made_splits.startswith("val is 6 of 41 instances of train")
    assert "; test is 6 of 35 instances of train" in metadata.made_splits


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "has no class with videos, and two are needed at least. It must be a folder of class folders"),
        (["a.mp4", "b.mp4"], "has no class with videos"),
        (["book/a.mp4"], "has one class with videos, 'book', and two are needed"),
        (["Book/a.mp4", "book/a.mp4"], "differ by case or encoding alone: 'Book', 'book'. Rename or merge"),
        (["train/Go/a.mp4", "val/go/a.mp4"], "differ by case or encoding alone: 'Go', 'go'"),
        (["\u00e9/a.mp4", "e\u0301/a.mp4"], "differ by case or encoding alone"),
        (["train/a/1.mp4", "val/a/1.mp4", "b/1.mp4"], r"split folders \(train, val\) beside others \(b\)"),
        (["train/a/1.mp4", "dev/a/1.mp4"], r"split folders \(train\) beside others \(dev\)"),
    ],
)
def test_a_folder_that_cannot_be_a_data_set_is_one_line(
    tmp_path: Path, paths: list[str], message: str
) -> None:
    with pytest.raises(MetadataError, match=message) as raised:
        load(make_files(tmp_path, *paths))
    assert "\n" not in str(raised.value)
    assert f"{tmp_path} (dataset.root)" in str(raised.value)


def test_a_missing_folder_is_an_error_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"gone \(dataset\.root\): cannot be read: No such file"):
        load(tmp_path / "gone")


def test_what_is_no_video_of_a_class_is_a_line_each_and_the_others_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (
        "go/1.mp4",
        "book/1.mp4",
        "book/notes.txt",
        "book/raw/2.mp4",
        "stray.mp4",
        "README.md",
        "locked/1.mp4",
    )
    root = make_files(tmp_path / "signs", *files)
    (root / "empty").mkdir()
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")
    (root / "go" / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "elsewhere").symlink_to(make_files(tmp_path / "other", "3.mp4"))
    iterdir = Path.iterdir

    def no_permission(path: Path) -> list[Path]:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return list(iterdir(path))

    monkeypatch.setattr(Path, "iterdir", no_permission)  # root may read everything
    metadata = load(root)
    assert [one.path for one in metadata.instances] == ["book/1.mp4", "elsewhere/3.mp4", "go/1.mp4"]
    assert lines(metadata) == [
        "stray.mp4: in no class; move it into a class folder",
        "book: folders in a class are not searched: raw",
        "book: not a video: notes.txt",
        "empty: the class has no video",
        "go: not a video: gone.mp4",
        "locked: cannot be read: Permission denied",
        "loop: cannot be read: Too many levels of symbolic links",
        "up: a link to a folder that it lies in",
    ]


def test_names_that_are_not_in_utf_8_are_a_line(tmp_path: Path) -> None:
    root = make_files(tmp_path, "go/1.mp4", "book/1.mp4", os.fsdecode(b"caf\xe9/1.mp4"))
    (root / os.fsdecode(b"go/\xff.mp4")).touch()
    assert lines(load(root)) == [
        r"names that are not in UTF-8: caf\udce9",
        r"go: names that are not in UTF-8: \udcff.mp4",
    ]


def test_a_class_whose_name_cannot_be_a_gloss_is_one_line(tmp_path: Path) -> None:
    metadata = load(make_files(tmp_path, "go/1.mp4", "book/1.mp4", " hello/1.mp4", " hello/2.mp4"))
    assert metadata.glosses == ("book", "go")
    assert lines(metadata) == [
        "' hello': the name of the class starts or ends with white space; rename the folder"
    ]


def test_videos_beside_split_folders_are_a_line(tmp_path: Path) -> None:
    metadata = load(
        make_files(tmp_path, "train/go/1.mp4", "train/book/1.mp4", "stray.mp4", "train/loose.mp4")
    )
    assert lines(metadata) == [
        "stray.mp4: in no class; move it into a class folder",
        "train/loose.mp4: in no class; move it into a class folder",
    ]


@pytest.mark.parametrize("name", ["my signs", "my.signs"])
def test_the_data_set_is_named_after_its_folder(name: str) -> None:
    for program in ("preprocess", "train", "evaluate"):
        weights = ["model.weights=null"] if program == "train" else []
        config = composed(program, "dataset=folder", f"dataset.root='some/{name}/'", *weights)
        assert config.dataset.name == name
    assert composed("preprocess", "dataset=folder", "dataset.name=x").dataset.name == "x"


def test_a_folder_of_clips_becomes_a_trained_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for label, gloss in enumerate(("HURDLE", "thank you", "книга")):
        for number in range(4):
            grey = [40 + 60 * label + 5 * number + frame for frame in range(8)]
            write_clip(tmp_path / "signs" / gloss / f"take {number}.mp4", grey=grey)
    (tmp_path / "signs" / "книга").rename(tmp_path / "elsewhere")
    (tmp_path / "signs" / "книга").symlink_to(tmp_path / "elsewhere")
    make_files(tmp_path, "signs/HURDLE/notes.txt")
    dataset = ["dataset=folder", "dataset.root=signs"]
    preprocess(composed("preprocess", *dataset, "trim=cpu", "trim.workers=1", "probe=0"))
    printed, page = capsys.readouterr().out, Path("data/metadata/signs_report.html").read_text()
    made = "val is 3 of 12 instances of train, a part of each gloss (seed 0)"
    assert made in printed
    assert made in page
    assert "refused:\n  HURDLE: not a video: notes.txt\n" in printed
    clips = read_manifest("data/metadata/signs_manifest.csv")
    assert Counter(clip.split for clip in clips) == {"train": 6, "val": 3, "test": 3}
    assert {(clip.match, clip.signer_id, clip.dataset) for clip in clips} == {("path", "", "signs")}
    assert all(
        (Path("data") / clip.path).is_file() and Path("signs", clip.source).is_file() for clip in clips
    )

    config = composed(
        *("train", *dataset, "model=narrow", "model.weights=null", "trainer=cpu", "trainer.max_epochs=1"),
        *("logger=[]", "data.clip_len=4", "data.batch_size=6", "data.resize=[40,48]", "data.crop_size=32"),
    )
    metrics = train(config)
    assert (metrics["dataset"], metrics["num_classes"]) == ("signs", 3)
    assert metrics["clips"] == {"train": 6, "val": 3, "test": 3}
