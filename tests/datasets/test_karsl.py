"""KArSL: folders of splits, ranges and signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from composing import composed

from asl.datasets.instance import Metadata, MetadataError
from asl.datasets.karsl import Karsl

LABELS = "SignID,Sign-Arabic,Sign-English\n2,أب,father\n1,عين,eye\n3,عين,eye of a needle\n191,بيت,house\n"


def load(root: Path, *files: str, labels: str | bytes = LABELS, **settings: Any) -> Metadata:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    table = root / "labels.csv"
    table.write_bytes(labels if isinstance(labels, bytes) else labels.encode())
    return Karsl(name="karsl", root=str(root), labels=str(table), **settings).load()


def test_folders_are_split_signer_and_sign(tmp_path: Path) -> None:
    metadata = load(
        tmp_path,
        "01/train/0001-0070/0001/a.mp4",
        "02/test/0001-0070/0001-0070/0002/a.avi",
        "03/03/train/0191-0300/0191/a.mp4",
    )
    assert [(one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        ("عين (1)", "train", "01"),
        ("أب", "test", "02"),
        ("بيت", "train", "03"),
    ]
    assert metadata.glosses == ("عين (1)", "أب", "عين (3)", "بيت")  # by SignID; one name, two signs
    assert (metadata.refused, metadata.notes) == ((), ())


def test_subsets_and_languages(tmp_path: Path) -> None:
    metadata = load(
        tmp_path, "01/train/x/0002/a.mp4", "01/test/x/0191/a.mp4", language="English", num_glosses=190
    )
    assert metadata.glosses == ("eye", "father", "eye of a needle")
    assert [one.gloss for one in metadata.instances] == ["father"]
    assert [one.gloss for one in metadata.others] == ["house"]
    assert composed("preprocess", "dataset=karsl190").dataset.num_glosses == 190
    assert composed("preprocess", "dataset=karsl502").dataset.num_glosses == 502


def test_files_in_other_folders_are_refused_and_unknown_signers_are_told(tmp_path: Path) -> None:
    metadata = load(
        tmp_path,
        *("train/0001/a.mp4", "01/0001/a.mp4", "01/train/test/0001/a.mp4", "01/train/0001/seq/a.mp4"),
        *("01/train/0009/a.mp4", "01/02/train/0001/a.mp4", "a.mp4"),
    )
    assert [one.path for one in metadata.instances] == ["train/0001/a.mp4"]
    assert metadata.notes[0].startswith("KArSL: videos of unknown signers")
    assert metadata.notes[0].endswith(": 1")
    assert [one.error for one in metadata.refused] == [
        "01/0001/a.mp4: it lies neither in a folder train nor in a folder test",
        "01/02/train/0001/a.mp4: it lies in the folders of 2 signers",
        "01/train/0001/seq/a.mp4: its folder is not the four digits of a SignID in dataset.labels",
        "01/train/0009/a.mp4: its folder is not the four digits of a SignID in dataset.labels",
        "01/train/test/0001/a.mp4: it lies in folders of both train and test",
        "a.mp4: it lies neither in a folder train nor in a folder test",
    ]


def test_a_workbook_must_be_saved_as_csv(tmp_path: Path) -> None:
    with pytest.raises(
        MetadataError, match=r"labels\.csv \(dataset\.labels\) is not in UTF-8.* Save it as CSV"
    ):
        load(tmp_path, "01/train/0001/a.mp4", labels=b"PK\x03\x04\xff\xfe")
    with pytest.raises(MetadataError, match="line 3: SignID='1', Sign-Arabic='b' is no new sign with a name"):
        load(tmp_path, labels="SignID,Sign-Arabic\n1,a\n1,b\n")


def test_a_copy_of_pictures_has_no_videos(tmp_path: Path) -> None:
    (tmp_path / "01/train/0001/seq").mkdir(parents=True)
    (tmp_path / "01/train/0001/seq/0001.jpg").touch()
    with pytest.raises(MetadataError, match=r"no videos there \(dataset\.root\)"):
        load(tmp_path)
