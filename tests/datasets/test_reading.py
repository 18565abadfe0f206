"""Reading tables and JSON files, and making instances of their rows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from asl.datasets.instance import Instance, MetadataError
from asl.datasets.reading import make_instances, parse_seconds, read_json, read_table


def test_a_table_has_its_rows_by_column_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufeffpath, gloss ,more\n a.mp4 ,"thank you, all",x\nb.mp4\n', encoding="utf-8")
    assert read_table(path, columns=["path", "gloss"], key="dataset.table") == [
        ("a.csv, line 2", {"path": "a.mp4", "gloss": "thank you, all", "more": "x"}),
        ("a.csv, line 3", {"path": "b.mp4", "gloss": "", "more": ""}),
    ]


def test_a_table_may_have_tabs_and_no_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("signer0_sample1\tкнига\r\n".encode())
    rows = read_table(path, columns=["sample", "label"], key="dataset.table", delimiter="\t", header=False)
    assert rows == [("a.tsv, line 1", {"sample": "signer0_sample1", "label": "книга"})]


def test_a_file_that_cannot_be_used_is_an_error_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    reads = (
        (lambda **how: read_table(path, columns=["path", "gloss"], **how)),
        lambda **how: read_json(path, **how),
    )
    for read in reads:
        with pytest.raises(
            MetadataError, match=r"a\.csv: no such metadata file \(dataset\.x\)\.\nGet it there"
        ):
            read(key="dataset.x", how_to_get="Get it there")
    for content, message in (
        (
            b"path;gloss\n",
            r"a\.csv \(dataset\.x\): column path, gloss is missing; it has path;gloss \(values .* by ','\)",
        ),
        (b"", "column path, gloss is missing; it has none"),
        (
            "path,gloss\na,é\n".encode("latin-1"),
            r"a\.csv \(dataset\.x\) is not in UTF-8: .*Save it as CSV in UTF-8",
        ),
        (b"path,gloss\n" + b"x" * 200_000, r"a\.csv \(dataset\.x\) cannot be read: field larger"),
    ):
        path.write_bytes(content)
        with pytest.raises(MetadataError, match=message):
            reads[0](key="dataset.x")
    path.write_bytes(b"{")
    with pytest.raises(MetadataError, match="not a JSON file"):
        reads[1](key="dataset.x")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"video_id": "a b"}, "video_id='a b' holds a blank"),
        ({"video_id": "a/b"}, "video_id='a/b' holds a path separator"),
        ({"gloss": ""}, "gloss='' is not a text"),
        ({"split": "dev"}, "split='dev' is not one of train, val, test"),
        ({"path": "../a.mp4"}, "path='../a.mp4' does not lie below dataset.root"),
        ({"signer_id": "P1 "}, "signer_id='P1 ' starts or ends with white space"),
        ({"start_s": Fraction(2), "end_s": Fraction(2)}, "the span from 2 s to 2 s is none"),
        ({"start_s": Fraction(-1)}, "the span from -1 s to the end is none"),
    ],
)
def test_an_instance_that_cannot_be_used_is_refused_and_the_others_are_kept(
    changes: dict[str, object], error: str
) -> None:
    good = {"video_id": "1", "gloss": "hurdle/trip", "split": "train", "path": "a/b c.mp4"}
    instances, refused = make_instances(
        [("line 2", good), ("line 3", {**good, "video_id": "2", **changes})], lambda row: Instance(**row)
    )
    assert [one.video_id for one in instances] == ["1"]
    assert [one.error for one in refused] == [f"line 3: {error}"]


def test_equal_rows_count_once_and_contradictions_are_refused() -> None:
    rows = [(f"line {i}", gloss) for i, gloss in enumerate(("book", "book", "go"), start=2)]

    def make(gloss: str) -> Instance:
        return Instance(video_id="1", gloss=gloss, split="train")

    assert [one.gloss for one in make_instances(rows[:2], make)[0]] == ["book"]
    instances, refused = make_instances(rows, make)
    assert instances == []
    assert refused[0].error == "line 2 and line 3 and line 4: video_id='1' for different instances"


def test_seconds_are_exact_to_a_microsecond() -> None:
    assert parse_seconds("1.735", "start_s") == Fraction(347, 200)
    assert parse_seconds(0.1, "start_s") == Fraction(1, 10)
    assert parse_seconds("1e-05", "start_s") == Fraction(1, 100_000)
    for text in ("-1", "nan", "inf", "1e999999999", "soon", "", None):
        with pytest.raises(ValueError, match=r"end_s=.* is not a number of seconds from 0"):
            parse_seconds(text, "end_s")  # type: ignore[arg-type]
