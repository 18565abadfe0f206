"""Sem-Lex: its table, with the traps of the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asl.datasets.instance import Metadata, MetadataError
from asl.datasets.semlex import SemLex

HEADER = ",video_id,signer_id,duration (s),split,label_type,label,Handshape,SignBank Reference ID\n"


def load(path: Path, *rows: str, **settings: Any) -> Metadata:
    file = path / "semlex_metadata.csv"
    file.write_text(HEADER + "".join(f"{i},{row}\n" for i, row in enumerate(rows)))
    return SemLex(name="semlex", metadata=str(file), **settings).load()


def test_rows_are_videos_that_are_found_by_name(tmp_path: Path) -> None:
    metadata = load(tmp_path, "v1,7,1.9,train,asllex,book,5,12", 'v2,8,2.0,test,asllex,"last year, or so",,')
    assert [(one.video_id, one.gloss, one.split, one.signer_id, one.path) for one in metadata.instances] == [
        ("v1", "book", "train", "7", ""),
        ("v2", "last year, or so", "test", "8", ""),
    ]
    assert metadata.glosses == ("book", "last year, or so")


def test_labels_that_differ_by_a_blank_at_the_end_are_one_gloss(tmp_path: Path) -> None:
    metadata = load(tmp_path, "v1,7,1,train,asllex,30_minute ,,", "v2,7,1,train,asllex,30_minute,,")
    assert metadata.glosses == ("30_minute",)


def test_a_video_is_used_once_and_in_the_split_that_is_held_out(tmp_path: Path) -> None:
    row = "{},7,1,{},asllex,book,,"
    splits = [
        ("a", "train"),
        ("a", "train"),
        ("b", "test"),
        ("b", "train"),
        ("c", "val"),
        ("c", "test"),
        ("d", "?"),
        ("d", "val"),
    ]
    metadata = load(tmp_path, *(row.format(*one) for one in splits))
    assert [(one.video_id, one.split) for one in metadata.instances] == [
        ("a", "train"),
        ("b", "test"),
        ("c", "test"),
        ("d", "val"),
    ]
    assert [one.error for one in metadata.refused] == [
        "semlex_metadata.csv, line 5: video_id='b' is in test, too, and used there",
        "semlex_metadata.csv, line 6: video_id='c' is in test, too, and used there",
        "semlex_metadata.csv, line 8: split='?' is not one of train, val, test",
    ]


def test_a_video_with_two_labels_or_signers_and_what_is_no_label_are_refused(tmp_path: Path) -> None:
    metadata = load(
        tmp_path,
        *("a,7,1,train,asllex,book,,", "a,7,1,train,asllex,go,,", "b,7,1,val,asllex,go,,"),
        *(
            "b,8,1,val,asllex,go,,",
            "c,7,1,train,asllex,na,,",
            "d,7,1,dev,asllex,go,,",
            "e,7,1,test,asllex,go,,",
        ),
    )
    assert [one.video_id for one in metadata.instances] == ["e"]
    assert [one.error.partition(": ")[2] for one in metadata.refused] == [
        "label='na' may mean that there is none",
        "split='dev' is not one of train, val, test",
        "video_id='a' for different instances",
        "video_id='b' for different instances",
    ]


def test_glosses_are_of_the_chosen_types_and_one_for_each(tmp_path: Path) -> None:
    rows = ["a,7,1,train,asllex,book,,", "b,7,1,train,freetext,book,,", "c,7,1,train,freetext,sun,,"]
    assert load(tmp_path, *rows).glosses == ("book",)
    both = load(tmp_path, *rows, label_types=["asllex", "freetext"])
    assert both.glosses == ("book (asllex)", "book (freetext)", "sun")
    with pytest.raises(MetadataError, match="no row has label_type=signbank"):
        load(tmp_path, *rows, label_types=["signbank"])
