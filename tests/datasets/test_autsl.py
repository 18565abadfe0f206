"""AUTSL: its tables without header, with the traps of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import write_clip
from dataset_run import preprocess_and_train

from asl.datasets.autsl import Autsl
from asl.datasets.instance import Metadata, MetadataError

SIGNS = "ClassId,TR,EN\r\n0,abla,sister\r\n1,acele,hurry\r\n2,acıkmak,hungry\r\n3,abla,sister\r\n"


def write(root: Path, **tables: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    tables = {"train_labels": "", "validation_labels": "", "test_labels": "", **tables}
    (root / "SignList_ClassId_TR_EN.csv").write_bytes(SIGNS.encode())
    for name, text in tables.items():
        (root / f"{name}.csv").write_bytes(text.encode())
    return root


def load(root: Path) -> Metadata:
    return Autsl(name="autsl", root=str(root), metadata=str(root)).load()


def test_rows_without_header_are_colour_videos_of_a_signer(tmp_path: Path) -> None:
    metadata = load(
        write(
            tmp_path,
            train_labels="signer0_sample1,1\r\nsigner12_sample100,0\r\n",
            validation_labels="signer1_sample1,2\r\n",
            test_labels="signer6_sample7,2\r\n",
        )
    )
    assert [(one.video_id, one.path, one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        ("signer0_sample1", "train/signer0_sample1_color.mp4", "acele", "train", "0"),
        ("signer12_sample100", "train/signer12_sample100_color.mp4", "abla (0)", "train", "12"),
        ("signer1_sample1", "val/signer1_sample1_color.mp4", "acıkmak", "val", "1"),
        ("signer6_sample7", "test/signer6_sample7_color.mp4", "acıkmak", "test", "6"),
    ]
    assert metadata.refused == ()


def test_labels_are_class_ids_and_classes_of_one_name_stay_apart(tmp_path: Path) -> None:
    assert load(write(tmp_path)).glosses == ("abla (0)", "acele", "acıkmak", "abla (3)")


def test_the_table_of_val_may_have_its_other_name(tmp_path: Path) -> None:
    root = write(tmp_path, val_gt="signer1_sample1,2\r\n")
    (root / "validation_labels.csv").unlink()
    assert [one.split for one in load(root).instances] == ["val"]
    (root / "val_gt.csv").unlink()
    with pytest.raises(MetadataError, match=r"validation_labels\.csv: no such metadata file"):
        load(root)


def test_rows_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    table = "sample,label\r\nsigner0_sample1,4\r\nsigner0_sample1_color,1\r\nsigner0_sample2\r\n"
    refused = load(write(tmp_path, train_labels=table)).refused
    assert [one.error for one in refused] == [
        "train_labels.csv, line 1: 'sample' is not of the form signer0_sample1",
        "train_labels.csv, line 2: label='4' is no ClassId of SignList_ClassId_TR_EN.csv",
        "train_labels.csv, line 3: 'signer0_sample1_color' is not of the form signer0_sample1",
        "train_labels.csv, line 4: label='' is no ClassId of SignList_ClassId_TR_EN.csv",
    ]


def test_a_class_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "SignList_ClassId_TR_EN.csv").write_text("ClassId,TR,EN\n0,a,a\n0,b,b\n")
    with pytest.raises(MetadataError, match="line 3: ClassId='0', TR='b' is no new class with a name"):
        load(root)


def test_from_files_to_a_trained_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data/raw/AUTSL"
    tables = {"train_labels": "", "validation_labels": "", "test_labels": ""}
    for signer, (table, split) in enumerate(zip(tables, ("train", "val", "test"), strict=True)):
        for number in range(4):
            sample = f"signer{signer}_sample{number}"
            grey = [40 + 90 * (number % 2) + 9 * number + 3 * signer + frame for frame in range(8)]
            write_clip(root / split / f"{sample}_color.mp4", grey=grey)
            write_clip(root / split / f"{sample}_depth.mp4", grey=grey[:2])
            tables[table] += f"{sample},{number % 2}\r\n"
    write(root, **tables)
    clips, metrics = preprocess_and_train("dataset=autsl")
    assert {(clip.match, clip.num_frames) for clip in clips} == {("path", 8)}
    assert {clip.source[-10:] for clip in clips} == {"_color.mp4"}
    assert (metrics["dataset"], metrics["num_classes"]) == ("autsl", 4)
    assert metrics["clips"] == {"train": 4, "val": 4, "test": 4}
