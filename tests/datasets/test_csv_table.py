"""Data sets in a CSV file of one's own."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from composing import composed

from asl.datasets.csv_table import CsvTable, parse_box
from asl.datasets.instance import Box, Metadata, MetadataError


def load(path: Path, text: str, **settings: str) -> Metadata:
    path.write_text(text, encoding="utf-8")
    return CsvTable(name="own", metadata=str(path), **settings).load()


def test_path_and_gloss_are_enough(tmp_path: Path) -> None:
    metadata = load(tmp_path / "signs.csv", "path,gloss\nb/2.mp4,go\na 1.mp4,hurdle/trip\n")
    assert metadata.glosses == ("go", "hurdle/trip")
    first, second = metadata.instances
    assert (first.path, first.gloss, first.split, first.signer_id, first.box) == (
        "b/2.mp4",
        "go",
        "train",
        "",
        None,
    )
    assert (second.path, second.is_whole) == ("a 1.mp4", True)


@pytest.mark.parametrize(("name", "delimiter"), [("x.csv", ","), ("x.tsv", "\t"), ("x.txt", ";")])
def test_all_columns_are_read(tmp_path: Path, name: str, delimiter: str) -> None:
    rows = [
        ["signer", "path", "gloss", "split", "start_s", "end_s", "box"],
        ["P 7", r"a\1.mp4", "книга", "test", "0.5", "1.735", "0.1 0 0.9 1"],
        ["", "a/1.mp4", "книга", "val", "1.735", "", "10 20 300 200"],
    ]
    settings = {"delimiter": ";"} if name == "x.txt" else {}
    text = "\n".join(map(delimiter.join, rows))
    one, other = load(tmp_path / name, text, **settings).instances
    assert (one.path, one.gloss, one.split, one.signer_id) == ("a/1.mp4", "книга", "test", "P 7")
    assert (one.start_s, one.end_s) == (Fraction(1, 2), Fraction(347, 200))
    assert one.box == Box(0.1, 0, 0.9, 1, "shares")
    assert (other.split, other.start_s, other.end_s, other.signer_id) == ("val", Fraction(347, 200), None, "")
    assert other.box == Box(10, 20, 300, 200)
    assert one.video_id != other.video_id


def test_rows_that_cannot_be_used_are_refused_with_their_line(tmp_path: Path) -> None:
    metadata = load(
        tmp_path / "signs.csv",
        "path,gloss,split,start_s,end_s,box\n"
        "1.mp4,go,train,,,\n"
        ",go,train,,,\n"
        "3.mp4,,train,,,\n"
        "4.mp4,go,dev,,,\n"
        "5.mp4,go,,,,\n"
        "6.mp4,go,train,2,1,\n"
        "7.mp4,go,train,soon,,\n"
        "8.mp4,go,train,,,1 2 3\n"
        "../9.mp4,go,train,,,\n"
        "1.mp4,go,val,,,\n",
    )
    refused = {
        one.error.partition(": ")[0].split()[-1]: one.error.partition(": ")[2] for one in metadata.refused
    }
    assert refused.pop("11").endswith("for different instances")
    assert refused == {
        "3": "path is empty",
        "4": "gloss='' is not a text",
        "5": "split='dev' is not one of train, val, test",
        "6": "split='' is not one of train, val, test",
        "7": "the span from 2 s to 1 s is none",
        "8": "start_s='soon' is not a number of seconds from 0",
        "9": "box='1 2 3' is not left top right bottom, four numbers separated by blanks",
        "10": "path='../9.mp4' does not lie below dataset.root",
    }


def test_a_clip_with_two_glosses_is_two_instances(tmp_path: Path) -> None:
    metadata = load(tmp_path / "signs.csv", "path,gloss\n1.mp4,go\n1.mp4,walk\n1.mp4,go\n")
    assert [one.gloss for one in metadata.instances] == ["go", "walk"]
    assert metadata.refused == ()


def test_splits_that_nobody_gives_are_made_by_signer(tmp_path: Path) -> None:
    rows = [
        f"{signer}/{gloss}{n}.mp4,{gloss},P{signer}" for signer in range(10) for gloss in "ab" for n in "12"
    ]
    path = tmp_path / "signs.csv"
    path.write_text("\n".join(["path,gloss,signer", *rows]))
    instances = CsvTable(name="own", metadata=str(path)).load_with_splits().instances
    splits_of = {(one.signer_id, one.split) for one in instances}
    assert len(splits_of) == 10
    assert Counter(split for _, split in splits_of) == {"train": 7, "val": 2, "test": 1}


def test_a_missing_file_or_column_is_an_error_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"gone\.csv: no such metadata file \(dataset\.metadata\)"):
        CsvTable(name="own", metadata=str(tmp_path / "gone.csv")).load()
    with pytest.raises(
        MetadataError, match=r"\(dataset\.metadata\): column gloss is missing; it has path, sign"
    ):
        load(tmp_path / "signs.csv", "path,sign\n1.mp4,go\n")


def test_columns_that_are_not_read_are_a_note(tmp_path: Path) -> None:
    metadata = load(tmp_path / "signs.csv", "path,gloss,signer_id,start,end\n1.mp4,go,anna,0,1\n")
    (note,) = metadata.notes
    assert note.endswith(
        "signs.csv (dataset.metadata): columns not read: signer_id, start, end; "
        "it may have path, gloss, split, signer, start_s, end_s, box"
    )
    assert load(tmp_path / "signs.csv", "path,gloss,signer\n1.mp4,go,anna\n").notes == ()


@pytest.mark.parametrize(
    "text", ["1 2 3", "1 2 3 4 5", "a b c d", "5 1 4 2", "1 5 2 4", "-1 0 2 2", "nan 0 1 1"]
)
def test_a_box_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not left top right bottom"):
        parse_box(text)


def test_the_data_set_is_named_after_its_file() -> None:
    config = composed("preprocess", "dataset=csv", "dataset.metadata=some/my.signs.csv")
    assert (config.dataset.name, config.dataset.root) == ("my.signs", "data/raw")
