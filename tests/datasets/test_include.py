"""INCLUDE: its tables, with the traps of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from composing import composed

from asl.datasets.include import Include
from asl.datasets.instance import Metadata

HEADER = "Category,Word,Video,FilePath\n"


def load(folder: Path, train: str, test: str = "", subset: str = "include") -> Metadata:
    (folder / f"train_{subset}.csv").write_text(HEADER + train)
    (folder / f"test_{subset}.csv").write_text(HEADER + test)
    return Include(name="include", splits=str(folder), subset=subset).load()


@pytest.mark.parametrize("subset", ["include", "include50"])
def test_files_of_one_name_are_different_instances(tmp_path: Path, subset: str) -> None:
    metadata = load(
        tmp_path,
        "Adjectives,1. loud,MVI_9289.MOV,Adjectives/1. loud/MVI_9289.MOV\n"
        "Days and Time,81. Second,MVI_9289.MOV,Days_and_Time/81. Second/MVI_9289.MOV\n",
        "Adjectives,1. loud,MVI_1.MP4,Adjectives\\1. loud\\MVI_1.MP4\n",
        subset,
    )
    assert [(one.path, one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        ("Adjectives/1. loud/MVI_9289.MOV", "loud", "train", ""),
        ("Days_and_Time/81. Second/MVI_9289.MOV", "Second", "train", ""),
        ("Adjectives/1. loud/MVI_1.MP4", "loud", "test", ""),
    ]
    assert len({one.video_id for one in metadata.instances}) == 3
    assert metadata.glosses == ("Second", "loud")


def test_numbers_stay_where_two_words_would_become_one(tmp_path: Path) -> None:
    rows = "A,1. Orange,a.MOV,A/1/a.MOV\nB,7. Orange,b.MOV,B/7/b.MOV\nB,Second (Number),c.MOV,B/8/c.MOV\n"
    assert load(tmp_path, rows).glosses == ("Orange (1. Orange)", "Orange (7. Orange)", "Second (Number)")


def test_a_row_without_a_path_or_of_two_words_is_refused(tmp_path: Path) -> None:
    metadata = load(tmp_path, "A,1. a,x,\nA,1. a,x,A/x.MOV\nA,2. b,x,A/x.MOV\nA,2. b,y,../y.MOV\n")
    assert metadata.instances == ()
    assert [one.error.partition(": ")[2].partition("=")[0] for one in metadata.refused] == [
        "FilePath is empty",
        "path",
        "video_id",
    ]


def test_each_subset_has_its_configuration() -> None:
    for subset in ("include", "include50"):
        dataset = composed("preprocess", f"dataset={subset}").dataset
        assert (dataset.name, dataset.subset) == (subset, subset)
        assert dataset.splits == "data/raw/INCLUDE/Train_Test_Split"


def test_val_is_made_of_each_gloss(tmp_path: Path) -> None:
    load(tmp_path, "".join(f"A,{n % 2}. w{n % 2},x,A/{n}.MOV\n" for n in range(20)), "A,0. w0,x,A/t.MOV\n")
    made = Include(name="include", splits=str(tmp_path)).load_with_splits()
    assert sorted(one.gloss for one in made.instances if one.split == "val") == ["w0", "w0", "w1", "w1"]
