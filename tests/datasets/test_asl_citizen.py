"""ASL Citizen: its tables, with the traps of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import write_clip
from dataset_run import preprocess_and_train

from asl.datasets.asl_citizen import AslCitizen
from asl.datasets.instance import Metadata, MetadataError

HEADER = "Participant ID,Video file,Gloss,ASL-LEX Code\n"


def write(root: Path, **rows: str) -> Path:
    (root / "splits").mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        (root / "splits" / f"{split}.csv").write_text(HEADER + rows.get(split, ""), encoding="utf-8")
    return root


def load(root: Path) -> Metadata:
    return AslCitizen(name="asl_citizen", root=str(root), splits=str(root / "splits")).load()


def test_rows_are_whole_clips_below_videos(tmp_path: Path) -> None:
    metadata = load(
        write(
            tmp_path,
            train="P52,014439537236845323-THANK YOU.mp4,THANK YOU,B_01_001\n",
            val="P1,4.7299129501965353e-7-seedSOUR.mp4,SOUR ,C_02_003\n",
            test='P2,"12-HURDLE, TRIP.mp4",HURDLE/TRIP1,"A,1"\n',
        )
    )
    assert [(one.path, one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        ("videos/014439537236845323-THANK YOU.mp4", "THANK YOU", "train", "P52"),
        ("videos/4.7299129501965353e-7-seedSOUR.mp4", "SOUR", "val", "P1"),
        ("videos/12-HURDLE, TRIP.mp4", "HURDLE/TRIP1", "test", "P2"),
    ]
    assert all(one.is_whole and one.box is None for one in metadata.instances)
    assert metadata.instances[1].video_id == "4.7299129501965353e-7-seedSOUR"
    assert metadata.refused == ()


def test_the_gloss_is_the_tables_not_the_file_names(tmp_path: Path) -> None:
    (one,) = load(write(tmp_path, train="P1,1-DOG.mp4,CAT,X\n")).instances
    assert one.gloss == "CAT"


def test_glosses_with_one_code_are_two_classes_in_sorted_order(tmp_path: Path) -> None:
    metadata = load(write(tmp_path, train="P1,1-b.mp4,SOUR2,X\nP1,2-a.mp4,SOUR1,X\n", test="P2,3.mp4,A,X\n"))
    assert metadata.glosses == ("SOUR1", "SOUR2", "A")  # A is not in train


def test_a_file_that_is_listed_for_two_glosses_or_splits_is_refused(tmp_path: Path) -> None:
    metadata = load(
        write(tmp_path, train="P1,1.mp4,A,X\nP1,2.mp4,B,X\nP1,2.mp4,B,X\n", test="P1,1.mp4,A,X\n")
    )
    assert [one.path for one in metadata.instances] == ["videos/2.mp4"]
    assert [one.error for one in metadata.refused] == [
        "train.csv, line 2 and test.csv, line 2: video_id='1' for different instances"
    ]


def test_a_missing_table_or_column_is_an_error(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "splits" / "val.csv").write_text("Participant ID,Video file,Label\n")
    with pytest.raises(MetadataError, match=r"val\.csv \(dataset\.splits\): column Gloss is missing"):
        load(root)
    (root / "splits" / "val.csv").unlink()
    with pytest.raises(MetadataError, match=r"val\.csv: no such metadata file \(dataset\.splits\)"):
        load(root)


def test_from_files_to_a_trained_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data/raw/ASL_Citizen"
    rows = dict.fromkeys(("train", "val", "test"), "")
    for signer, split in enumerate(rows):
        for label, gloss in enumerate(("THANK YOU", "HURDLE/TRIP1")):
            for number in range(3):
                file = f"{signer}{label}{number}-{gloss.partition('/')[0]}.mp4"
                grey = [40 + 90 * label + 9 * number + 3 * signer + frame for frame in range(8)]
                write_clip(root / "videos" / file, grey=grey)
                rows[split] += f"P{signer},{file},{gloss},X\n"
    write(root, **rows)
    clips, metrics = preprocess_and_train("dataset=asl_citizen")
    assert {(clip.match, clip.num_frames) for clip in clips} == {("path", 8)}
    assert {clip.gloss for clip in clips} == {"THANK YOU", "HURDLE/TRIP1"}
    assert all((Path("data") / clip.path).is_file() for clip in clips)
    assert (metrics["dataset"], metrics["num_classes"]) == ("asl_citizen", 2)
    assert metrics["clips"] == {"train": 6, "val": 6, "test": 6}
