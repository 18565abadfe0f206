"""Slovo: its table with tabs, trimmed videos and recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from composing import composed

from asl.datasets.instance import Metadata, MetadataError
from asl.datasets.native_frames import span_of_frames
from asl.datasets.slovo import Slovo

HEADER = "\tattachment_id\tuser_id\twidth\theight\tlength\ttext\ttrain\tbegin\tend\n"
A = "44e8d2a0-7e01-450b-90b0-beb7400d2c1e"


def load(path: Path, *rows: str, **settings: Any) -> Metadata:
    file = path / "annotations.csv"
    lines = [f"{i}\t{row.replace(' | ', chr(9))}\n" for i, row in enumerate(rows)]
    file.write_text(HEADER + "".join(lines), encoding="utf-8")
    return Slovo(name="slovo", metadata=str(file), **settings).load()


ROWS = (
    f"{A} | 185bd3a81d9d618518d10abebf0d17a8 | 1920 | 1080 | 14 | Ё, ё | True | 30 | 45",
    "b | c0ffee | 1080 | 1920 | 32 | А | False | 43 | 66",
)


def test_trimmed_videos_are_whole_files_of_their_split(tmp_path: Path) -> None:
    metadata = load(tmp_path, *ROWS)
    assert [(one.video_id, one.path, one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        (A, f"train/{A}.mp4", "Ё, ё", "train", "185bd3a81d9d618518d10abebf0d17a8"),
        ("b", "test/b.mp4", "А", "test", "c0ffee"),
    ]
    assert all(one.is_whole for one in metadata.instances)
    assert (metadata.glosses, metadata.notes) == (("Ё, ё", "А"), ())


def test_recordings_are_segments_in_frames_and_a_note_says_how_they_are_read(tmp_path: Path) -> None:
    metadata = load(tmp_path, *ROWS, trimmed=False, fps=30.0)
    one = metadata.instances[0]
    assert (one.video_id, one.path, one.source_fps) == (A, "", 30.0)
    assert (one.start_s, one.end_s) == span_of_frames(30, 45, 30)
    assert metadata.notes == (
        "Slovo: begin and end are read as frames [begin, end) from 0, 30 a second. How they count is not "
        "documented: borders may be a frame off",
    )
    with pytest.raises(MetadataError, match=r"set dataset\.fps, the frame rate in which begin and end"):
        load(tmp_path, *ROWS, trimmed=False)
    assert composed("preprocess", "dataset=slovo_full").dataset.trimmed is False


def test_no_event_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    rows = (*ROWS, "n | x | 1 | 1 | 9 | no_event | True | 0 | 9")
    metadata = load(tmp_path, *rows)
    assert ("no_event" in metadata.glosses, [one.video_id for one in metadata.others]) == (False, ["n"])
    assert metadata.notes == ("Slovo: videos of no_event left out: 1 (dataset.no_event=true keeps them)",)
    kept = load(tmp_path, *rows, no_event=True)
    assert ("no_event" in kept.glosses, kept.others, kept.notes) == (True, (), ())


def test_rows_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    rows = (
        "x | u | 1 | 1 | 1 | А | yes | 0 | 5",
        "y | u | 1 | 1 | 1 | А | True | 5 | 5",
        "z | u | 1 | 1 | 1 | А | True | a | 5",
    )
    metadata = load(tmp_path, *rows, trimmed=False, fps=30.0)
    assert [one.error.partition(": ")[2] for one in metadata.refused] == [
        "train='yes' is neither True nor False",
        "start=5, end=5 is no span of frames from 0, without the last",
        "begin='a', end='5' are not two numbers of frames",
    ]


def test_val_is_made_of_signers_of_train(tmp_path: Path) -> None:
    rows = [f"{n}-{user} | u{user} | 1 | 1 | 9 | А | True | 0 | 9" for user in range(10) for n in range(2)]
    rows.append("t | other | 1 | 1 | 9 | А | False | 0 | 9")
    load(tmp_path, *rows)
    made = Slovo(name="slovo", metadata=str(tmp_path / "annotations.csv")).load_with_splits()
    assert len({(one.signer_id, one.split) for one in made.instances}) == 11
    assert {one.split for one in made.instances} == {"train", "val", "test"}
