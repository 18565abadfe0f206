"""Corrected glosses of single instances, and glosses that mean the same sign."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from asl.datasets.csv_table import CsvTable
from asl.datasets.instance import Instance, Metadata, MetadataError
from asl.datasets.relabel import merge_glosses, relabel_instances


def metadata_of(*glosses: str) -> Metadata:
    """Instances v0, v1, ... with these glosses."""
    instances = [Instance(video_id=f"v{i}", gloss=gloss, split="train") for i, gloss in enumerate(glosses)]
    return Metadata(tuple(instances), tuple(dict.fromkeys(glosses)))


def glosses_of(metadata: Metadata) -> dict[str, str]:
    return {one.video_id: one.gloss for one in metadata.instances}


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_instances_get_other_glosses_or_are_left_out_and_all_is_counted(tmp_path: Path) -> None:
    metadata = metadata_of("book", "hoddog", "hoddog", "go")
    metadata = dataclasses.replace(metadata, others=(Instance(video_id="w", gloss="x", split="val"),))
    file = written(
        tmp_path / "fix.csv",
        "video_id,gloss\nv1,hot dog\nv2,hot dog\nv0,\nv3,go\nw,y\nnobody,thing\nv9,\n",
    )
    relabelled = relabel_instances(metadata, file)
    assert glosses_of(relabelled) == {"v1": "hot dog", "v2": "hot dog", "v3": "go"}
    assert relabelled.glosses == ("go", "hot dog")  # book and hoddog have no instance left
    assert [one.video_id for one in relabelled.others] == ["w", "v0"]
    assert relabelled.notes == (
        "dataset.relabel: 2 of 4 instances relabelled, 1 left out; video_ids without an instance (2): "
        "nobody, v9",
    )


def test_a_gloss_without_instances_keeps_its_label(tmp_path: Path) -> None:
    metadata = dataclasses.replace(metadata_of("book", "go"), glosses=("never", "book", "go"))
    relabelled = relabel_instances(metadata, written(tmp_path / "fix.csv", "video_id,gloss\nv1,book\n"))
    assert relabelled.glosses == ("never", "book")
    assert relabelled.notes[0].endswith("1 of 2 instances relabelled, 0 left out")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("v0,a\nv0,b\n", r"line 3 \(dataset.relabel\): video_id='v0' is there twice, with 'a' and 'b'"),
        ("v0,a\tb\n", r"line 2 \(dataset.relabel\): gloss='a\\tb' holds control characters"),
    ],
)
def test_a_table_that_contradicts_itself_is_an_error(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(MetadataError, match=message):
        relabel_instances(metadata_of("x"), written(tmp_path / "fix.csv", "video_id,gloss\n" + rows))


def test_a_missing_table_or_column_is_an_error_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"no such metadata file \(dataset\.relabel\)"):
        relabel_instances(metadata_of("x"), tmp_path / "gone.csv")
    with pytest.raises(MetadataError, match=r"\(dataset\.relabel\): column gloss is missing"):
        relabel_instances(metadata_of("x"), written(tmp_path / "fix.csv", "video_id,label\nv0,a\n"))
    with pytest.raises(MetadataError, match=r"no such metadata file \(dataset\.merge\)"):
        merge_glosses(metadata_of("x"), tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("same.csv", '\ufeffcar, auto,"cab, yellow"\n\nhello,hi\nnobody\n'),
        ("same.json", '[["car", "auto", "cab, yellow"], ["hello", "hi"], ["nobody"]]'),
    ],
)
def test_the_first_gloss_of_a_group_replaces_the_others(tmp_path: Path, name: str, text: str) -> None:
    merged = merge_glosses(
        metadata_of("auto", "go", "car", "hi", "cab, yellow"), written(tmp_path / name, text)
    )
    assert list(glosses_of(merged).values()) == ["car", "go", "car", "hello", "car"]
    assert merged.glosses == ("car", "go", "hello")
    assert merged.notes == (
        "dataset.merge: 5 glosses became 3; 3 of 5 instances relabelled; not in the data set (2): "
        "hello, nobody",
    )


def test_a_gloss_in_two_groups_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"'b' is in two groups, those of 'a' and 'c'"):
        merge_glosses(metadata_of("a"), written(tmp_path / "same.csv", "a,b\nc,b\n"))


@pytest.mark.parametrize(
    ("name", "text"), [("x.json", '{"a": "b"}'), ("x.json", '["ab"]'), ("x.json", "[[1]]")]
)
def test_a_file_that_has_no_groups_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(MetadataError, match=r"\(dataset\.merge\) is not a list of lists of texts"):
        merge_glosses(metadata_of("a"), written(tmp_path / name, text))


def test_every_data_set_corrects_then_merges_then_makes_splits(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "path,gloss\n1.mp4,a\n2.mp4,b\n3.mp4,c\n4.mp4,a\n")
    ids = {one.path: one.video_id for one in CsvTable(name="t", metadata=str(table)).load().instances}
    fix = written(tmp_path / "fix.csv", f"video_id,gloss\n{ids['3.mp4']},b\n")
    same = written(tmp_path / "same.csv", "B,b\n")
    metadata = CsvTable(name="t", metadata=str(table), relabel=str(fix), merge=str(same)).load_with_splits()
    assert sorted(one.gloss for one in metadata.instances) == ["B", "B", "a", "a"]
    assert [note.partition(":")[0] for note in metadata.notes] == ["dataset.relabel", "dataset.merge"]
    assert {one.split for one in metadata.instances} > {"train"}
